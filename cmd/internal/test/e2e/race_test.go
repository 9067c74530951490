//go:build race

package e2e

// raced says that the race detector watches the test, and therefore the binary too.
const raced = true
