// Command miniredis is the Redis of the tests where there is no real one. It is a process of its own, without the race
// detector, under which one script takes so long that the service takes it for an outage.
//
//	miniredis [USER PASSWORD]    prints its address, and ends when its standard input does
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	m := miniredis.NewMiniRedis()
	if len(os.Args) > 2 {
		m.RequireUserAuth(os.Args[1], os.Args[2])
	}
	if err := m.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go letTimePass(m)
	fmt.Println(m.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	m.Close()
}

// letTimePass lets keys run out as time goes by, until the process ends. The server's own ClockTTL
// walks over all keys at every command, which is too slow for thousands of done marks. A step takes its time from all keys, the one set
// just now too. So it is never a long one: after a stall, the server's clock is slow.
func letTimePass(m *miniredis.Miniredis) {
	const step = 100 * time.Millisecond
	last := time.Now()
	for range time.Tick(step) {
		now := time.Now()
		m.FastForward(min(now.Sub(last), step))
		last = now
	}
}
