package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// An origin is where a value was given, the strongest first.
type origin int

const (
	fromFlag origin = iota
	fromEnvironment
	fromYAML
	numOrigins
)

// A given value is one that the user wrote.
type given struct {
	name  string // as the user wrote it
	text  string
	path  string // of the file that held the text; empty: none
	from  origin
	place string // in the YAML file: its name and the line; empty: elsewhere
}

// A loader gathers what was given and what is wrong with it.
type loader struct {
	all      []setting // that exist
	used     []setting // that are checked
	readFile func(string) ([]byte, error)

	given    [numOrigins]map[string]given // by the setting's name
	faults   []Fault
	warnings []Fault
}

// Load makes the configuration from flags (args), environment and the YAML file
// that one of them names. Its error is a *FaultsError that holds every fault.
func Load(args, environ []string, readFile func(string) ([]byte, error)) (Config, Report, error) {
	return load(settings(), args, environ, readFile)
}

// LoadMapping is Load for a command that has a mapping but runs no service: the
// settings of the service are neither checked nor set.
func LoadMapping(args, environ []string, readFile func(string) ([]byte, error)) (Config, Report, error) {
	return load(mappingOnly(settings()), args, environ, readFile)
}

// LoadAdmin is Load for a command that only needs the admin address.
func LoadAdmin(args, environ []string, readFile func(string) ([]byte, error)) (Config, Report, error) {
	return load(adminOnly(settings()), args, environ, readFile)
}

// LogLevel returns the level of the log alone, for a program that follows the YAML file. The
// values of other settings are not checked, but the form of the file is.
func LogLevel(args, environ []string, readFile func(string) ([]byte, error)) (slog.Level, error) {
	own := slices.DeleteFunc(settings(), func(s setting) bool { return s.name != "log.level" })
	cfg, _, err := load(own, args, environ, readFile)
	return cfg.Log.Level, err
}

func load(used []setting, args, environ []string, readFile func(string) ([]byte, error)) (Config, Report, error) {
	l := &loader{all: settings(), used: used, readFile: readFile}
	c := l.load(args, environ)
	if len(l.faults) > 0 {
		return Config{}, Report{Warnings: l.warnings}, &FaultsError{Faults: l.faults}
	}
	return c, Report{Warnings: l.warnings}, nil
}

// load fills in what can be, and gathers the faults.
func (l *loader) load(args, environ []string) (c Config) {
	for from := range l.given {
		l.given[from] = map[string]given{}
	}
	l.readFlags(args)
	l.readEnvironment(environ)
	if file, ok := l.find("config"); ok && file.text != "" {
		l.readYAML(file)
	}
	for _, s := range l.used {
		l.apply(&c, s)
	}
	if len(l.used) == len(l.all) {
		checker{l}.checkTogether(&c)
	}
	return c
}

// find returns the strongest value given for a setting.
func (l *loader) find(name string) (given, bool) {
	for _, values := range l.given {
		if g, ok := values[name]; ok {
			return g, true
		}
	}
	return given{}, false
}

// isSet reports whether a setting was given and not as an empty text, which says
// nothing of whether it is right.
func (l *loader) isSet(name string) bool {
	g, ok := l.find(name)
	if !ok {
		g, ok = l.find(name + "_file")
	}
	return ok && g.text != ""
}

// nameOf returns a setting's name as the user wrote it, or else all its spellings.
func (l *loader) nameOf(name string) string {
	for _, spelling := range []string{name, name + "_file"} {
		if g, ok := l.find(spelling); ok {
			return g.name
		}
	}
	s := setting{name: name}
	for _, known := range l.all {
		if known.name == name {
			s = known
		}
	}
	if s.secret {
		return s.env() + " or " + s.env() + "_FILE"
	}
	return fmt.Sprintf("%s (or %s, %s)", s.env(), s.flag(), s.name)
}

func (l *loader) fault(name, text string) { l.faults = append(l.faults, Fault{Name: name, Text: text}) }

func (l *loader) warn(name, text string) {
	l.warnings = append(l.warnings, Fault{Name: name, Text: text})
}

// apply stores what was given for a setting, or its default.
func (l *loader) apply(c *Config, s setting) {
	g, ok := l.find(s.name)
	if s.secret {
		g, ok = l.secret(s)
	}
	switch {
	case ok:
		l.store(c, s, g)
	case s.required:
		l.fault(l.nameOf(s.name), "is required: "+s.want)
	case !s.secret:
		text := strings.Replace(s.def, "<topic>", c.Kafka.Topic, 1)
		l.store(c, s, given{name: l.nameOf(s.name), text: text})
	}
}

func (l *loader) store(c *Config, s setting, g given) {
	if s.set(c, g.text) {
		if s.secretField != nil {
			s.secretField(c).path = g.path
		}
		return
	}
	switch {
	case g.text == "":
		l.fault(g.name, "is empty; should be "+s.want)
	case s.private || mayHoldPassword(g.text):
		l.fault(g.name, "should be "+s.want)
	default:
		l.fault(g.name, strconv.Quote(g.text)+" should be "+s.want)
	}
}

// secret returns a secret from the environment or from its file.
func (l *loader) secret(s setting) (given, bool) {
	for _, from := range []origin{fromFlag, fromYAML} {
		if g, ok := l.given[from][s.name]; ok {
			l.fault(g.name, fmt.Sprintf("a secret comes from %s or the file that %[1]s_FILE names, never from a flag or the YAML file", s.env()))
		}
	}
	value, hasValue := l.given[fromEnvironment][s.name]
	file, hasFile := l.find(s.fileName())
	switch {
	case hasValue && hasFile:
		l.fault(value.name, "is set, and so is "+file.name+": one of them too many")
		return given{}, false
	case hasFile:
		return l.secretFile(file)
	default:
		return value, hasValue
	}
}

// secretFile reads a secret from a file, without the line end that editors add.
func (l *loader) secretFile(file given) (given, bool) {
	if file.text == "" {
		l.fault(file.name, "is empty; should be the path of a file")
		return given{}, false
	}
	data, err := l.readFile(file.text)
	if err != nil {
		l.fault(file.name, "cannot read the file that it names: "+reason(err))
		return given{}, false
	}
	text, ok := SecretText(data)
	if !ok {
		l.fault(file.name, "the file is empty")
		return given{}, false
	}
	return given{name: file.name, text: text, path: file.text, from: file.from}, true
}

// mayHoldPassword reports whether a wrong value looks like a URL: it is not quoted, since a user
// and a password may be in it.
func mayHoldPassword(text string) bool {
	return strings.Contains(text, "@") || strings.Contains(text, "://")
}

// reason leaves the path out of an error: the secret itself may stand
// where the name of its file belongs.
func reason(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return "unreadable"
}
