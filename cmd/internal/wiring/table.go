package wiring

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"membersync/mapper"
)

var errNoEntries = errors.New("it holds no entry")

// A tableFile is the CSV file of one lookup.
type tableFile struct {
	lookup   mapper.Lookup
	path     string
	readFile func(string) ([]byte, error)

	used   [sha256.Size]byte // the content that the table was read from
	seen   [sha256.Size]byte // the content at the latest look
	judged string            // what was said of it
}

// load reads the table for the first time.
func (f *tableFile) load() (*mapper.CSVTable, error) {
	text, err := f.readFile(f.path)
	if err != nil {
		return nil, err
	}
	f.used = sha256.Sum256(text)
	f.seen = f.used
	return f.parse(text)
}

// look reads the table again if its file has changed. A new content counts only once two looks in a
// row have met it: the first may have met half a copy, which can be a table too. News is false
// where there is nothing new to say.
func (f *tableFile) look() (table *mapper.CSVTable, news bool, err error) {
	text, err := f.readFile(f.path)
	if err != nil {
		return nil, f.isNews(err), err
	}
	content, before := sha256.Sum256(text), f.seen
	f.seen = content
	switch {
	case content == f.used:
		f.judged = ""
		return nil, false, nil
	case content != before:
		return nil, false, nil
	}
	if table, err = f.parse(text); err != nil {
		return nil, f.isNews(err), err
	}
	f.used, f.judged = content, ""
	return table, true, nil
}

// isNews reports whether the error was not told yet.
func (f *tableFile) isNews(err error) bool {
	news := f.judged != err.Error()
	f.judged = err.Error()
	return news
}

func (f *tableFile) parse(text []byte) (*mapper.CSVTable, error) {
	table, err := mapper.ParseCSV(text, f.lookup.Key, f.lookup.Value)
	wrong, at := errors.AsType[*mapper.TableError](err)
	switch {
	case at:
		return nil, fmt.Errorf("%s:%d: %s", f.path, wrong.Line, wrong.Text)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.path, err)
	case table.Len() == 0:
		return nil, fmt.Errorf("%s: %w", f.path, errNoEntries)
	}
	return table, nil
}
