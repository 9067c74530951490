// Package flags defines command-line flags in a way that every fault of a command line is reported,
// not only the first.
//
// The values never fail while pflag parses: a [Set] notes what is wrong with them. Unknown flags
// are left among the arguments, where [Set.Finish] finds them. No fault holds a value, which could
// be a secret, except a wrong word for a flag that takes one of a few.
//
// Flags carry what the help and the shell completion need in addition: the group in which the help
// shows them, and the words that they take.
package flags

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/times"
)

// The annotations of flags.
const (
	groupAnnotation = "membersync_group"
	wordsAnnotation = "membersync_words"
)

// Path is the kind of flags that name a file. Completion offers files for them.
const Path = "path"

// A Fault is one thing wrong with a command line or a configuration.
type Fault struct {
	Name string // of the flag or setting, as the user wrote it; empty: the fault is of no single one
	Text string // what it should be; never the value of a secret
}

// String returns name and text.
func (f Fault) String() string {
	if f.Name == "" {
		return f.Text
	}
	return f.Name + ": " + f.Text
}

// A Set defines flags and collects what is wrong with what is given for them. It is not safe for
// concurrent use.
type Set struct {
	*pflag.FlagSet

	faults []Fault
}

// NewSet returns a set that defines its flags in flags, which then show in the order of definition.
func NewSet(flags *pflag.FlagSet) *Set {
	flags.SortFlags = false
	flags.ParseErrorsAllowlist = AllowUnknown()
	return &Set{FlagSet: flags}
}

// AllowUnknown is how pflag must parse for [Set.Finish]: unknown flags stay among the arguments.
func AllowUnknown() pflag.ParseErrorsAllowlist {
	return pflag.ParseErrorsAllowlist{UnknownFlagsHandling: pflag.PassUnknownFlagToArgs}
}

// A value is what a flag holds. It takes every text, and keeps those that are right.
type value struct {
	kind, text string
	take       func(text string) (want string)
	refuse     func(want string)
}

// Set implements [pflag.Value].
func (v *value) Set(text string) error {
	if want := v.take(text); want != "" {
		v.refuse(want)
		return nil
	}
	v.text = text
	return nil
}

// Type implements [pflag.Value]. The help shows it behind the flag.
func (v *value) Type() string { return v.kind }

// String implements [pflag.Value].
func (v *value) String() string { return v.text }

// Func defines a flag whose text is given to take, which returns what the text should be, or
// nothing if it is right. The kind is a word for its values.
func (s *Set) Func(name, kind, usage string, take func(text string) (want string)) *pflag.Flag {
	return s.FuncP(name, "", kind, "", usage, take)
}

// FuncP is Func with a shorthand (empty: none) and with the default that the help shows.
func (s *Set) FuncP(name, short, kind, def, usage string, take func(text string) (want string)) *pflag.Flag {
	refuse := func(want string) { s.faults = append(s.faults, Fault{"--" + name, want}) }
	v := &value{kind: kind, text: def, take: take, refuse: refuse}
	return s.VarPF(v, name, short, usage)
}

// Text defines a flag for any text.
func (s *Set) Text(into *string, name, kind, usage string) *pflag.Flag {
	return s.FuncP(name, "", kind, *into, usage, func(text string) string {
		*into = text
		return ""
	})
}

// Bool defines a flag that needs no value.
func (s *Set) Bool(into *bool, name, usage string) *pflag.Flag { return s.BoolP(into, name, "", usage) }

// BoolP is Bool with a shorthand.
func (s *Set) BoolP(into *bool, name, short, usage string) *pflag.Flag {
	flag := s.FuncP(name, short, "bool", strconv.FormatBool(*into), usage, func(text string) string {
		*into = text == "true"
		if text != "true" && text != "false" {
			return "should be true or false"
		}
		return ""
	})
	flag.NoOptDefVal = "true"
	return flag
}

// Count defines a flag for a whole number from 0.
func (s *Set) Count(into *int, name, usage string) *pflag.Flag {
	return s.Func(name, "int", usage, func(text string) string {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "should be a whole number from 0"
		}
		*into = n
		return ""
	})
}

// Time defines a flag for a time, as [times.Parse] reads it.
func (s *Set) Time(into *time.Time, name, usage string) *pflag.Flag {
	return s.Func(name, "time", usage, func(text string) string {
		at, ok := times.Parse(text, time.Now())
		if !ok {
			return "should be " + times.Want
		}
		*into = at
		return ""
	})
}

// Duration defines a flag for a duration, as [times.ParseDuration] reads it, of at least a length.
func (s *Set) Duration(into *time.Duration, name string, least time.Duration, usage string) *pflag.Flag {
	return s.Func(name, "duration", usage, func(text string) string {
		d, ok := times.ParseDuration(text)
		switch {
		case ok && d >= least:
			*into = d
			return ""
		case least > 0:
			return "should be a duration such as 10m, 2h or 3d4h, at least " + least.String()
		default:
			return "should be a duration such as 10m, 2h or 3d4h"
		}
	})
}

