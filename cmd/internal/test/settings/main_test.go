// Package settings_test shows that every setting has an effect: each test changes one and observes
// that the running service behaves differently. The service is the whole program in this process,
// with a Kafka, a Redis and a fake CRM.
package settings_test

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
	// The tests mostly wait, and need little CPU.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // as goleak does
	}
	dedupe.SetClientLog(slog.New(slog.DiscardHandler)) // as the program does in its own process
	goleak.VerifyTestMain(m)
}

// A settingTest is the environment of the test of one setting.
type settingTest struct {
	t      *testing.T
	broker *kafkatest.Broker // shared by all tests
}

// tests returns the test of each setting by its variable without the prefix.
func tests() map[string]func(*settingTest) {
	all := make(map[string]func(*settingTest))
	for _, part := range []map[string]func(*settingTest){
		kafkaTests(), connectionTests(), topicTests(), redisTests(), stateTests(), crmTests(), callTests(), tokenTests(), serviceTests(),
		redisTLSTests(), crmTLSTests(), bearerTests(), uiTests(),
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
			all[key](&settingTest{t, broker})
		})
	}
}

// A new setting needs a test here.
func TestEverySettingHasATest(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(variables(), slices.Sorted(maps.Keys(tests()))); diff != "" {
		t.Errorf("settings and tests (-settings +tests):\n%s", diff)
	}
}

// variables returns the variables of the reference without their prefix. A secret has two: its own
// and that of its file.
func variables() []string {
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
