// Command bench measures the service as a process on a real Kafka and Redis, with the fake CRM served by bench itself.
//
//	go run ./cmd/bench speed     rate beside a bare Go HTTP client that sends the same requests, in one run
//	go run ./cmd/bench memory    peak RSS of draining 1,000,000 events, and 50,000
//	go run ./cmd/bench batches   peak RSS and idle CPU with compressed batches, and with bombs
//	go run ./cmd/bench hang      p99 of the other members while one member's calls hang until their time-out
//	go run ./cmd/bench --help    all commands
//
// Without --kafka host:port and --redis redis://… it starts both by .ci/kafka and .ci/redis in a temporary folder
// (Java 17, Maven and redis-server are needed then; the jars are fetched on first use) and ends them afterwards, also on
// Ctrl-C. It builds the service from the module that it is run in; --membersync PATH takes a binary instead, to compare
// two of them. --keep leaves the folder with the logs of all processes.
//
// Results go to stdout as tables or, with -o json, as one object a line; progress goes to stderr. Each command knows its
// targets and their defaults (--help); it ends with 1 if one was missed, with 2 on bad usage, with 130 on Ctrl-C. What
// was measured so far stands in DESIGN.md.
//
// A figure is worth something only on a machine that does nothing else. With the profile of the fake CRM:
//
//	go test -run '^$' -bench FakeCRM -benchtime 40000x -cpuprofile /tmp/crm.cpu ./cmd/bench
package main
