package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"
)

// A Testbed holds the servers, the binary and everything created with them. It is safe for
// concurrent use.
type Testbed struct {
	*Topics
	opts         Options
	root, dir    string
	binary       string
	kafka, redis *Server
	redisURL     string
	transport    *kafka.Transport
	rdb          *redis.Client

	mu        sync.Mutex
	instances []*Instance
	jobs      []*Job
}

// Open starts what the options do not give and builds the binary. Close must be called even after
// an error.
func Open(ctx context.Context, opts Options) (*Testbed, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "membersync-testbed-")
	if err != nil {
		return nil, err
	}
	s := &Testbed{opts: opts, root: root, dir: dir}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

func (s *Testbed) open(ctx context.Context) (err error) {
	if !s.opts.OnlyRedis {
		if err := s.openService(ctx); err != nil {
			return err
		}
	}
	if s.redis, s.redisURL, err = startRedis(ctx, &s.opts, s.root, s.dir); err != nil {
		return err
	}
	opts, err := redis.ParseURL(s.redisURL)
	if err != nil {
		return err
	}
	s.rdb = redis.NewClient(opts)
	return s.rdb.Ping(ctx).Err()
}

// openService provides what an instance needs next to Redis.
func (s *Testbed) openService(ctx context.Context) (err error) {
	if err := s.build(ctx); err != nil {
		return err
	}
	if s.kafka, err = startKafka(ctx, &s.opts, s.root, s.dir); err != nil {
		return err
	}
	s.transport = &kafka.Transport{ClientID: "testbed", MetadataTTL: time.Second}
	s.Topics = &Topics{&kafka.Client{Addr: kafka.TCP(s.kafka.addr), Transport: s.transport, Timeout: opLimit / 4}}
	return nil
}

// build compiles the service once for all instances, in the way of the image.
func (s *Testbed) build(ctx context.Context) error {
	if s.binary = s.opts.Binary; s.binary != "" {
		return nil
	}
	s.opts.progress("building membersync")
	s.binary = filepath.Join(s.dir, "membersync")
	_, err := run(ctx, s.root, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-tags=timetzdata", "-o", s.binary, "./cmd/membersync")
	return err
}

// Close ends all instances, deletes what was created on given servers, stops the others, and
// removes the temporary folder. It works after the context has ended too, and takes a bounded time.
func (s *Testbed) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), closeLimit, errLimit)
	defer cancel()
	var faults []error
	for _, i := range s.all() {
		faults = append(faults, i.Kill())
	}
	faults = append(faults, s.dropForeign(ctx))
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	if s.rdb != nil {
		faults = append(faults, s.rdb.Close())
	}
	for _, server := range []*Server{s.kafka, s.redis} {
		if server != nil && server.Own() {
			faults = append(faults, server.Stop(ctx))
		}
	}
	if s.opts.Keep {
		s.opts.progress("kept: %s", s.dir)
	} else {
		faults = append(faults, os.RemoveAll(s.dir))
	}
	return errors.Join(faults...)
}

func (s *Testbed) all() []*Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instances
}

// dropForeign deletes topics and keys from servers that were given. On our own servers that would
// only take time.
func (s *Testbed) dropForeign(ctx context.Context) error {
	s.mu.Lock()
	jobs := s.jobs
	s.mu.Unlock()
	var faults []error
	for _, j := range jobs {
		if !s.kafka.Own() {
			faults = append(faults, j.dropTopics(ctx))
		}
		if s.redis != nil && !s.redis.Own() {
			faults = append(faults, j.DropState(ctx))
		}
	}
	return errors.Join(faults...)
}

// Kafka returns the broker.
func (s *Testbed) Kafka() *Server { return s.kafka }

// Redis returns the Redis server.
func (s *Testbed) Redis() *Server { return s.redis }

// RedisClient returns a client of Redis. The testbed closes it.
func (s *Testbed) RedisClient() *redis.Client { return s.rdb }

// KafkaClient returns a client of Kafka with the testbed's transport.
func (s *Testbed) KafkaClient() *kafka.Client { return s.client }

// Dir returns the temporary folder. A program may keep files there next to the logs.
func (s *Testbed) Dir() string { return s.dir }

// Root returns the folder of the module.
func (s *Testbed) Root() string { return s.root }
