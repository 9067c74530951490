package config

import (
	"strings"
	"time"

	"membersync/cmd/internal/flags"
)

// A setting is one row of the table that everything derives from.
type setting struct {
	name string // section.key, as in YAML; flag and variable are spelt from it
	def  string // default, as a user would write it; <topic> stands for the source topic
	want string // what a value should be
	help string

	valueKind string // word for the kind of its values in the help of a flag

	required bool // must be given
	secret   bool // only from the environment or a file
	private  bool // a wrong value is not quoted: it may hold a password
	boolean  bool // as a flag it needs no value
	mapping  bool // matters to the mapping alone, without a service

	// secretField is the field of a secret; nil: it is no secret.
	secretField func(*Config) *Secret

	// set stores the value in the configuration, or reports that the text is not valid.
	set func(c *Config, text string) bool
}

func (s setting) flag() string {
	return "--" + strings.ReplaceAll(strings.ReplaceAll(s.name, ".", "-"), "_", "-")
}

func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.name, ".", "_"))
}

// fileName is the name of the setting that names the file of a secret.
func (s setting) fileName() string { return s.name + "_file" }

// A kind is what the values of a setting are: how they are read and described.
type kind[T any] struct {
	parse parser[T]
	want  string
}

// row makes a setting of a kind, stored in a field.
func row[T any](name, def string, k kind[T], field func(*Config) *T, help string) setting {
	return setting{
		name: name, def: def, want: k.want, help: help, valueKind: valueKind[T](k.want),
		set: func(c *Config, text string) bool {
			value, ok := k.parse(text)
			if ok {
				*field(c) = value
			}
			return ok
		},
	}
}

// valueKind is the word for values of a type in the help of a flag.
func valueKind[T any](want string) string {
	switch any(*new(T)).(type) {
	case bool:
		return "bool"
	case int:
		return "int"
	case int64:
		return "size"
	case float64:
		return "float"
	case time.Duration:
		return "duration"
	case []string:
		return "strings"
	case Rate:
		return "rate"
	case RedisURL:
		return "url"
	}
	if strings.Contains(want, "path of a") {
		return flags.Path
	}
	return "string"
}

func secretRow(name string, field func(*Config) *Secret, help string) setting {
	s := row(name, "", kind[Secret]{
		parse: func(text string) (Secret, bool) { return NewSecret(text), text != "" },
		want:  "text that is not empty",
	}, field, help)
	s.secret, s.private, s.secretField = true, true, field
	return s
}

func stateKeyRow(name string, field func(*Config) *Secret, help string) setting {
	s := row(name, "", kind[Secret]{
		parse: func(text string) (Secret, bool) {
			_, ok := stateKey(text)
			return NewSecret(text), ok
		},
		want: "32 random bytes or more, as hex, base64 or raw text",
	}, field, help)
	s.secret, s.private, s.secretField = true, true, field
	return s
}

func boolRow(name, def string, field func(*Config) *bool, help string) setting {
	s := row(name, def, kind[bool]{boolean, "true or false"}, field, help)
	s.boolean = true
	return s
}

func (s setting) asRequired() setting { s.required = true; return s }

func (s setting) asPrivate() setting { s.private = true; return s }

func (s setting) forMapping() setting { s.mapping = true; return s }

// A section is a part of the table, with the title that it has in the reference.
type section struct {
	title    string
	settings []setting
}

// sections are the whole table, in the order of the help text. A default that names <topic> stands
// below kafka.topic.
func sections() []section {
	return []section{
		{"Configuration file", fileSettings()},
		{"Kafka", kafkaSettings()},
		{"Dead letters and audit", dlqSettings()},
		{"Redis", redisSettings()},
		{"State and order", stateSettings()},
		{"CRM", crmSettings()},
		{"Connection to the CRM", connectionSettings()},
		{"Mapping", mappingSettings()},
		{"Service", serviceSettings()},
	}
}

// settings are those of all sections.
func settings() []setting {
	var all []setting
	for _, section := range sections() {
		all = append(all, section.settings...)
	}
	return all
}

// mappingOnly leaves the settings that the mapping needs.
func mappingOnly(all []setting) []setting {
	return only(all, func(s setting) bool { return s.mapping })
}

// adminOnly leaves the settings that locate the admin server.
func adminOnly(all []setting) []setting {
	return only(all, func(s setting) bool { return s.name == "config" || s.name == "admin.addr" })
}

func only(all []setting, wanted func(setting) bool) (some []setting) {
	for _, s := range all {
		if wanted(s) {
			some = append(some, s)
		}
	}
	return some
}

func aName() kind[string] { return kind[string]{nonEmpty, "a name"} }

func optional(what string) kind[string] { return kind[string]{anyText, what} }

func topicName() kind[string] {
	return kind[string]{topic, "the name of a topic: at most 249 letters, digits, dots, dashes and underscores"}
}

func pemFile() kind[string] { return optional("the path of a PEM file") }

func hostName() kind[string] { return kind[string]{optionalHost, "a host name"} }

func byteSize() kind[int64] {
	return kind[int64]{size, "a size above 0 such as 512KiB, 32MiB or 1GiB"}
}

func number() kind[int] { return kind[int]{count, "a whole number from 1"} }

// durationOrNone is a duration, or 0 for no limit.
func durationOrNone(least time.Duration) kind[time.Duration] {
	k := duration(least)
	parse := func(text string) (time.Duration, bool) {
		if text == "0" {
			return 0, true
		}
		return k.parse(text)
	}
	return kind[time.Duration]{parse, k.want + ", or 0"}
}

func duration(least time.Duration) kind[time.Duration] {
	return kind[time.Duration]{atLeast(least), "a duration such as 500ms, 25s or 720h, at least " + least.String()}
}
