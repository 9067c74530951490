// Package mapper turns the bytes of a record into the smallest updates of CRM members: strict
// decoding, validation, normalization, the sparse difference between the old and the new state, the
// version that orders changes, and the fold of several events into one update.
//
// It is pure. It knows no context, no I/O, no log and no clock: the same record gives the same
// results, always. Its errors name places and never values.
//
//	mapping, err := mapper.Builtin("canonical", mapper.Options{})
//	for _, result := range mapping.Map(record) { … } // one for each employee in the record
//
// # Mappings
//
// A [Mapping] is a mapping file, compiled. [Parse] compiles one; [Builtin] compiles a file of the
// package. MAPPING.md describes the format. There is one interpreter: what canonical events can do,
// every file can do.
//
// # Reading the code
//
// Each stage is a type of its own, in a file of its own. A stage holds the employee or the record
// at hand and no state, unless its comment says so.
//
// Compiling, from the types of internal/spec to a program (program.go). compiler (compile.go) has
// what all share: paths, zones, dates. The others compile a section of the file each:
// lookupCompiler, envelopeCompiler, identityCompiler (also the order), stateCompiler,
// routeCompiler, fieldCompiler and exampleCompiler.
//
// Mapping a record. work (work.go) owns it: the trees of its texts, and
//
//   - unwrapper (unwrap.go, envelopes.go): the parts of the employees
//   - metadata: the key and the headers, read if a path asks for them
//   - resolver (lookups.go): translations, and the keys that the caller has to look up
//   - jqRunner (jqrun.go): the runs of jq programs, within one budget
//   - notes (explain.go) and masker (mask.go): what Explain and Mask collect
//
// Mapping one employee's part. interpreter (member.go) owns the event and its first fault, and
// finds values by their paths. The stages run in this order:
//
//   - stateReader.locate (states.go): the objects with the old and the new values
//   - identityReader (identity.go): the ids and the order
//   - router (route.go): whether the event is taken
//   - stateReader.readStates, with pairReader (pairs.go) and changeReader (changed.go): fills
//     states
//   - states (stateview.go): answers what a path means before and after, and what may have changed
//   - fieldReader (field.go): what the event states of one field
//   - valueReader (normalize.go): what a JSON value means for the field
package mapper
