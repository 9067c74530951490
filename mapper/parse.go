package mapper

import (
	"sync"

	"membersync/crmapi"
	"membersync/mapper/internal/spec"
)

// A FileError is one thing that is wrong with a mapping file.
type FileError = spec.FileError

// A ParseError is the error of [Parse]: all that is wrong with a file, in its order.
type ParseError = spec.FileErrors

// Parse reads a mapping file. Name is what faults call it. The error is a ParseError.
// Zones are looked up in the system's time zone database.
func Parse(name string, file []byte, opts Options) (*Mapping, error) {
	log := &spec.Log{File: name}
	read := spec.Read(file, fieldNames(), log)
	c := compiler{log: log, options: opts, p: &program{names: map[string]bool{}, inline: map[string]Table{}, external: map[string]bool{}, folded: map[string]bool{}}}
	if read.Version.Given() { // otherwise there is nothing that could be made sense of
		c.compile(read)
	}
	if err := log.Err(); err != nil {
		return nil, err
	}
	return &Mapping{
		name:    name,
		options: opts,
		program: c.p,
		works:   &sync.Pool{New: func() any { return newWork() }},
	}, nil
}

// Schema returns the JSON Schema of mapping files, for editors.
func Schema() ([]byte, error) { return spec.Schema(fieldNames()) }

func fieldNames() []string {
	names := make([]string, crmapi.NumFields)
	for i := range names {
		names[i] = crmapi.Field(i).String()
	}
	return names
}
