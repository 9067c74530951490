package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"

	"membersync/cmd/internal/cli"
	"membersync/consumer"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

const (
	loopback   = "127.0.0.1"
	partitions = 6
	group      = "membersync"

	brokersVariable = "MEMBERSYNC_KAFKA_BROKERS"
)

// ports are the ports of the parts; 0: a free one.
type ports struct {
	kafka, redis, crm, admin, ui int

	// offset is added to each port that is not 0.
	offset int
}

// moved returns a port with the offset.
func (p ports) moved(port int) int {
	if port == 0 {
		return 0
	}
	return port + p.offset
}

// A stack is everything that the service needs.
type stack struct {
	kafka *kfake.Cluster
	redis *miniredis.Miniredis
	crm   *fakeCRM
	admin net.Listener // the service's own, open from the start: a port that is closed again can be taken
	ui    net.Listener // of the web pages, likewise
	api   string       // the form of updates that the CRM demands
}

// A portError means that a part cannot listen.
type portError struct {
	what, flag string
	port       int
	err        error
}

// Error names the port and the cause.
func (e *portError) Error() string {
	if e.isTaken() {
		return fmt.Sprintf("%d for %s (--%s)", e.port, e.what, e.flag)
	}
	return fmt.Sprintf("%s cannot listen at port %d (--%s): %v", e.what, e.port, e.flag, e.err)
}

// Unwrap returns the cause.
func (e *portError) Unwrap() error { return e.err }

func (e *portError) isTaken() bool { return errors.Is(e.err, syscall.EADDRINUSE) }

// A portsError means that some parts cannot listen.
type portsError struct {
	failed []*portError
	offset int // with which it was tried
}

// offsetStep keeps the ports of a stack apart from those of another one.
const offsetStep = 100

// Error names all ports at once, and what to do.
func (e *portsError) Error() string {
	var taken, others []string
	for _, p := range e.failed {
		if p.isTaken() {
			taken = append(taken, p.Error())
		} else {
			others = append(others, p.Error())
		}
	}
	if len(taken) > 0 {
		others = append(others, fmt.Sprintf("ports that are taken, perhaps by another devstack: %s. "+
			"--port-offset %d moves all ports, a flag in parentheses one of them, or to a free one with 0",
			strings.Join(taken, ", "), e.offset+offsetStep))
	}
	return strings.Join(others, "; ")
}

// Unwrap returns the error of each port.
func (e *portsError) Unwrap() []error {
	all := make([]error, len(e.failed))
	for i, p := range e.failed {
		all[i] = p
	}
	return all
}

// startStack starts everything and creates the source topic. If parts cannot listen, the error is a
// [*portsError] with all of them.
func startStack(ctx context.Context, p ports, failEvery int, api string) (s *stack, err error) {
	s = &stack{api: api}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	ports := &portsError{offset: p.offset}
	for _, part := range []struct {
		what, flag string
		port       int
		start      func(ctx context.Context, port int) error
	}{
		{"Kafka", "kafka-port", p.kafka, s.startKafka},
		{"Redis", "redis-port", p.redis, s.startRedis},
		{"the fake CRM", "crm-port", p.crm, func(ctx context.Context, port int) (err error) {
			s.crm, err = startCRM(ctx, address(port), company(sampleCorp, sampleToken, api), failEvery)
			return err
		}},
		{"the admin server", "admin-port", p.admin, s.listenForAdmin},
		{"the web pages", "ui-port", p.ui, func(ctx context.Context, port int) (err error) {
			var config net.ListenConfig
			s.ui, err = config.Listen(ctx, "tcp", address(port))
			return err
		}},
	} {
		port := p.moved(part.port)
		if err := part.start(ctx, port); err != nil {
			ports.failed = append(ports.failed, &portError{part.what, part.flag, port, err})
		}
	}
	if len(ports.failed) > 0 {
		return s, ports
	}
	client := newKafka(s.brokers())
	defer client.close()
	return s, client.createTopic(ctx, sampleTopic, partitions)
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

func (s *stack) brokers() string { return s.kafka.ListenAddrs()[0] }

func (s *stack) startKafka(_ context.Context, port int) (err error) {
	s.kafka, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port))
	return err
}

