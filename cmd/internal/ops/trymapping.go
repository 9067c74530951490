package ops

import (
	"context"

	"membersync/mapper"
)

// TryMapping returns how a record would be mapped, by a mapping file or, if that is empty, by the
// running mapping. A file may use the lookups of the running mapping, by their names, and no others.
// No file is read. What is returned holds the record's values.
func (s *DeadLetters) TryMapping(ctx context.Context, file string, rec mapper.Record) ([]mapper.Explanation, error) {
	mapping := s.parts.Mapping.Now()
	if file != "" {
		var err error
		if mapping, err = s.parts.Mapping.Try(file); err != nil {
			return nil, err
		}
	}
	guard := s.guard()
	guard.Mapper = mapping
	var refs []mapper.Reference
	if fault := guard.Do(ctx, rec, func() { refs = mapping.References(rec) }); fault != nil {
		return []mapper.Explanation{{Result: mapper.Result{Fault: fault}}}, nil
	}
	found := map[mapper.Reference]string{}
	if s.parts.Hashes != nil && len(refs) > 0 {
		var err error
		if found, err = s.parts.Hashes.Find(ctx, refs); err != nil {
			return nil, err
		}
	}
	var explanations []mapper.Explanation
	if fault := guard.Do(ctx, rec, func() { explanations = mapping.Explain(rec, found) }); fault != nil {
		explanations = []mapper.Explanation{{Result: mapper.Result{Fault: fault}}}
	}
	return explanations, nil
}

// Lookups returns the names of the running mapping's lookups.
func (s *DeadLetters) Lookups() []string {
	var names []string
	for _, l := range s.parts.Mapping.Now().Lookups() {
		names = append(names, l.Name)
	}
	return names
}
