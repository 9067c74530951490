// Command bench measures the service as a process on a real Kafka and Redis. Bench itself serves
// the fake CRM.
//
//	go run ./cmd/bench speed     rate next to a bare client, a plain loop and a Watermill router
//	go run ./cmd/bench memory    peak RSS of draining 1,000,000 events, and 50,000
//	go run ./cmd/bench full      a full buffer next to a small backlog, and the collector's share
//	go run ./cmd/bench batches   peak RSS and idle CPU with compressed batches, and with bombs
//	go run ./cmd/bench skips     rate of events that are done already, of the service and a replay
//	go run ./cmd/bench rolling   longest wait of each partition during a rolling update
//	go run ./cmd/bench redis     memory of the state in Redis, for each mark and member
//	go run ./cmd/bench hang      p99 of the other members while one member's calls time out
//	go run ./cmd/bench --help    all commands
//
// Without --kafka host:port and --redis redis://… it starts both with .ci/kafka and .ci/redis in a
// temporary folder and stops them at the end, also on Ctrl-C. That needs Java 17, Maven and
// redis-server; the jars are fetched on first use. It builds the service from the module that it
// runs in. --membersync PATH takes a binary instead, to compare two of them. --keep leaves the
// folder with the logs of all processes. speed also builds internal/alternatives, a module of its
// own, unless --compare=false leaves it out or --alternatives PATH names its program.
//
// Results go to stdout as tables or, with -o json, as one object a line. Progress goes to stderr.
// Each command has targets with defaults (--help). The exit status is 1 if a target was missed, 2
// on invalid usage, and 130 on Ctrl-C. DESIGN.md holds the figures measured so far.
//
// A figure is valid only on a machine that does nothing else. To profile the fake CRM:
//
//	go test -run '^$' -bench FakeCRM -benchtime 40000x -cpuprofile /tmp/crm.cpu ./cmd/bench
package main
