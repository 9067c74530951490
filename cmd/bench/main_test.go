package main

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The program runs itself as the bare client. Its test does the same.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bareName {
		status := run(context.Background(), os.Args[1:], env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
		os.Exit(status) //nolint:forbidigo // it stands in for main
	}
	goleak.VerifyTestMain(m)
}
