package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"membersync/cmd/internal/flags"
)

// words returns the words that a setting takes, where it takes nothing else: those that it wants,
// if each of them is a valid value.
func (s setting) words() []string {
	words := strings.Split(strings.ReplaceAll(strings.ReplaceAll(s.want, " or ", ","), ", ", ","), ",")
	for _, word := range words {
		if len(words) < 2 || strings.Contains(word, " ") || !s.set(&Config{}, word) {
			return nil
		}
	}
	return words
}

// note adds to the help of a flag what its kind and default do not say.
func (s setting) note() string {
	note := ""
	if words := s.words(); words != nil && !s.boolean {
		note = " (" + flags.Alternatives(words) + ")"
	}
	if s.required {
		note += " (required)"
	}
	return note
}

// defaultText is the default as the help of a flag shows it.
func (s setting) defaultText() string {
	if s.valueKind == "strings" {
		return "[" + s.def + "]"
	}
	return s.def
}

// Markdown is the reference of the settings in cmd/README.md: for each section a table, and below
// it what its values are.
func Markdown() string {
	var b strings.Builder
	for _, section := range sections() {
		fmt.Fprintf(&b, "### %s\n\n| environment | default | meaning |\n|---|---|---|\n", section.title)
		for _, s := range section.settings {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.variable(), s.defaultCell(), s.help)
		}
		b.WriteString("\n" + valueList(section.settings))
	}
	return b.String()
}

// variable is the name of the variable; a secret has a second one, for its file.
func (s setting) variable() string {
	if s.secret {
		return s.env() + "(_FILE)"
	}
	return s.env()
}

func (s setting) defaultCell() string {
	switch {
	case s.required:
		return "required"
	case s.def != "":
		return "`" + s.def + "`"
	}
	return ""
}

// valueList describes the values, except those that the meaning describes already.
func valueList(section []setting) string {
	var b strings.Builder
	byWant := map[string][]string{}
	for _, s := range section {
		byWant[s.want] = append(byWant[s.want], "`"+strings.TrimPrefix(s.env(), envPrefix)+"`")
	}
	for _, s := range section {
		names, isListed := byWant[s.want]
		if isListed && !s.isPlain() {
			b.WriteString(wrapped("- " + strings.Join(names, ", ") + ": " + s.want))
		}
		delete(byWant, s.want)
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// isPlain reports whether a value needs no description: a name, a path, a number, true or false.
func (s setting) isPlain() bool {
	return s.boolean || slices.Contains([]string{
		aName().want, hostName().want, pemFile().want, number().want, "text that is not empty",
		"the path of a YAML file", "the app's id", "the company's id on the CRM's open platform",
	}, s.want)
}

// wrapped is an entry of a list in lines of at most 100 columns.
func wrapped(text string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		width := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+width > 100:
			b.WriteString("\n  ")
			column = 2
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += width
	}
	return b.String() + "\n"
}
