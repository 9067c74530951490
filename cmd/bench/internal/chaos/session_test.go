package chaos_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"
)

// request returns a Kafka request with its size in front.
func request(key, version uint16, name, group string, session uint32) []byte {
	text := func(b []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) //nolint:gosec // short
	}
	b := binary.BigEndian.AppendUint16(nil, key)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint32(b, 77)
	b = text(text(b, name), group)
	b = binary.BigEndian.AppendUint32(b, session)
	b = append(b, "the rest"...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) //nolint:gosec // short
}

// The requests are sent in pieces of every size. Only those that join and ask for more are changed.
func TestSessionsAreShortened(t *testing.T) {
	t.Parallel()
	sent, want := []byte(nil), []byte(nil)
	for _, r := range []struct {
		key, version  uint16
		session, want uint32
	}{
		{3, 1, 45000, 45000}, {11, 1, 45000, 6000}, {11, 2, 45000, 6000}, {11, 5, 5000, 5000}, {11, 6, 45000, 45000}, {12, 0, 45000, 45000},
	} {
		sent = append(sent, request(r.key, r.version, "membersync", "sample", r.session)...)
		want = append(want, request(r.key, r.version, "membersync", "sample", r.want)...)
	}
	none := []byte{0, 0, 0, 2, 0, 11}
	sent, want = append(sent, none...), append(want, none...)
	for _, size := range []int{1, 3, 50, len(sent)} {
		if got := through(t, sent, size); !bytes.Equal(got, want) {
			t.Errorf("in pieces of %d:\n%q, want\n%q", size, got, want)
		}
	}
}

// through sends bytes in pieces through a proxy that shortens sessions, and returns what arrives.
func through(t *testing.T, sent []byte, size int) []byte {
	t.Helper()
	listener := listen(t)
	p := open(t, listener.Addr().String())
	if err := p.ShortenSessions(6 * time.Second); err != nil {
		t.Fatal(err)
	}
	c := dial(t, p)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(size, len(rest))
			_, _ = c.Write(rest[:n])
			rest = rest[n:]
		}
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	return got
}
