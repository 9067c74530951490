package simulation

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"

	"membersync/cmd/internal/test/oracle/history"
)

// seedsOfAWholeRun is the number of seeds from which every kind of fault must occur.
const seedsOfAWholeRun = 200

func TestSimulation(t *testing.T) { //nolint:tparallel // the group of seeds waits for them
	t.Parallel()
	tally := newTally()
	if seed := intFlag("seed"); seed != 0 {
		simulate(t, seed, tally, t.Output())
		t.Log(tally)
		return
	}
	from, n := intFlag("from"), intFlag("seeds")
	if n == 0 {
		t.Skip("no seeds: set -seeds or -seed (see the package comment)")
	}
	t.Run("seed", func(t *testing.T) {
		for seed := from; seed < from+n; seed++ {
			t.Run(strconv.Itoa(seed), func(t *testing.T) {
				t.Parallel()
				simulate(t, seed, tally, nil)
			})
		}
	})
	t.Log(tally)
	if n >= seedsOfAWholeRun {
		tally.wantAll(t, n)
	}
}

// keep writes the log of a failed seed to the folder of the flag.
func keep(t *testing.T, seed int, log []byte) {
	t.Helper()
	dir := textFlag("logs")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("seed-%d.log", seed)), log, 0o600); err != nil {
		t.Error(err)
	}
}

// mostShown bounds the faults printed for a seed: one bug leads to many.
const mostShown = 12

// simulate runs one seed. The oracle checks it.
func simulate(t *testing.T, seed int, tally *tally, log io.Writer) {
	t.Helper()
	var kept bytes.Buffer
	if log == nil && textFlag("logs") != "" {
		log = &kept
	}
	defer func() {
		if t.Failed() {
			keep(t, seed, kept.Bytes())
			t.Logf("rerun: go test ./cmd/internal/test/simulation -run TestSimulation -seed %d -v", seed)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		faults := history.Check(newWorld(t, seed, tally, log).run())
		for _, fault := range faults[:min(len(faults), mostShown)] {
			t.Error(fault)
		}
		if more := len(faults) - mostShown; more > 0 {
			t.Errorf("and %d more", more)
		}
	})
}
