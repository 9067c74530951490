package config

import (
	"strings"

	"membersync/cmd/internal/flags"
)

// A Fault is one thing wrong with the configuration. Its name is that of the setting as the user
// wrote it: a flag, a variable, or a YAML key with its line.
type Fault = flags.Fault

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

// A Report is what is to be told of a configuration in addition to its faults.
type Report struct {
	Warnings []Fault // what was ignored
}
