package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"membersync/dedupe"
	"membersync/mapper"
)

func TestOpenRunTellsAndEnds(t *testing.T) {
	t.Parallel()
	p := start(t, "--kafka-port", "0", "--redis-port", "0", "--crm-port", "0", "--admin-port", "0", "--rate", "50", "--fail-every", "4")
	p.out.await(t,
		"topic hris.employee.changed, 6 partitions", "Redis     127.0.0.1:", "http://127.0.0.1:",
		"kcat -P -b 127.0.0.1:", "go run ./cmd/membersync check",
		"[a change]", "applied     sent ", "duplicate ", "superseded ", "unchanged ", "ignored ",
		"DEAD LETTER invalid_field", "DEAD LETTER malformed", "DEAD LETTER invalid_event", "DEAD LETTER crm_not_found",
		"failed: errorCode -1 (system busy)",
	)
	p.signals <- os.Interrupt
	if got := <-p.status; got != exitInterrupted {
		t.Errorf("status %d, stderr %s", got, p.errs)
	}
	if out := p.out.String(); !strings.Contains(out, "\nSummary\n") {
		t.Errorf("no summary: %s", out[max(0, len(out)-500):])
	}
	if p.errs.String() != "" {
		t.Errorf("stderr: %s", p.errs)
	}
}

func TestWithoutRateNothingIsSent(t *testing.T) {
	t.Parallel()
	p := start(t, "--kafka-port", "0", "--redis-port", "0", "--crm-port", "0", "--admin-port", "0", "--rate", "0")
	p.out.await(t, "What happens to each event")
	p.signals <- syscall.SIGTERM
	if got := <-p.status; got != exitDone {
		t.Errorf("status %d, stderr %s", got, p.errs)
	}
	if out := p.out.String(); !strings.Contains(out, "  events             0\n") {
		t.Errorf("stdout: %s", out)
	}
}

func TestAnotherMapping(t *testing.T) {
	t.Parallel()
	args := []string{"--kafka-port", "0", "--redis-port", "0", "--crm-port", "0", "--admin-port", "0", "--mapping"}
	p := start(t, append(args, "debezium")...)
	p.out.await(t, "MEMBERSYNC_MAPPING=debezium", "What happens to each event")
	p.signals <- syscall.SIGTERM
	if got := <-p.status; got != exitDone || !strings.Contains(p.out.String(), "  events             0\n") {
		t.Errorf("status %d, stdout %s, stderr %s", got, p.out, p.errs)
	}
	p = start(t, append(args, canonical, "--crm-api", "object")...)
	p.out.await(t, "MEMBERSYNC_CRM_API=object MEMBERSYNC_CRM_OBJECT_FIELDS=", "What happens to each event")
	p.signals <- syscall.SIGTERM
	<-p.status
	status, _, errs := call(t, append(args, "gone.yaml")...)
	if status != exitUsage || !strings.Contains(errs, `mapping "gone.yaml" is not built in`) {
		t.Errorf("status %d, stderr %s", status, errs)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for flag, what := range map[string]string{"kafka-port": "Kafka", "redis-port": "Redis", "crm-port": "the fake CRM", "admin-port": "the admin server"} {
		args := []string{"--" + flag, port}
		for _, other := range []string{"kafka-port", "redis-port", "crm-port", "admin-port"} {
			if other != flag {
				args = append(args, "--"+other, "0")
			}
		}
		status, out, errs := call(t, args...)
		want := fmt.Sprintf("devstack: port %s, for %s, is taken; choose another with --%s, or 0 for a free one\n", port, what, flag)
		if status != exitUsage || out != "" || errs != want {
			t.Errorf("--%s: status %d, stdout %q, stderr %q", flag, status, out, errs)
		}
	}
}

func TestAPortErrorKeepsItsCause(t *testing.T) {
	t.Parallel()
	_, err := startStack(t.Context(), ports{kafka: 1 << 17}, 0, userAPI)
	if port, ok := errors.AsType[*portError](err); !ok || port.Unwrap() == nil || !strings.Contains(err.Error(), strconv.Itoa(1<<17)) {
		t.Errorf("error %v", err)
	}
}

func TestEmbeddedRedisNeverEvicts(t *testing.T) {
	t.Parallel()
	s := &stack{}
	if err := s.startRedis(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	client, err := dedupe.Open(dedupe.ClientConfig{URL: "redis://" + s.redis.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	store, err := dedupe.New(client, dedupe.Options{Prefix: "ms", Scope: "test", DoneTTL: 1e12, Lease: 1e10})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := client.Info(t.Context(), "clients").Result(); err != nil {
		t.Errorf("the other sections: %v", err)
	}
}

// The event in the guide is valid once the shell has expanded it.
func TestTheGuidesEventIsValid(t *testing.T) {
	t.Parallel()
	text, err := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", "printf %s '"+ownEvent+"'").Output()
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := mapper.Builtin("canonical", mapper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	results := mapping.Map(mapper.Record{Value: text})
	if len(results) != 1 || results[0].Fault != nil {
		t.Fatalf("%s: %+v", text, results)
	}
	got, want := string(results[0].Event.Update.AppendJSON(nil)), `{"openUserId":"FSUID_TEST0009","position":"Sample Boss","email":"boss@sample.invalid"}`
	if got != want || !json.Valid(text) {
		t.Errorf("update %s, want %s", got, want)
	}
}

func TestTheAdminPortIsHeldFromTheStart(t *testing.T) {
	t.Parallel()
	s, err := startStack(t.Context(), ports{}, 0, userAPI)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", s.admin.Addr().String())
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another could listen there too: %v", err)
	}
	if err == nil {
		_ = l.Close()
	}
}
