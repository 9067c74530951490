package config

import (
	"maps"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/flags"
)

const envPrefix = "MEMBERSYNC_"

// group is the group of the settings in the help of a command.
const group = "Settings (a flag, else a variable such as MEMBERSYNC_KAFKA_TOPIC, else the YAML file's kafka.topic)"

// Define defines a flag for each setting. What is given for them is appended to args, in the form
// that Load takes.
func Define(set *flags.Set, args *[]string) { define(set, settings(), args) }

// DefineMapping defines a flag for each setting that LoadMapping reads.
func DefineMapping(set *flags.Set, args *[]string) { define(set, mappingOnly(settings()), args) }

// DefineAdmin defines a flag for each setting that LoadAdmin reads.
func DefineAdmin(set *flags.Set, args *[]string) { define(set, adminOnly(settings()), args) }

func define(set *flags.Set, all []setting, args *[]string) {
	for _, s := range all {
		name := strings.TrimPrefix(s.flag(), "--")
		record := func(name string) func(string) string {
			return func(text string) string {
				*args = append(*args, "--"+name+"="+text)
				return ""
			}
		}
		flag := set.FuncP(name, "", s.valueKind, s.defaultText(), s.help+s.note(), record(name))
		flags.SetGroup(flag, group)
		flags.SetWords(flag, s.words()...)
		switch {
		case s.boolean:
			flag.NoOptDefVal = "true"
		case s.secret: // the flag is there to be refused with the reason
			flag.Hidden = true
			file := set.FuncP(name+"-file", "", flags.Path, "", s.help+" (file, or "+s.env()+")", record(name+"-file"))
			flags.SetGroup(file, group)
		}
	}
}

// readFlags gathers the flags.
func (l *loader) readFlags(args []string) {
	var texts []string
	set := flags.NewSet(pflag.NewFlagSet("", pflag.ContinueOnError))
	define(set, l.all, &texts)
	rest, faults := set.Finish(set.Parse(args))
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
			l.warn(key, "unknown setting"+flags.DidYouMean(key, maps.Keys(names)))
		}
	}
}

// serviceVariable matches the variables that Kubernetes sets in every pod for a
// service named membersync or membersync-something.
func serviceVariable() *regexp.Regexp {
	return regexp.MustCompile(`^MEMBERSYNC(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
}
