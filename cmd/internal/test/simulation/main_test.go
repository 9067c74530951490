package simulation

import (
	"flag"
	"log/slog"
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"

	"membersync/dedupe"
)

func TestMain(m *testing.M) {
	flag.Int("seeds", 0, "how many seeds to run; 0: skip the simulation")
	flag.Int("from", 1, "the first of them")
	flag.Int("seed", 0, "run this seed alone, and print its log")
	flag.String("theme", "", "every seed has these themes, comma-separated, and no others")
	flag.String("logs", "", "a folder for the logs of seeds that fail")
	flag.Bool("mutants", false, "build the service with planted bugs and see them caught")
	debug.SetGCPercent(400) // otherwise a third of the time goes into collecting little garbage
	dedupe.SetClientLog(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

func intFlag(name string) int {
	n, _ := flag.Lookup(name).Value.(flag.Getter).Get().(int)
	return n
}

func textFlag(name string) string { return flag.Lookup(name).Value.String() }

func boolFlag(name string) bool {
	b, _ := flag.Lookup(name).Value.(flag.Getter).Get().(bool)
	return b
}
