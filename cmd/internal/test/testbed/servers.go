package testbed

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// startKafka starts a broker, or uses the one that was given.
func startKafka(ctx context.Context, o *Options, root, dir string) (*Server, error) {
	if o.Kafka != "" {
		return &Server{addr: o.Kafka}, nil
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "kafka")
	port, controller := strconv.Itoa(ports[0]), strconv.Itoa(ports[1])
	s := &Server{addr: address(ports[0]), root: root, dir: dir, name: "kafka", start: []string{"start", dir, port, controller}}
	if o.KafkaVia != "" {
		s.via, s.up = o.KafkaVia, address(ports[2])
		if err := s.writeProperties(ctx, port, controller); err != nil {
			return nil, err
		}
	}
	o.progress("starting Kafka on %s", s.addr)
	return s, s.Start(ctx)
}

// writeProperties adds a second listener to the script's properties. It advertises the proxy's
// address.
func (s *Server) writeProperties(ctx context.Context, port, controller string) error {
	if _, _, err := net.SplitHostPort(s.via); err != nil {
		return err
	}
	text, err := run(ctx, s.root, filepath.Join(s.root, ".ci", s.name), "properties", s.dir, port, controller)
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch name, _, _ := strings.Cut(line, "="); name {
		case "listeners":
			line += ",VIA://" + s.up
		case "advertised.listeners":
			line += ",VIA://" + s.via
		case "listener.security.protocol.map":
			line += ",VIA:PLAINTEXT"
		}
		b.WriteString(line + "\n")
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "server.properties"), []byte(b.String()), 0o600)
}

// startRedis starts a server, or uses the one that was given, and returns its URL.
func startRedis(ctx context.Context, o *Options, root, dir string) (*Server, string, error) {
	if o.Redis != "" {
		opts, err := redis.ParseURL(o.Redis)
		if err != nil {
			return nil, "", fmt.Errorf("invalid --redis: want redis://host:port/db") //nolint:perfsprint // the URL may hold a password
		}
		return &Server{addr: opts.Addr}, o.Redis, nil
	}
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	dir = filepath.Join(dir, "redis")
	port := strconv.Itoa(ports[0])
	s := &Server{addr: address(ports[0]), root: root, dir: dir, name: "redis", start: []string{"start", dir, port}}
	if o.AppendOnly {
		s.start = []string{"serve", dir, port, "--appendonly", "yes"}
		s.ready = []string{"wait_for", dir, port, "PONG", "ping"}
	}
	o.progress("starting Redis on %s", s.addr)
	return s, "redis://" + s.addr + "/0", s.Start(ctx)
}
