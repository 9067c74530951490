// Package simulation runs the whole service, several instances of it, in virtual time against kfake, miniredis and the fake
// CRM, while faults drawn from a seed strike at every part and at every step of an event's way. An independent oracle
// judges each run. TestPlantedBugs shows that it catches what it should.
//
// A seed is about nothing in particular, or about one or two themes (themes_test.go): redrives,
// replays, storms, pauses, a topic that is recreated, and others. What an operator does is in
// operator_test.go.
//
//	go test ./cmd/internal/test/simulation -run TestSimulation -seeds 200
//	go test ./cmd/internal/test/simulation -run TestSimulation -seed 17 -v
//	go test ./cmd/internal/test/simulation -run TestSimulation -seeds 20 -theme replays,redrives
//	go test ./cmd/internal/test/simulation -run TestPlantedBugs -mutants
package simulation
