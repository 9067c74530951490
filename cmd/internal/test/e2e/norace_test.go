//go:build !race

package e2e

// raced reports whether the race detector checks the test, and therefore the binary too.
const raced = false
