package crmapi

import (
	"io"
	"net"
	"testing"
)

// What a server sent before it closed the connection is read, though a write has failed since.
func TestProbeReadsTheReason(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	closed := make(chan error, 1)
	go func() { closed <- refuse(listener) }()
	conn, err := dialProbe(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for broken := false; !broken; { // until the reset has arrived
		_, err := conn.(probeConn).Conn.Write([]byte("x"))
		broken = err != nil
	}
	if n, err := conn.Write([]byte("request")); n != len("request") || err != nil {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
	if got, _ := io.ReadAll(conn); string(got) != "reason" {
		t.Errorf("read %q", got)
	}
}

// refuse answers a connection without having read all of its request, and closes it, which resets it.
func refuse(listener net.Listener) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	if _, err = io.ReadFull(conn, make([]byte, 1)); err != nil {
		return err
	}
	if _, err = conn.Write([]byte("reason")); err != nil {
		return err
	}
	return conn.Close()
}
