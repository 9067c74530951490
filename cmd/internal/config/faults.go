package config

import "strings"

// A Fault is one thing wrong with the configuration.
type Fault struct {
	Name string // of the setting, as the user wrote it: flag, variable or YAML key with its line
	Text string // what it should be; never the value of a secret
}

// String returns name and text.
func (f Fault) String() string {
	if f.Name == "" {
		return f.Text
	}
	return f.Name + ": " + f.Text
}

// A FaultsError is all that is wrong with a configuration.
type FaultsError struct{ Faults []Fault }

// Error returns a line for each fault.
func (e *FaultsError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// A Report is what is to be told of a configuration beside its faults.
type Report struct {
	Warnings []Fault // what was ignored
}
