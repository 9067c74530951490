package cli

import (
	"sync"

	"membersync/cmd/internal/admin"
)

// A board shows the state of the service: what it waits for until it is there, then
// its own.
type board struct {
	mu      sync.Mutex
	waiting string
	service admin.State
}

// wait says what start-up waits for.
func (b *board) wait(cause string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = cause
}

// hand gives the word to the service.
func (b *board) hand(service admin.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.service = service
}

func (b *board) current() (admin.State, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.service, b.waiting
}

// Ready is the service's, and false before it is there.
func (b *board) Ready() (ok bool, cause string) {
	service, waiting := b.current()
	if service == nil {
		return false, "starting: " + waiting
	}
	return service.Ready()
}

// Live is the service's, and true before it is there: what start-up waits for does
// not come sooner by a restart.
func (b *board) Live() (ok bool, why string) {
	if service, _ := b.current(); service != nil {
		return service.Live()
	}
	return true, ""
}
