package config

import (
	"net/url"
	"strings"
)

// A Source is where the value of a setting came from.
type Source string

// The sources, the strongest last. A secret that is read from a file has the source of its own,
// whatever names the file.
const (
	FromDefault     Source = "default"
	FromYAML        Source = "yaml"
	FromEnvironment Source = "environment"
	FromFlag        Source = "flag"
	FromSecretFile  Source = "secret_file"
)

// An Effective is a setting with the value that is in force.
type Effective struct {
	Name   string // such as kafka.topic
	Value  string // *** for a secret; empty: it is not set
	Source Source
	Where  string // the flag, the variable, or the YAML file with the line; empty: a default
}

// Resolve returns every setting with its value and its source. Its error is that of [Load]. The
// settings are complete nevertheless: of a setting that may hold a password and has a fault, the
// value is hidden.
func Resolve(args, environ []string, readFile func(string) ([]byte, error)) ([]Effective, Report, error) {
	l := &loader{all: settings(), used: settings(), readFile: readFile}
	c := l.load(args, environ)
	all := make([]Effective, 0, len(l.all))
	for _, s := range l.all {
		all = append(all, l.effective(&c, s))
	}
	var err error
	if len(l.faults) > 0 {
		err = &FaultsError{Faults: l.faults}
	}
	return all, Report{Warnings: l.warnings}, err
}

func (l *loader) effective(c *Config, s setting) Effective {
	e := Effective{Name: s.name, Value: strings.Replace(s.def, "<topic>", c.Kafka.Topic, 1), Source: FromDefault}
	g, ok := l.find(s.name)
	file, hasFile := l.find(s.fileName())
	url, hasURL := l.find("redis.url")
	inURL := hasURL && (s.name == "redis.username" && c.Redis.Username != "" || s.name == "redis.password" && c.Redis.Password.IsSet())
	switch {
	case s.secret && hasFile:
		g, e.Source = file, FromSecretFile
	case ok:
		e.Source = sourceOf(g)
	case inURL:
		g, e.Source = url, sourceOf(url)
		g.text = c.Redis.Username
	default:
		return e
	}
	e.Where, e.Value = g.name, g.text
	if g.place != "" {
		e.Where = g.place
	}
	switch {
	case s.secret && g.text != "":
		e.Value = hidden
	case s.name == "redis.url" && len(c.Redis.URL.Addrs) > 0:
		e.Value = c.Redis.URL.String() // without user and password
	case s.private && !s.set(&Config{}, g.text):
		e.Value = hidden
	case s.name == "crm.proxy":
		e.Value = withoutUser(c.CRM.ProxyURL())
	}
	return e
}

// withoutUser returns the URL without user and password; nil: the empty text.
func withoutUser(u *url.URL) string {
	if u == nil {
		return ""
	}
	bare := *u
	bare.User = nil
	return bare.String()
}

func sourceOf(g given) Source {
	return map[origin]Source{fromFlag: FromFlag, fromEnvironment: FromEnvironment, fromYAML: FromYAML}[g.from]
}
