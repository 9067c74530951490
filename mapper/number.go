package mapper

import (
	"strconv"
	"strings"
)

// What can be wrong with an integer.
const (
	notInteger = "is not an integer"
	tooLarge   = "is out of range"
)

// maxExponent keeps the arithmetic on exponents from overflowing. No record is so long
// that a larger exponent could still give a number of a few digits.
const maxExponent = 1 << 40

// exactInteger returns the decimal digits of a JSON number that is an integer, however
// it is spelled: 10042, 10042.0, 1.0042e4. It never goes through a float, and its
// result has at most maxDigits digits, so an exponent cannot make it large.
func exactInteger(number string, maxDigits int) (digits, problem string) {
	sign, number := cutSign(number)
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	integral, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(integral+fraction, "0")
	if digits == "" {
		return "0", ""
	}
	scale, problem := decimalScale(exponent)
	if problem != "" {
		return "", problem
	}
	scale -= len(fraction)
	short := strings.TrimRight(digits, "0")
	scale += len(digits) - len(short)
	switch {
	case scale < 0:
		return "", notInteger
	case len(short)+scale > maxDigits:
		return "", tooLarge
	}
	return sign + short + strings.Repeat("0", scale), ""
}

func decimalScale(exponent string) (scale int, problem string) {
	if exponent == "" {
		return 0, ""
	}
	scale, err := strconv.Atoi(exponent)
	switch {
	case strings.HasPrefix(exponent, "-") && (err != nil || scale < -maxExponent):
		return 0, notInteger
	case err != nil || scale > maxExponent:
		return 0, tooLarge
	}
	return scale, ""
}

func cutSign(number string) (sign, rest string) {
	if rest, found := strings.CutPrefix(number, "-"); found {
		return "-", rest
	}
	return "", number
}

// isDigits reports whether s consists of decimal digits and has at least one.
func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isPlainInteger reports whether s is spelled as a JSON integer is: no plus sign, no
// leading zero. A text with a leading zero is an identifier, not a number.
func isPlainInteger(s string) bool {
	sign, digits := cutSign(s)
	return isDigits(digits) && (digits[0] != '0' || digits == "0" && sign == "")
}

func parseInteger(digits string) (n int64, problem string) {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, tooLarge
	}
	return n, ""
}
