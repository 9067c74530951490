package testbed

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

var errNoPorts = errors.New("testbed: no free ports")

const host = "127.0.0.1"

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// The ports are below those of outgoing connections, so that a server can come back on its port.
// They come in blocks. A block belongs to the process that listens on its first port.
const firstPort, lastPort, blockSize = 20000, 32000, 100

// A portBlock hands out the ports of blocks that this process owns, each port once. A port that is
// not owned could be taken by another test or process between the check that it is free and its
// use.
type portBlock struct {
	mu    sync.Mutex
	next  int // the next port to hand out
	end   int // the end of the block, exclusive
	owned []net.Listener
}

//nolint:gochecknoglobals // The ports of a machine are global, and so is what this process owns of them.
var processPorts portBlock

// listen listens on a port that no other caller gets.
func listen(ctx context.Context) (net.Listener, error) {
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return nil, err
	}
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", address(ports[0]))
}

// freePorts returns n consecutive free ports that no other caller gets, for a process that is about
// to be started.
func freePorts(ctx context.Context, n int) ([]int, error) {
	return processPorts.take(ctx, n)
}

func (b *portBlock) take(ctx context.Context, n int) ([]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ports []int
	for len(ports) < n {
		if b.next == b.end {
			ports = nil
			if err := b.own(ctx); err != nil {
				return nil, err
			}
		}
		port := b.next
		b.next++
		if !isFree(ctx, port) {
			ports = nil
			continue
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// own takes a block that no process owns.
func (b *portBlock) own(ctx context.Context) error {
	var config net.ListenConfig
	for _, i := range rand.Perm((lastPort - firstPort) / blockSize) {
		base := firstPort + i*blockSize
		if l, err := config.Listen(ctx, "tcp", address(base)); err == nil {
			b.owned = append(b.owned, l)
			b.next, b.end = base+1, base+blockSize
			return nil
		}
	}
	return errNoPorts
}

func isFree(ctx context.Context, port int) bool {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
