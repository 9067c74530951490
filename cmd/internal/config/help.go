package config

import (
	"fmt"
	"strings"
)

// Help describes every setting for a command's --help.
func Help() string { return help(settings()) }

// MappingHelp describes the settings that LoadMapping reads.
func MappingHelp() string { return help(mappingOnly(settings())) }

func help(all []setting) string {
	var b strings.Builder
	b.WriteString("Settings. Each is a flag, a variable (--kafka-topic: MEMBERSYNC_KAFKA_TOPIC) or a key of the\n" +
		"YAML file (kafka.topic), the strongest first. A secret comes only from its variable, or from the\n" +
		"file that the same name with _FILE (flag -file, key _file) names.\n")
	for _, s := range all {
		spelling := s.flag()
		if s.secret {
			spelling = s.env() + "(_FILE)"
		}
		fmt.Fprintf(&b, "  %s  %s\n        %s%s\n", spelling, s.want, s.help, s.defaultNote())
	}
	return b.String()
}

func (s setting) defaultNote() string {
	switch {
	case s.required:
		return " (required)"
	case s.def != "":
		return " (default " + s.def + ")"
	default:
		return ""
	}
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
