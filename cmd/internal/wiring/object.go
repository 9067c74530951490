package wiring

import (
	"fmt"
	"strings"

	"membersync/cmd/internal/config"
	"membersync/crmapi"
)

// Object returns how updates are written for the object API, nil for the user object. Its error
// names the fields that the mapping can set and that have no name there: leaving one out would lose
// changes.
func Object(cfg config.CRM, mapping *Mapping) (*crmapi.Object, error) {
	if cfg.API != "object" || mapping == nil { // without a mapping there is another error
		return nil, nil
	}
	var unnamed []string
	for _, f := range mapping.Now().Fields() {
		if cfg.Object.Name(f) == "" {
			unnamed = append(unnamed, f.String())
		}
	}
	if len(unnamed) > 0 {
		return nil, fmt.Errorf("crm.object_fields lacks names in the object API for fields of the mapping: %s", strings.Join(unnamed, ", "))
	}
	return &cfg.Object, nil
}
