// Command devstack is membersync with everything that it needs, in one process, to
// try it: a broker that speaks Kafka's protocol, Redis, a fake CRM and a stream of
// made-up changes. See devstack --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], env{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		getenv: os.Getenv,
		notify: func(c chan<- os.Signal) { signal.Notify(c, os.Interrupt, syscall.SIGTERM) },
		exit:   os.Exit,
	}))
}
