package simulation

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"

	"membersync/cmd/internal/test/oracle/history"
)

// A redisProxy is Redis behind a network that loses, delays and cuts. Before each command it
// advances the age of Redis' keys by the time that has passed.
type redisProxy struct {
	w    *world
	mini *miniredis.Miniredis
	rate float64 // of faults of scripts

	mu     sync.Mutex
	last   time.Time
	away   bool
	losses []history.Loss
	conns  map[net.Conn]struct{}
	count  map[int]int // scripts by instance
}

func newKeeper(w *world) *redisProxy {
	return &redisProxy{
		w: w, mini: miniredis.NewMiniRedis(), last: time.Now(),
		conns: make(map[net.Conn]struct{}), count: make(map[int]int),
	}
}

func (k *redisProxy) setAway(away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
	if away {
		k.w.tally.fired("redis away")
		for c := range k.conns {
			_ = c.Close()
		}
	}
}

// lose replaces Redis with a new one, without keys and scripts.
func (k *redisProxy) lose() {
	k.setAway(true)
	k.mini.FlushAll()
	conn, err := k.mini.Dial()
	k.w.must(err)
	_, err = conn.Write([]byte("*2\r\n$6\r\nSCRIPT\r\n$5\r\nFLUSH\r\n"))
	k.w.must(err)
	_, err = bufio.NewReader(conn).ReadString('\n')
	k.w.must(err)
	_ = conn.Close()
	k.mu.Lock()
	k.losses = append(k.losses, history.Loss{At: time.Now()})
	k.mu.Unlock()
	k.w.tally.fired("redis emptied")
	k.setAway(false)
}

// rebuilt records that the state is complete again.
func (k *redisProxy) rebuilt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.losses {
		if k.losses[i].Rebuilt.IsZero() {
			k.losses[i].Rebuilt = time.Now()
		}
	}
}

func (k *redisProxy) isAway() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.away
}

func (k *redisProxy) dial(_ context.Context, instance int) (net.Conn, error) {
	if k.isAway() {
		return nil, errNoRoute
	}
	server, err := k.mini.Dial()
	if err != nil {
		return nil, err
	}
	client, mine := net.Pipe()
	k.mu.Lock()
	k.conns[mine] = struct{}{}
	k.mu.Unlock()
	l := &redisConn{redisProxy: k, instance: instance, client: mine, server: server}
	k.w.running.Go(l.forward)
	k.w.running.Go(l.answer)
	return client, nil
}

// grow advances the age of Redis' keys.
func (k *redisProxy) grow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.After(k.last) {
		k.mini.FastForward(now.Sub(k.last))
		k.last = now
	}
}

// A redisConn is one connection to Redis. Its client sends one command at a time.
type redisConn struct {
	redisProxy     *redisProxy
	instance       int
	client, server net.Conn
	loseReply      atomic.Bool
}

func (l *redisConn) forward() {
	defer l.close()
	r := bufio.NewReader(l.client)
	for {
		command, name, err := readCommand(r)
		if err != nil || !l.pass(strings.ToUpper(name)) || l.redisProxy.isAway() {
			return
		}
		l.redisProxy.grow()
		if _, err := l.server.Write(command); err != nil {
			return
		}
	}
}

// pass injects faults before a command and reports whether the command goes through.
func (l *redisConn) pass(name string) bool {
	if name != "EVALSHA" && name != "EVAL" || l.redisProxy.w.calm.Load() {
		return true
	}
	k := l.redisProxy
	k.mu.Lock()
	k.count[l.instance]++
	n := k.count[l.instance]
	k.mu.Unlock()
	r := k.w.random.roll("redis", l.instance, n)
	if r.Float64() >= k.rate {
		return true
	}
	switch kind := pick(r, "redis cut", "redis reply lost", "redis slow"); kind {
	case "redis cut":
		k.w.fired(kind, l.instance)
		return false
	case "redis reply lost":
		k.w.fired(kind, l.instance)
		l.loseReply.Store(true)
	default: // it may arrive after the client gave up
		k.w.fired(kind, l.instance)
		time.Sleep(between(r, 50*time.Millisecond, 4*time.Second))
	}
	return true
}

func (l *redisConn) answer() {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		if err != nil || l.loseReply.Load() {
			return
		}
		if _, err := l.client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *redisConn) close() {
	_, _ = l.client.Close(), l.server.Close()
	l.redisProxy.mu.Lock()
	defer l.redisProxy.mu.Unlock()
	delete(l.redisProxy.conns, l.client)
}

// readCommand reads one command as the client library writes it, and returns its bytes.
func readCommand(r *bufio.Reader) (raw []byte, name string, err error) {
	var b bytes.Buffer
	n, err := readLength(r, &b, '*')
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = readLength(r, &b, '$'); err != nil {
			break
		}
		part := make([]byte, size+2)
		if _, err = io.ReadFull(r, part); i == 0 {
			name = string(part[:size])
		}
		b.Write(part)
	}
	return b.Bytes(), name, err
}

func readLength(r *bufio.Reader, b *bytes.Buffer, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	b.WriteString(line)
	if line[0] != kind {
		return 0, fmt.Errorf("simulation: %q is no command", line)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}
