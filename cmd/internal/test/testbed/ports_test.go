package testbed

import (
	"net"
	"slices"
	"sync"
	"testing"
)

func TestFreePorts(t *testing.T) {
	t.Parallel()
	ports, err := freePorts(t.Context(), 3)
	if err != nil || len(ports) != 3 {
		t.Fatal(ports, err)
	}
	var config net.ListenConfig
	for i, port := range ports {
		if port != ports[0]+i || port < 20000 || port >= 32000 {
			t.Errorf("ports %v", ports)
		}
		l, err := config.Listen(t.Context(), "tcp", address(port))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if isFree(t.Context(), port) {
			t.Errorf("port %d is taken, and counts as free", port)
		}
	}
}

// Two blocks act as two processes. A port that one of them has handed out is not handed out by the
// other, though no server listens on it yet.
func TestPortsAreHandedOutOnce(t *testing.T) {
	t.Parallel()
	var (
		blocks [2]portBlock
		mu     sync.Mutex
		taken  []int
		wg     sync.WaitGroup
	)
	for i := range blocks {
		for range 2 {
			wg.Go(func() {
				for range 40 {
					ports, err := blocks[i].take(t.Context(), 3)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					taken = append(taken, ports...)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for i := range blocks {
		for _, l := range blocks[i].owned {
			_ = l.Close()
		}
	}
	slices.Sort(taken)
	if len(taken) != 2*2*40*3 || len(slices.Compact(taken)) != 2*2*40*3 {
		t.Errorf("%d ports were handed out, not 480 different ones", len(slices.Compact(taken)))
	}
}
