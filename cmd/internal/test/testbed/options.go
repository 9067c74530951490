package testbed

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Options say what a stand uses and what it starts.
type Options struct {
	// Kafka is host:port of a broker that runs; empty: one is started.
	Kafka string
	// Redis is the URL of a Redis that runs, redis://host:port/db; empty: one is started.
	Redis string
	// Binary is a membersync that is built already; empty: it is built from this module.
	Binary string
	// Keep leaves the temporary folder, with the logs of all processes, where it is.
	Keep bool
	// AppendOnly makes the Redis that is started keep its data over Kill and Start. Without, it is empty then.
	AppendOnly bool
	// KafkaVia is the host:port of a proxy through which the instances shall reach the Kafka that is started.
	// The proxy's upstream is Server.Upstream of [Stand.Kafka].
	KafkaVia string
	// Progress takes a line for each thing that takes long; nil: none.
	Progress io.Writer
}

// AddFlags defines the flags that every program with a stand has.
func (o *Options) AddFlags(f *flag.FlagSet) {
	f.StringVar(&o.Kafka, "kafka", "", "`host:port` of a Kafka that runs; empty: one is started")
	f.StringVar(&o.Redis, "redis", "", "`URL` of a Redis that runs, redis://host:port/db; empty: one is started")
	f.StringVar(&o.Binary, "membersync", "", "`path` of a binary that is built already; empty: it is built")
	f.BoolVar(&o.Keep, "keep", false, "keep the temporary folder with the logs")
}

// progress says what takes long.
func (o *Options) progress(format string, args ...any) {
	if o.Progress != nil {
		_, _ = fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}

var errNoModule = errors.New("testbed: not within the module membersync")

// moduleRoot finds the folder of go.mod from the working directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod")) //nolint:gosec // a fixed name
		if err == nil && strings.HasPrefix(string(text), "module membersync\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errNoModule
		}
		dir = filepath.Dir(dir)
	}
}
