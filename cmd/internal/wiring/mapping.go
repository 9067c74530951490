package wiring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/flags"
	"membersync/mapper"
)

// A Mapping is the configured mapping with its lookup tables. While Watch runs, a table whose file
// changes is read again. It is safe for concurrent use.
type Mapping struct {
	current atomic.Pointer[mapper.Mapping]
	tables  []*tableFile
	opts    mapper.Options
	held    atomic.Pointer[map[string]mapper.Table] // the tables of current, by lookup
}

// LoadMapping makes the mapping alone, for a command that needs nothing else: a built-in one, or
// that of a file, with the tables that its lookups name. Its error joins all faults, a line for
// each.
func LoadMapping(cfg config.Config, readFile func(string) ([]byte, error)) (*Mapping, error) {
	parsed, err := parseMapping(cfg, readFile)
	if err != nil {
		return nil, err
	}
	m := &Mapping{opts: mappingOptions(cfg)}
	tables, faults := map[string]mapper.Table{}, []error(nil)
	for _, l := range parsed.Lookups() {
		if l.File == "" {
			continue
		}
		file := &tableFile{lookup: l, path: pathOf(cfg.Mapping, l.File), readFile: readFile}
		table, err := file.load()
		if err != nil {
			faults = append(faults, fmt.Errorf("%s:%d:%d: lookup %s: %w", cfg.Mapping, l.Line, l.Column, l.Name, err))
			continue
		}
		m.tables, tables[l.Name] = append(m.tables, file), table
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return m, m.adopt(parsed, tables)
}

func mappingOptions(cfg config.Config) mapper.Options {
	return mapper.Options{MaxRecordBytes: int(cfg.Kafka.MaxRecordBytes), MaxAhead: cfg.Order.MaxAhead, Zone: cfg.Timezone}
}

func parseMapping(cfg config.Config, readFile func(string) ([]byte, error)) (*mapper.Mapping, error) {
	opts := mappingOptions(cfg)
	if slices.Contains(mapper.Builtins(), cfg.Mapping) {
		return mapper.Builtin(cfg.Mapping, opts)
	}
	text, err := readFile(cfg.Mapping)
	if err != nil {
		hint := ""
		if !strings.ContainsAny(cfg.Mapping, `/\.`) {
			hint = flags.DidYouMean(cfg.Mapping, slices.Values(mapper.Builtins()))
		}
		return nil, fmt.Errorf("mapping %q is not built in (%s are), and no file that can be read: %w%s",
			cfg.Mapping, strings.Join(mapper.Builtins(), ", "), err, hint)
	}
	return mapper.Parse(cfg.Mapping, text, opts)
}

// pathOf is the path of a table's file: a relative one begins in the folder of the mapping file.
func pathOf(mapping, table string) string {
	if filepath.IsAbs(table) {
		return table
	}
	return filepath.Join(filepath.Dir(mapping), table)
}

func (m *Mapping) adopt(base *mapper.Mapping, tables map[string]mapper.Table) error {
	if len(tables) > 0 {
		with, err := base.WithTables(tables)
		if err != nil {
			return err
		}
		base = with
	}
	held := map[string]mapper.Table{}
	if before := m.held.Load(); before != nil {
		maps.Copy(held, *before)
	}
	maps.Copy(held, tables)
	m.held.Store(&held)
	m.current.Store(base)
	return nil
}

// otherLookup says that a mapping that is tried uses a lookup that the running one does not have.
const otherLookup = "the running mapping does not have this lookup, and only its lookups may be used"

// Try returns the mapping of a text. It may use the lookups of the running mapping, by their
// names and of their kind. No file is read. The error is a [mapper.ParseError].
func (m *Mapping) Try(text string) (*mapper.Mapping, error) {
	parsed, err := mapper.Parse("mapping", []byte(text), m.opts)
	if err != nil {
		return nil, err
	}
	running := map[string]mapper.Lookup{}
	for _, l := range m.Now().Lookups() {
		running[l.Name] = l
	}
	tables, held := map[string]mapper.Table{}, *m.held.Load()
	var faults mapper.ParseError
	for _, l := range parsed.Lookups() {
		same, ok := running[l.Name]
		if !ok || (same.Redis != "") != (l.Redis != "") {
			faults = append(faults, mapper.FileError{File: "mapping", Line: l.Line, Column: l.Column, Text: "lookup " + l.Name + ": " + otherLookup})
			continue
		}
		if table, ok := held[l.Name]; ok {
			tables[l.Name] = table
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if len(tables) == 0 {
		return parsed, nil
	}
	return parsed.WithTables(tables)
}

// Now is the mapping with the tables of this moment.
func (m *Mapping) Now() *mapper.Mapping { return m.current.Load() }

// References lists what a record wants looked up outside of the tables.
func (m *Mapping) References(rec mapper.Record) []mapper.Reference { return m.Now().References(rec) }

// MapWith maps a record, with what was found for its references.
func (m *Mapping) MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result {
	return m.Now().MapWith(rec, found)
}

// tablePoll is how often the files of tables are looked at.
const tablePoll = 5 * time.Second

// Watch reads tables again whose files have changed, until the context ends. A file that cannot be
// used leaves the table as it is; the log says so, once for each content.
func (m *Mapping) Watch(ctx context.Context, log *slog.Logger) {
	if len(m.tables) == 0 {
		return
	}
	ticker := time.NewTicker(tablePoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.look(ctx, log)
		}
	}
}

// look looks at each file once.
func (m *Mapping) look(ctx context.Context, log *slog.Logger) {
	for _, file := range m.tables {
		about := []slog.Attr{slog.String("lookup", file.lookup.Name), slog.String("file", file.path)}
		switch table, news, err := file.look(); {
		case err != nil && news:
			log.LogAttrs(ctx, slog.LevelError, "lookup table cannot be read again; the one read before stays", append(about, slog.String("error", err.Error()))...)
		case err != nil || !news:
		default:
			if err := m.adopt(m.Now(), map[string]mapper.Table{file.lookup.Name: table}); err != nil {
				continue // cannot happen: the lookup was there before
			}
			log.LogAttrs(ctx, slog.LevelInfo, "lookup table read again", append(about, slog.Int("entries", table.Len()))...)
		}
	}
}
