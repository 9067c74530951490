package decode

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"strings"

	"membersync/mapper"
)

// A Guard is the one place where a mapper is called. A panic of the mapper, of a jq program or of a
// lookup's key program becomes a malformed result, and its stack goes to the log: a record that
// makes the mapper panic would do so again after every restart. It is safe for concurrent use if
// its mapper is.
type Guard struct {
	Mapper Mapper
	Logger *slog.Logger
}

// Map maps a record with what find returns for its references. Find is not called if there are
// none, and its error is that of Map.
func (g Guard) Map(
	ctx context.Context, rec mapper.Record,
	find func(context.Context, []mapper.Reference) (map[mapper.Reference]string, error),
) ([]mapper.Result, error) {
	var refs []mapper.Reference
	if results := g.results(ctx, rec, func() []mapper.Result {
		refs = g.Mapper.References(rec)
		return nil
	}); results != nil {
		return results, nil
	}
	var found map[mapper.Reference]string
	if len(refs) > 0 {
		var err error
		if found, err = find(ctx, refs); err != nil {
			return nil, err
		}
	}
	return g.results(ctx, rec, func() []mapper.Result { return g.Mapper.MapWith(rec, found) }), nil
}

// results returns those of call or, if it panics, that of the fault.
func (g Guard) results(ctx context.Context, rec mapper.Record, call func() []mapper.Result) (results []mapper.Result) {
	if fault := g.Do(ctx, rec, func() { results = call() }); fault != nil {
		return []mapper.Result{{Fault: fault}}
	}
	return results
}

// Do calls call, which works on the record. If it panics, Do logs the stack at level ERROR and
// returns a fault of the whole record. Neither holds a value of the record.
func (g Guard) Do(ctx context.Context, rec mapper.Record, call func()) (fault *mapper.Fault) {
	defer func() {
		if v := recover(); v != nil {
			g.Logger.LogAttrs(ctx, slog.LevelError, "mapper panicked",
				slog.String("topic", rec.Topic), slog.Int("partition", rec.Partition), slog.Int64("offset", rec.Offset),
				slog.String("panic", panicText(v)), slog.String("stack", stack()))
			fault = &mapper.Fault{
				Reason: mapper.Malformed, Whole: true, Path: "the record", Text: "makes the mapper panic; the log has the stack", Offset: -1,
			}
		}
	}()
	call()
	return nil
}

// panicText names a panic. A value of it can hold data, so only the runtime's own errors have a
// text, and in that no number: an index may be a value.
func panicText(v any) string {
	if err, ok := v.(runtime.Error); ok {
		return regexp.MustCompile(`\b[0-9]+\b`).ReplaceAllLiteralString(err.Error(), "#")
	}
	return fmt.Sprintf("a value of type %T", v)
}

// maxFrames bounds a stack in the log: the innermost frames.
const maxFrames = 64

// stack is the stack of a deferred function during a panic, as functions and lines. Unlike
// debug.Stack it has no arguments: a number in a register may be a value.
func stack() string {
	pcs := make([]uintptr, maxFrames)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // from gopanic on
	var b strings.Builder
	for {
		frame, more := frames.Next()
		fmt.Fprintf(&b, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return b.String()
		}
	}
}
