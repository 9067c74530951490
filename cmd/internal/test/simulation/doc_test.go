// Package simulation runs several instances of the whole service in virtual time on kfake,
// miniredis and the fake CRM. Faults drawn from a seed are injected into every part and at every
// step of an event's processing. An independent oracle (package history) checks each run.
// TestPlantedBugs shows that the simulation catches known bugs.
//
// Each seed has no theme, one or two (planner_test.go): redrives, replays, storms, pauses, a
// recreated topic, and others. operator_test.go holds the operator's actions.
//
//	go test ./cmd/internal/test/simulation -run TestSimulation -seeds 200
//	go test ./cmd/internal/test/simulation -run TestSimulation -seed 17 -v
//	go test ./cmd/internal/test/simulation -run TestSimulation -seeds 20 -theme replays,redrives
//	go test ./cmd/internal/test/simulation -run TestPlantedBugs -mutants
package simulation
