// Package credentials holds what connections need and what is replaced while the program runs:
// secrets, certificates and keys in files, and tokens that are fetched with them.
//
// A [Value] follows its files without a goroutine: it looks at them when it is used, which is when
// a connection is opened or a token is fetched. Start with [Value.Get]. The package knows neither
// the configuration nor the servers.
package credentials

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"
)

const (
	// lookInterval is the shortest time between two looks at the same files.
	lookInterval = time.Second
	// logInterval is the shortest time between two log lines about the same fault.
	logInterval = time.Minute
)

// Files says how files are read, and where faults are logged.
type Files struct {
	Read func(path string) ([]byte, error)
	Log  *slog.Logger
}

// A File is a file and the setting that names it.
type File struct {
	Setting string // for errors at the start, when the path may be a secret that was put in its place
	Path    string
}

// A FileError says why a file cannot be used. Its text holds neither its path nor its content.
type FileError struct {
	File File
	Err  error
}

// Error names the setting and the cause.
func (e *FileError) Error() string { return e.File.Setting + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// A Value is parsed from files and follows them. It is safe for concurrent use.
type Value[T any] struct {
	from  Files
	files []File
	parse func(contents [][]byte) (T, error)

	mu       sync.Mutex // guards the fields below
	current  T
	hash     [sha256.Size]byte // of the contents that current was parsed from
	lookAt   time.Time         // no look before that
	fault    string            // of the last look; empty: none
	logAfter time.Time         // the same fault is not logged again before that
}

// New reads and parses the files. Parse gets the contents in the order of the files; its errors
// must not quote them, and are best a [*FileError]. An error of reading is one.
func New[T any](from Files, files []File, parse func(contents [][]byte) (T, error)) (*Value[T], error) {
	v := &Value[T]{from: from, files: files, parse: parse}
	contents, hash, err := v.read()
	if err != nil {
		return nil, err
	}
	v.current, err = parse(contents)
	v.hash, v.lookAt = hash, time.Now().Add(lookInterval)
	return v, err
}

// Get returns the value of the files as they are, at most [lookInterval] ago. If they cannot be
// read or parsed, it returns the last value that could be, and logs a warning.
func (v *Value[T]) Get() T {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if len(v.files) == 0 || now.Before(v.lookAt) {
		return v.current
	}
	v.lookAt = now.Add(lookInterval)
	contents, hash, err := v.read()
	if err == nil && hash == v.hash {
		v.fault = ""
		return v.current
	}
	if err == nil {
		var parsed T
		if parsed, err = v.parse(contents); err == nil {
			v.current, v.hash, v.fault = parsed, hash, ""
			v.from.Log.LogAttrs(context.Background(), slog.LevelInfo, "changed file read again", slog.Any("files", v.paths()))
			return v.current
		}
	}
	v.warnLocked(now, err)
	return v.current
}

// warnLocked logs a fault if it is new, or was logged long ago.
func (v *Value[T]) warnLocked(now time.Time, err error) {
	if v.fault == err.Error() && now.Before(v.logAfter) {
		return
	}
	v.fault, v.logAfter = err.Error(), now.Add(logInterval)
	v.from.Log.LogAttrs(context.Background(), slog.LevelWarn, "changed file cannot be used; its last content stays in use",
		slog.Any("files", v.paths()), slog.String("error", err.Error()))
}

func (v *Value[T]) paths() []string {
	paths := make([]string, len(v.files))
	for i, file := range v.files {
		paths[i] = file.Path
	}
	return paths
}

// read returns the contents of the files and their common hash.
func (v *Value[T]) read() (contents [][]byte, hash [sha256.Size]byte, err error) {
	var sums bytes.Buffer
	for _, file := range v.files {
		content, err := v.from.Read(file.Path)
		if err != nil {
			return nil, hash, &FileError{file, readError(err)}
		}
		sum := sha256.Sum256(content)
		sums.Write(sum[:])
		contents = append(contents, content)
	}
	return contents, sha256.Sum256(sums.Bytes()), nil
}

// readError leaves the path out of an error.
func readError(err error) error {
	cause := errors.New("unreadable")
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		cause = pathError.Err
	}
	return &unreadableError{cause}
}

type unreadableError struct{ err error }

// Error says why the file cannot be read.
func (e *unreadableError) Error() string {
	return "cannot read the file that it names: " + e.err.Error()
}

// Unwrap returns the cause.
func (e *unreadableError) Unwrap() error { return e.err }

// Secret returns a function that returns the current secret of a file. Parse returns the secret in
// the content of the file, and whether there is one.
func Secret(from Files, file File, parse func(content []byte) (string, bool)) (func() string, error) {
	v, err := New(from, []File{file}, func(contents [][]byte) (string, error) {
		text, ok := parse(contents[0])
		if !ok {
			return "", &FileError{file, errors.New("the file is empty")}
		}
		return text, nil
	})
	if err != nil {
		return nil, err
	}
	return v.Get, nil
}
