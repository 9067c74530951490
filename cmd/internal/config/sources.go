package config

import (
	"flag"
	"io"
	"iter"
	"maps"
	"regexp"
	"strings"
)

const envPrefix = "MEMBERSYNC_"

// Define defines a flag for each setting. What is given for them is appended to
// args, in the form that Load takes.
func Define(flags *flag.FlagSet, args *[]string) { define(flags, settings(), args) }

// DefineMapping defines a flag for each setting that LoadMapping reads.
func DefineMapping(flags *flag.FlagSet, args *[]string) { define(flags, mappingOnly(settings()), args) }

func define(flags *flag.FlagSet, all []setting, args *[]string) {
	for _, s := range all {
		name := strings.TrimPrefix(s.flag(), "--")
		record := func(name string) func(string) error {
			return func(text string) error {
				*args = append(*args, "--"+name+"="+text)
				return nil
			}
		}
		if s.boolean {
			flags.BoolFunc(name, s.help, record(name))
			continue
		}
		flags.Func(name, s.help, record(name))
		if s.secret {
			flags.Func(name+"-file", "file of "+s.name, record(name+"-file"))
		}
	}
}

// ParseFlags parses flags wherever they stand, returns what is left over, and goes
// on after a fault, which the flag package does not by itself. A fault never holds
// a value: it could be a secret.
func ParseFlags(flags *flag.FlagSet, args []string) (rest []string, faults []Fault) {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	for len(args) > 0 {
		err := flags.Parse(args)
		left := flags.Args()
		switch parsed := len(args) - len(left); {
		case err != nil:
			faults = append(faults, flagFault(flags, err))
			if parsed == 0 { // it stays before an argument of a wrong form
				left = left[1:]
			}
		case parsed > 0 && args[parsed-1] == "--":
			return append(rest, left...), faults
		case len(left) > 0:
			rest, left = append(rest, left[0]), left[1:]
		}
		args = left
	}
	return rest, faults
}

// flagFault has the flag in the form that the help shows.
func flagFault(flags *flag.FlagSet, err error) Fault {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		if len(name) == 1 { // near to each other letter, and so to none
			return Fault{spelling(name), "no such flag"}
		}
		return Fault{spelling(name), "no such flag" + DidYouMean(spelling(name), spellings(flags))}
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return Fault{spelling(name), "needs a value"}
	}
	if name, ok := strings.CutPrefix(text, "invalid boolean value "); ok {
		_, name, _ = strings.Cut(name, "for -")
		name, _, _ = strings.Cut(name, ":")
		return Fault{spelling(name), "should be true or false"}
	}
	return Fault{"", "an argument has the form of neither a flag nor a value"}
}

func spellings(flags *flag.FlagSet) iter.Seq[string] {
	return func(yield func(string) bool) {
		more := true
		flags.VisitAll(func(f *flag.Flag) { more = more && yield(spelling(f.Name)) })
	}
}

// spelling is a flag as one writes it: -o, --output.
func spelling(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// readFlags gathers the flags.
func (l *loader) readFlags(args []string) {
	var texts []string
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	define(flags, l.all, &texts)
	rest, faults := ParseFlags(flags, args)
	l.faults = append(l.faults, faults...)
	if len(rest) > 0 {
		l.fault("", "only flags are expected")
	}
	names := l.names(setting.flag, "-file")
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		l.given[fromFlag][names[name]] = given{name: name, text: value, from: fromFlag}
	}
}

// names maps each spelling of a setting to its name.
func (l *loader) names(spell func(setting) string, fileSuffix string) map[string]string {
	names := map[string]string{}
	for _, s := range l.all {
		names[spell(s)] = s.name
		if s.secret {
			names[spell(s)+fileSuffix] = s.fileName()
		}
	}
	return names
}

// readEnvironment gathers the variables. Of a variable set twice the first counts,
// as it does for os.Getenv.
func (l *loader) readEnvironment(environ []string) {
	names := l.names(setting.env, "_FILE")
	injected := serviceVariable()
	for _, variable := range environ {
		key, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(key, envPrefix) {
			continue
		}
		name, known := names[key]
		_, twice := l.given[fromEnvironment][name]
		switch {
		case known && !twice:
			l.given[fromEnvironment][name] = given{name: key, text: text, from: fromEnvironment}
		case !known && !injected.MatchString(key):
			l.warn(key, "no such setting"+DidYouMean(key, maps.Keys(names)))
		}
	}
}

// serviceVariable matches the variables that Kubernetes sets in every pod for a
// service named membersync or membersync-something.
func serviceVariable() *regexp.Regexp {
	return regexp.MustCompile(`^MEMBERSYNC(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
}
