package debezium

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"membersync/cmd/internal/test/testbed"
)

const (
	host = "127.0.0.1"
	poll = 100 * time.Millisecond

	jsonConverter = "org.apache.kafka.connect.json.JsonConverter"
)

// A connect is a worker of Kafka Connect with one connector, hr.
type connect struct {
	d         database
	root, dir string
	client    http.Client
	process   *exec.Cmd // nil: none runs
	ended     chan struct{}
	fences    int
}

// newConnect writes the settings as a user does. All files are in the folder.
func newConnect(t *testing.T, d database, s *testbed.Testbed, settings map[string]string) *connect {
	t.Helper()
	c := &connect{d: d, root: s.Root(), dir: filepath.Join(s.Dir(), "connect"), client: http.Client{Timeout: 10 * time.Second}}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	worker := map[string]string{
		"bootstrap.servers": s.Kafka().Addr(), "listeners": "http://" + host + ":" + os.Getenv(connectEnv),
		"plugin.path": os.Getenv(pluginsEnv), "plugin.discovery": "service_load", "topic.creation.enable": "false",
		"key.converter": jsonConverter, "key.converter.schemas.enable": "false",
		"value.converter": jsonConverter, "value.converter.schemas.enable": "false",
		"offset.storage.file.filename": c.offsets(), "offset.flush.interval.ms": "1000",
	}
	connector := map[string]string{
		"name": "hr", "topic.prefix": "hr", "database.hostname": host, "snapshot.mode": "initial",
		"decimal.handling.mode": "string", "poll.interval.ms": "100",
		"max.batch.size": "20", "max.queue.size": "40", // so that a snapshot takes a while
		"incremental.snapshot.chunk.size":       "20",
		"schema.history.internal.file.filename": filepath.Join(c.dir, "history"),
	}
	maps.Copy(connector, d.connector())
	maps.Copy(connector, settings)
	for name, properties := range map[string]map[string]string{"worker": worker, "connector": connector} {
		var b strings.Builder
		for _, key := range slices.Sorted(maps.Keys(properties)) {
			fmt.Fprintf(&b, "%s=%s\n", key, properties[key])
		}
		if err := os.WriteFile(filepath.Join(c.dir, name+".properties"), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		c.kill()
		c.client.CloseIdleConnections()
		if log, err := os.ReadFile(c.log()); t.Failed() && err == nil {
			lines := strings.Split(string(log), "\n")
			t.Logf("the end of the worker's log:\n%s", strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	})
	return c
}

func (c *connect) log() string     { return filepath.Join(c.dir, "log") }
func (c *connect) offsets() string { return filepath.Join(c.dir, "offsets") }

// start starts the worker. It does not wait.
func (c *connect) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()                                      // the process has its own descriptor
	cmd := exec.Command(filepath.Join(c.root, ".ci", "debezium"), "worker", //nolint:gosec,noctx // kill ends it
		filepath.Join(c.dir, "worker.properties"), filepath.Join(c.dir, "connector.properties"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.process, c.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(c.ended)
}

// kill sends SIGKILL. It does nothing if the process has ended.
func (c *connect) kill() {
	if c.process == nil {
		return
	}
	_ = c.process.Process.Kill()
	<-c.ended
	c.process = nil
}

// get requests the connector from the worker's REST API.
func (c *connect) get(ctx context.Context, path string, answer any) error {
	url := "http://" + host + ":" + os.Getenv(connectEnv) + "/connectors/hr" + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // on this host
	if err != nil {
		return err
	}
	res, err := c.client.Do(req) //nolint:gosec // on this host
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", path, res.StatusCode)
	}
	return json.NewDecoder(res.Body).Decode(answer)
}

// offset returns the offset that the connector has committed and Kafka has acknowledged; nil before
// that.
func (c *connect) offset(ctx context.Context) (map[string]json.RawMessage, error) {
	var answer struct {
		Offsets []struct {
			Offset map[string]json.RawMessage `json:"offset"`
		} `json:"offsets"`
	}
	if err := c.get(ctx, "/offsets", &answer); err != nil || len(answer.Offsets) == 0 {
		return nil, err
	}
	return answer.Offsets[0].Offset, nil
}

// check returns an error if the worker has ended or a task has failed.
func (c *connect) check(ctx context.Context) error {
	select {
	case <-c.ended:
		return fmt.Errorf("the worker has ended: %s", c.process.ProcessState)
	default:
	}
	var status struct {
		Tasks []struct {
			State string `json:"state"`
			Trace string `json:"trace"`
		} `json:"tasks"`
	}
	if err := c.get(ctx, "/status", &status); err != nil {
		return nil //nolint:nilerr // the worker is starting
	}
	for _, task := range status.Tasks {
		if task.State == "FAILED" {
			return fmt.Errorf("the connector has failed: %s", task.Trace)
		}
	}
	return nil
}

// settle waits until the connector has committed all that the database has committed by now, and
// until no incremental snapshot runs. A row in the table of signals marks the place in the log.
func (c *connect) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for inSnapshot := true; inSnapshot; {
		position := query(t, c.d, c.d.position())[0]
		c.fences++
		fence := fmt.Sprintf("INSERT INTO dbz_signal VALUES ('fence-%d', 'log', '{\"message\": \"fence\"}');", c.fences)
		if _, err := execute(t.Context(), c.d, fence); err != nil {
			t.Fatal(err)
		}
		err := testbed.Until(ctx, poll, func(ctx context.Context) (bool, error) {
			offset, err := c.offset(ctx)
			if err != nil || !c.d.reached(position, offset) {
				return false, c.check(ctx)
			}
			_, inSnapshot = offset["incremental_snapshot_collections"]
			return true, nil
		})
		if err != nil {
			t.Fatalf("waiting for the connector: %v", err)
		}
	}
}
