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

// freePorts returns ports next to each other that nobody listens on. They lie below those that outgoing
// connections get, so that a server can come back to its port.
func freePorts(ctx context.Context, n int) ([]int, error) {
	const first, last, tries = 20000, 32000, 100
	for range tries {
		base := first + rand.IntN(last-first-n)
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
