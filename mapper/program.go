package mapper

import "membersync/mapper/internal/path"

// A program is a mapping file made ready to run. It is immutable.
type program struct {
	kind                          envelopeKind
	registry, registryOptional    bool // the value begins with the schema registry's framing
	unwrap, then                  []unwrapStep
	key                           keyRule
	list                          *path.Path
	eventID, employeeID, openUser source
	typ, op                       *path.Path
	order                         orderRule
	states                        stateRule
	routes                        []route
	fields                        []fieldRule
	lookups                       []Lookup
	inline                        map[string]Table // lookups whose table stands in the file
	external                      map[string]bool  // lookups that the caller resolves
	names                         map[string]bool  // that the mapping mentions, so faults may too
	readsAny                      bool             // a jq program may read any member
	deadTombstones                bool
	folded                        map[string]bool // lookups whose keys are lower case
	personal, public              []path.Path
	examples                      []example
}

type envelopeKind uint8

const (
	plain envelopeKind = iota
	cloudEvents
	debezium
	debeziumFlat
)
