package mapper

import (
	"strings"
	"unicode"

	"membersync/crmapi"
)

// maxPhoneDigits is the bound of E.164 on the digits of a number with its country code.
const maxPhoneDigits = 15

// phone keeps the digits of a number and a plus before them, in their order. It cuts off the rule's
// country code, and nothing else. A text whose digits could mean another number is refused.
func (r *fieldRule) phone(l leaf) content {
	c := r.text(l)
	if c.finding != isSet {
		return c
	}
	digits, plus, problem := phoneDigits(c.text)
	if problem != "" {
		return wrong(problem)
	}
	number, international := r.national(digits, plus)
	switch {
	case len(number) > maxPhoneDigits:
		return wrong("has more digits than a phone number")
	case international:
		return set(crmapi.Text("+" + number))
	}
	return set(crmapi.Text(number))
}

// phoneDigits takes the digits from a text, and says whether a plus stands before them.
func phoneDigits(text string) (digits string, plus bool, problem string) {
	var b strings.Builder
	dots, tail, separated, masked, other := 0, 0, false, false, false
	for _, c := range text {
		switch d, is := decimalDigit(c); {
		case is:
			b.WriteByte(d)
			tail++
		case (c == '+' || c == '＋') && !plus && b.Len() == 0:
			plus = true
		case c == '.' || c == '．':
			dots, tail = dots+1, 0
		case isSeparator(c):
			if other = other || unicode.Is(unicode.Pd, c) && b.Len() == 0 && !plus; b.Len() > 0 { // a minus
				separated = true
			}
		case isInvisible(c):
		case strings.ContainsRune("*＊xX×✕#•●·", c):
			masked = true
		default:
			other = true
		}
	}
	digits = b.String()
	switch {
	case masked:
		return "", false, "is masked, or has an extension"
	case other || digits == "":
		return "", false, "is no phone number"
	case dots > 0 && tail < 3, dots == 1 && !separated:
		return "", false, "has a decimal point"
	case plus && strings.ContainsAny(text, "(（") && strings.Contains(strings.NewReplacer("（", "(", "）", ")", "０", "0", " ", "").Replace(text), "(0)"):
		return "", false, "has a country code and a 0 in brackets, which is not dialed with it"
	}
	return digits, plus, ""
}

// decimalDigit reads ASCII and full-width digits.
func decimalDigit(c rune) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return byte(c), true
	case c >= '０' && c <= '９':
		return byte('0' + c - '０'), true
	}
	return 0, false
}

// isSeparator reports whether c is written between the digits of a number.
func isSeparator(c rune) bool {
	return c == '\t' || unicode.Is(unicode.Zs, c) || unicode.Is(unicode.Pd, c) || strings.ContainsRune("\u2212()（）", c)
}

// isInvisible reports whether c has no shape of its own: direction marks, zero-width characters,
// variation selectors. The override that reverses what is read is not among them.
func isInvisible(c rune) bool {
	return c != '\u202e' && (unicode.Is(unicode.Cf, c) || unicode.Is(unicode.Variation_Selector, c) || c == '\u034f')
}

// national cuts off the rule's country code. International says that another country's code, or
// none that is known, is left in number.
func (r *fieldRule) national(digits string, plus bool) (number string, international bool) {
	if r.country == "" {
		return digits, plus
	}
	for _, prefix := range []string{"", "00", "0"} {
		rest, ok := strings.CutPrefix(digits, prefix+r.country)
		switch {
		case !ok || rest == "":
		case prefix == "" && plus, prefix == "00" && !plus:
			return rest, false
		case !plus && len(rest) == mobileLength(r.country):
			return rest, false
		}
	}
	return digits, plus
}

// mobileLength is the length of a country's mobile numbers where all have the same, without the
// code and the trunk prefix, else 0. Source: ITU-T E.164 national numbering plans.
func mobileLength(country string) int {
	switch country {
	case "86":
		return 11
	case "1", "7", "44", "81", "82", "90", "91", "92":
		return 10
	case "33", "34", "48", "61", "66", "84", "886", "966", "971":
		return 9
	case "65", "852", "853", "45", "47":
		return 8
	}
	return 0
}

// mobileProblem says what keeps a text from being sent as a mobile number as it is, spaces and all.
func mobileProblem(text string) string {
	if len(text) <= maxPhoneDigits && isDigits(strings.TrimPrefix(text, "+")) {
		return ""
	}
	digits, _, problem := phoneDigits(text)
	switch {
	case problem != "":
		return problem
	case len(digits) > maxPhoneDigits:
		return "has more digits than a phone number"
	case strings.ContainsFunc(text, isInvisible):
		return "has a character that cannot be seen"
	}
	return ""
}
