package stand

import (
	"net"
	"strconv"
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
		if port != ports[0]+i || port < 20000 || port > 32000 {
			t.Errorf("ports %v", ports)
		}
		l, err := config.Listen(t.Context(), "tcp", address(port))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if isFree(t.Context(), port) {
			t.Errorf("port %s is taken, and counts as free", strconv.Itoa(port))
		}
	}
}
