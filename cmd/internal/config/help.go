package config

import (
	"fmt"
	"strings"

	"membersync/cmd/internal/flags"
)

// words returns the words that a setting takes, where it takes nothing else: those that it wants,
// if each of them is a valid value.
func (s setting) words() []string {
	listed := strings.NewReplacer(" or ", ",", ", ", ",").Replace(s.want)
	words := strings.Split(listed, ",")
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

// Markdown is the table of settings for the README.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| environment | default | value | meaning |\n|---|---|---|---|\n")
	for _, s := range settings() {
		variable, def := s.env(), s.def
		if s.secret {
			variable += "(_FILE)"
		}
		if def != "" {
			def = "`" + def + "`"
		}
		if s.required {
			def = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", variable, def, s.want, s.help)
	}
	return b.String()
}