// Choice defines a flag for one of several words, with a shorthand (empty: none).
func (s *Set) Choice(into *string, name, short, usage string, words ...string) *pflag.Flag {
	flag := s.FuncP(name, short, "string", *into, usage, func(text string) string {
		if !slices.Contains(words, text) {
			return "should be " + Alternatives(words) + unlike(text, words)
		}
		*into = text
		return ""
	})
	SetWords(flag, words...)
	return flag
}

// List defines a flag for comma-separated words of a list. It may be repeated. Each word that is
// right is given to take.
func (s *Set) List(name, def, usage string, words []string, take func(word string)) *pflag.Flag {
	flag := s.FuncP(name, "", "strings", def, usage, func(text string) string {
		want := ""
		for word := range strings.SplitSeq(text, ",") {
			switch {
			case slices.Contains(words, word):
				take(word)
			case want == "":
				want = "should be of " + strings.Join(words, ", ") + unlike(word, words)
			}
		}
		return want
	})
	SetWords(flag, words...)
	return flag
}

// unlike quotes a word that a flag does not take, and names the nearest one.
func unlike(word string, words []string) string {
	return "; got " + strconv.Quote(word) + DidYouMean(word, slices.Values(words))
}

// Alternatives lists words: a, b or c.
func Alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// SetWords notes the words that a flag takes, for completion.
func SetWords(flag *pflag.Flag, words ...string) { annotate(flag, wordsAnnotation, words...) }

// Words returns the words that a flag takes; nil: it takes others, too.
func Words(flag *pflag.Flag) []string { return flag.Annotations[wordsAnnotation] }

// SetGroup notes the group in which the help shows a flag.
func SetGroup(flag *pflag.Flag, group string) { annotate(flag, groupAnnotation, group) }

// Group returns the group in which the help shows a flag; empty: that of the command's own flags.
func Group(flag *pflag.Flag) string { return strings.Join(flag.Annotations[groupAnnotation], "") }

func annotate(flag *pflag.Flag, key string, values ...string) {
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[key] = values
}

// Finish returns the arguments that are not flags, and every fault of the command line. The error
// is that of the parsing, which comes last: the last flag lacks a value, an argument has an invalid
// form, or a value of one of pflag's own types is wrong. After the latter two nothing was parsed.
func (s *Set) Finish(err error) (rest []string, faults []Fault) {
	args := s.Args()
	dash := s.ArgsLenAtDash() // what follows -- is no flag
	for i, arg := range args {
		if (dash < 0 || i < dash) && len(arg) > 1 && arg[0] == '-' {
			faults = append(faults, s.unknown(arg))
			continue
		}
		rest = append(rest, arg)
	}
	if err != nil {
		faults = append(faults, faultOf(err))
	}
	return rest, append(faults, s.faults...)
}

// TooMany is the fault of more arguments than a command takes.
func TooMany(given, most int) Fault {
	if given == 1 {
		return Fault{"", "1 argument given, none allowed"}
	}
	if most == 0 {
		return Fault{"", fmt.Sprintf("%d arguments given, none allowed", given)}
	}
	return Fault{"", fmt.Sprintf("%d arguments given, at most %d allowed", given, most)}
}

func faultOf(err error) Fault {
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return Fault{"--" + missing.GetFlag().Name, "needs a value"}
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok { // of a type of pflag
		kind := invalid.GetFlag().Value.Type()
		want := map[string]string{"int": "a whole number", "float64": "a number", "duration": "a duration such as 90s"}
		return Fault{"--" + invalid.GetFlag().Name, "should be " + cmp.Or(want[kind], "of the type "+kind)}
	}
	return Fault{"", "an argument has the form of neither a flag nor a value"}
}

// unknown is the fault of an unknown flag. What follows a shorthand may be its value, so it is
// shown only where it is nearly the name of a flag.
func (s *Set) unknown(arg string) Fault {
	name, _, _ := strings.Cut(arg, "=")
	if strings.HasPrefix(name, "--") {
		return Fault{name, "unknown flag" + DidYouMean(name, s.names())}
	}
	if hint := DidYouMean("-"+name, s.names()); len(name) > 2 && hint != "" {
		return Fault{name, "unknown flag" + hint}
	}
	_, size := utf8.DecodeRuneInString(name[1:])
	return Fault{name[:1+size], "unknown flag"}
}

// names are the spellings of all flags, also of those that are refused with a reason.
func (s *Set) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		more := true
		s.VisitAll(func(f *pflag.Flag) { more = more && yield("--"+f.Name) })
	}
}
