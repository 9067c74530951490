package stand

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

var errNoPorts = errors.New("stand: no free ports")

const host = "127.0.0.1"

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// The ports lie below those that outgoing connections get, so that a server can come back to its port.
const firstPort, lastPort, tries = 20000, 32000, 100

// listen listens at a port that it keeps from the first try on: between a look whether a port is free and its use, another test may take it.
func listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	for range tries {
		if l, err := config.Listen(ctx, "tcp", address(firstPort+rand.IntN(lastPort-firstPort))); err == nil {
			return l, nil
		}
	}
	return nil, errNoPorts
}

// freePorts returns ports next to each other that nobody listens on, for a process that is about to.
func freePorts(ctx context.Context, n int) ([]int, error) {
	for range tries {
		base := firstPort + rand.IntN(lastPort-firstPort-n)
		ports := make([]int, 0, n)
		for port := base; port < base+n && isFree(ctx, port); port++ {
			ports = append(ports, port)
		}
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, errNoPorts
}

func isFree(ctx context.Context, port int) bool {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