// startRedis makes keys expire by the clock, and Redis report the truth: it never evicts a key.
func (s *stack) startRedis(_ context.Context, port int) error {
	redis := miniredis.NewMiniRedis()
	if err := redis.StartAddr(address(port)); err != nil {
		return err
	}
	redis.ClockTTL(true)
	redis.Server().SetPreHook(func(peer *server.Peer, command string, args ...string) bool {
		if !strings.EqualFold(command, "info") || len(args) != 1 || !strings.EqualFold(args[0], "memory") {
			return false
		}
		peer.WriteBulk("# Memory\r\nmaxmemory_policy:noeviction\r\n")
		return true
	})
	s.redis = redis
	return nil
}

func (s *stack) listenForAdmin(ctx context.Context, port int) (err error) {
	var config net.ListenConfig
	s.admin, err = config.Listen(ctx, "tcp", address(port))
	return err
}

func (s *stack) close() {
	if s.admin != nil {
		_ = s.admin.Close() // if the service has not
	}
	if s.ui != nil {
		_ = s.ui.Close() // likewise
	}
	if s.crm != nil {
		s.crm.close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
}

// settings returns the settings with which membersync finds the stack.
func (s *stack) settings() []string {
	return settingsOf(s.brokers(), s.redis.Addr(), s.crm.addr, s.api)
}

func settingsOf(kafka, redis, crm, api string) []string {
	settings := []string{
		brokersVariable + "=" + kafka,
		"MEMBERSYNC_REDIS_URL=redis://" + redis + "/0",
		"MEMBERSYNC_CRM_BASE_URL=http://" + crm,
		"MEMBERSYNC_CRM_CORP_ID=" + sampleCorp,
		"MEMBERSYNC_CRM_TOKEN=" + sampleToken,
		"MEMBERSYNC_STATE_KEY=" + sampleKey,
		fmt.Sprintf("MEMBERSYNC_CRM_ERROR_CODES=%d:poison:crm_rejected", crmapitest.CodeDuplicate),
	}
	if api == objectAPI {
		settings = append(settings, "MEMBERSYNC_CRM_API="+objectAPI, "MEMBERSYNC_CRM_OBJECT_FIELDS="+crmapitest.ObjectFields)
	}
	return settings
}

// object returns the form of updates for the object API, nil for the user object.
func (s *stack) object() *crmapi.Object {
	if s.api != objectAPI {
		return nil
	}
	object, err := crmapi.ParseObject(crmapitest.ObjectFields)
	if err != nil {
		panic("devstack: " + err.Error()) // the text is a constant
	}
	return &object
}

// runService is membersync run.
func (s *stack) runService(ctx context.Context, a *arguments, e env, watch consumer.Observer) int {
	return cli.Run(ctx, []string{"run"}, cli.Env{
		Stdin: strings.NewReader(""), Stdout: e.stdout, Stderr: e.stderr, ReadFile: os.ReadFile,
		Version: "devstack", Observer: watch, AdminListener: s.admin,
		Environ: append(s.settings(), "MEMBERSYNC_ADMIN_ADDR="+s.admin.Addr().String(), "MEMBERSYNC_MAPPING="+a.mapping,
			"MEMBERSYNC_LOG_LEVEL="+a.logLevel, "MEMBERSYNC_LOG_FORMAT=text"),
	})
}

// runUI is membersync ui, without tokens: it listens at loopback.
func (s *stack) runUI(ctx context.Context, a *arguments, e env) {
	cli.Run(ctx, []string{"ui"}, cli.Env{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: e.stderr, ReadFile: os.ReadFile, Version: "devstack", AdminListener: s.ui,
		Environ: append(s.settings(), "MEMBERSYNC_UI_ADDR="+s.ui.Addr().String(), "MEMBERSYNC_MAPPING="+a.mapping,
			"MEMBERSYNC_LOG_LEVEL="+a.logLevel, "MEMBERSYNC_LOG_FORMAT=text"),
	})
}
