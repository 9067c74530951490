package cli

import (
	"membersync/cmd/internal/config"
)

// The json form of config, a line for each setting.
type settingJSON struct {
	Name   string        `json:"name"`
	Value  string        `json:"value"` // *** for a secret
	Source config.Source `json:"source"`
	Where  string        `json:"where"` // flag, variable, or YAML file with the line; empty: a default
}

// showConfig prints the configuration, and then what is wrong with it.
func showConfig(in *invocation) int {
	all, report, err := config.Resolve(in.settings, in.Environ, in.ReadFile)
	in.warn(report)
	wide := 0
	for _, e := range all {
		wide = max(wide, len(e.Name))
	}
	columns := table{{"SETTING", wide}, {"VALUE", 32}, {"SOURCE", 11}, {"WHERE", 0}}
	if in.output == outputTable {
		in.print(columns.heading())
	}
	status := exitDone
	for _, e := range all {
		if in.output == outputTable {
			in.print(columns.row(e.Name, e.Value, string(e.Source), e.Where))
			continue
		}
		status = max(status, in.printJSON(settingJSON(e)))
	}
	if in.refuse(err) {
		return exitUsage
	}
	return status
}
