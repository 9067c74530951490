package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"membersync/cmd/internal/commandline"
	"membersync/cmd/internal/flags"
)

// The bare client is this program in a second process, as the service is a process next to the fake
// CRM. It reads request bodies from stdin, one a line, and posts them from the given number of
// goroutines. It does nothing else.
const bareName = "bare"

const bareTimeout = 10 * time.Second // of one call, as the service's

var errAnswer = errors.New("an answer that is no success")

// addBare adds the bare client, which the help leaves out: it is for this program alone.
func addBare(t *commandline.Tree, root *cobra.Command, e env) {
	c := &cobra.Command{Use: bareName, Short: "post the lines of stdin", Hidden: true}
	root.AddCommand(c)
	url, concurrency := "", 64
	define := func(set *flags.Set) {
		set.StringVar(&url, "url", "", "where to post to")
		set.IntVar(&concurrency, "concurrency", concurrency, "calls in flight")
	}
	t.Runs(c, define, func(ctx context.Context, args []string, faults []flags.Fault) int {
		if t.Refuse(c, args, 0, faults) {
			return exitUsage
		}
		bodies, err := readLines(e.stdin)
		if err == nil {
			err = newBare(url, concurrency).post(ctx, bodies, concurrency)
		}
		if err != nil {
			e.say("bench bare: %v", err)
			return exitFailed
		}
		return exitDone
	})
}

func readLines(r io.Reader) (all [][]byte, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		all = append(all, bytes.Clone(lines.Bytes()))
	}
	return all, lines.Err()
}

// A bare is a client that keeps one connection for each call in flight.
type bare struct {
	url  string
	http http.Client
}

func newBare(url string, conns int) *bare {
	return &bare{url: url, http: http.Client{
		Timeout:   bareTimeout,
		Transport: &http.Transport{MaxIdleConns: conns, MaxIdleConnsPerHost: conns, DisableCompression: true},
	}}
}

// post sends all bodies and checks all responses.
func (b *bare) post(ctx context.Context, bodies [][]byte, concurrency int) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var senders sync.WaitGroup
	for range concurrency {
		senders.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(bodies)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := b.send(ctx, bodies[i]); err != nil {
					fail(err)
				}
			}
		})
	}
	senders.Wait()
	b.http.CloseIdleConnections()
	return context.Cause(ctx)
}

func (b *bare) send(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"?thirdTraceId="+rand.Text(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Code *int `json:"errorCode"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || answer.Code == nil || *answer.Code != 0 {
		return fmt.Errorf("%w: status %d", errAnswer, res.StatusCode)
	}
	return nil
}

// startBare runs the bare client as a process and returns the CPU time that it used.
func startBare(ctx context.Context, url string, concurrency int, bodies [][]byte) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, bareName, "--url", url, "--concurrency", fmt.Sprint(concurrency)) //nolint:gosec // this program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdin = bytes.NewReader(append(bytes.Join(bodies, []byte("\n")), '\n'))
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("the bare client: %w\n%s", err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
