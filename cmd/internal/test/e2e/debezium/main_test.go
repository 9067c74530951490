package debezium

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"membersync/cmd/internal/test/testbed"
)

// The variables of .ci/debezium: the ports of the databases, the port for Kafka Connect, and the
// folder of its plugins.
const (
	postgresEnv = "MEMBERSYNC_TEST_POSTGRES"
	mariadbEnv  = "MEMBERSYNC_TEST_MARIADB"
	connectEnv  = "MEMBERSYNC_TEST_CONNECT"
	pluginsEnv  = "MEMBERSYNC_TEST_CONNECT_PLUGINS"
)

//nolint:gochecknoglobals // flags of the test binary, such as -keep
var options = testbed.Options{Progress: os.Stdout}

func TestMain(m *testing.M) {
	options.AddFlags(flag.CommandLine)
	flag.Parse()
	goleak.VerifyTestMain(m)
}
