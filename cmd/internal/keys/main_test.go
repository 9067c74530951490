// Package keys_test shows that every key of the configuration does something: each
// is changed, and the running service is seen to behave differently. The service is
// the whole program, in this process, between a Kafka, a Redis and a fake CRM.
package keys_test

import (
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"membersync/cmd/internal/config"
	"membersync/dedupe"
	"membersync/dlq/kafkatest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait, and not for the processor.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // as goleak does
	}
	dedupe.SetClientLog(slog.New(slog.DiscardHandler)) // as the program does in a process of its own
	goleak.VerifyTestMain(m)
}

// A scene is where the test of one key plays.
type scene struct {
	t      *testing.T
	broker *kafkatest.Broker // shared by all tests
}

// tests has a test for each key, by the key's variable without the prefix.
func tests() map[string]func(*scene) {
	all := make(map[string]func(*scene))
	for _, part := range []map[string]func(*scene){
		kafkaTests(), connectionTests(), topicTests(), redisTests(), stateTests(), crmTests(), callTests(), tokenTests(), serviceTests(),
		redisTLSTests(), crmTLSTests(), bearerTests(),
	} {
		maps.Copy(all, part)
	}
	return all
}

func TestKeys(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	all := tests()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			all[key](&scene{t, broker})
		})
	}
}

// A key that is added to the configuration needs a test here.
func TestEveryKeyHasATest(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(keys(), slices.Sorted(maps.Keys(tests()))); diff != "" {
		t.Errorf("keys and those that have a test (-keys +tests):\n%s", diff)
	}
}

// keys reads the variables off the table for the README, without their prefix. A secret is two:
// it and the file that holds it.
func keys() []string {
	var names []string
	row := regexp.MustCompile("(?m)^\\| `MEMBERSYNC_([A-Z_]+)(\\(_FILE\\))?` \\|")
	for _, match := range row.FindAllStringSubmatch(config.Markdown(), -1) {
		names = append(names, match[1])
		if match[2] != "" {
			names = append(names, match[1]+"_FILE")
		}
	}
	slices.Sort(names)
	return names
}
