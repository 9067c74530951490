package mapper

import (
	_ "embed" // the mapping files
	"fmt"
	"strings"
)

var (
	//go:embed builtin/canonical.yaml
	canonicalFile []byte
	//go:embed builtin/canonical-time.yaml
	canonicalTimeFile []byte
	//go:embed builtin/cloudevents.yaml
	cloudEventsFile []byte
	//go:embed builtin/debezium.yaml
	debeziumFile []byte
)

// Builtins lists the names of the built-in mappings.
func Builtins() []string { return []string{"canonical", "canonical-time", "cloudevents", "debezium"} }

// BuiltinFile returns the mapping file of a built-in mapping, to be copied and changed,
// and nil for any other name.
func BuiltinFile(name string) []byte { return append([]byte(nil), builtinFile(name)...) }

func builtinFile(name string) []byte {
	switch name {
	case "canonical":
		return canonicalFile
	case "canonical-time":
		return canonicalTimeFile
	case "cloudevents":
		return cloudEventsFile
	case "debezium":
		return debeziumFile
	}
	return nil
}

// Builtin returns a built-in mapping by name. The error names those that there are.
func Builtin(name string, opts Options) (*Mapping, error) {
	if file := builtinFile(name); file != nil {
		return Parse(name, file, opts)
	}
	return nil, fmt.Errorf("mapping %q is not built in; %s are", name, strings.Join(Builtins(), ", "))
}
