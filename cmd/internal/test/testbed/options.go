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

// Options configure a testbed. The zero value starts and builds everything.
type Options struct {
	// Kafka is the host:port of a running broker. Empty: one is started.
	Kafka string
	// Redis is the URL of a running Redis, redis://host:port/db. Empty: one is started.
	Redis string
	// Binary is the path of a membersync that is already built. Empty: it is built from this
	// module.
	Binary string
	// Keep leaves the temporary folder, with the logs of all processes.
	Keep bool
	// AppendOnly makes the started Redis keep its data over Kill and Start. Otherwise it is empty
	// then.
	AppendOnly bool
	// OnlyRedis leaves out Kafka and the binary: there are no jobs and no instances.
	OnlyRedis bool
	// KafkaVia is the host:port of a proxy through which the instances connect to the started
	// Kafka. The proxy's upstream is Server.Upstream of [Testbed.Kafka].
	KafkaVia string
	// Progress gets one line for each slow step. Nil: none.
	Progress io.Writer
}

// AddFlags defines the flags that every program with a testbed has.
func (o *Options) AddFlags(f *flag.FlagSet) {
	f.StringVar(&o.Kafka, "kafka", "", "`host:port` of a Kafka that runs; empty: one is started")
	f.StringVar(&o.Redis, "redis", "", "`URL` of a Redis that runs, redis://host:port/db; empty: one is started")
	f.StringVar(&o.Binary, "membersync", "", "`path` of a binary that is built already; empty: it is built")
	f.BoolVar(&o.Keep, "keep", false, "keep the temporary folder with the logs")
}

// progress reports a slow step.
func (o *Options) progress(format string, args ...any) {
	if o.Progress != nil {
		_, _ = fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}

var errNoModule = errors.New("testbed: no go.mod of membersync in the working directory or above")

// moduleRoot finds the folder of go.mod in the working directory and above.
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
