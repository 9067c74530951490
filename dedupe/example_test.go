package dedupe_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"membersync/dedupe"
)

// One event is delivered twice. The first delivery gets the lease of its member and all its fields.
// The second one is a duplicate.
func ExampleStore_Acquire() {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	store, err := dedupe.New(client, dedupe.Options{Prefix: "ms", DoneTTL: 24 * time.Hour, Lease: 25 * time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	ctx := context.Background()
	member := dedupe.NewMember("https://crm.example.com", "CORP_TEST", "FSUID_TEST0001")
	event := dedupe.Event{
		ID: dedupe.NewEventID("hris.employee.changed", "ev-42", 0, "000042"), Version: "000042",
		Fields: []dedupe.Field{{Name: "position", Value: []byte("Sample Engineer")}},
	}
	for range 2 {
		token := dedupe.NewToken()
		grant, err := store.Acquire(ctx, dedupe.AcquireRequest{Member: member, Token: token, Events: []dedupe.Event{event}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		if grant.Events[0].Done {
			fmt.Println("done before:", grant.Events[0].Outcome)
			continue
		}
		fmt.Println("send position:", grant.Fields[0].Decision == dedupe.Send)
		// Here the caller sends the field to the CRM, before grant.Expires.
		done := dedupe.DoneEvent{ID: event.ID, Outcome: "applied", Version: event.Version, Fields: []string{"position"}}
		completion := dedupe.Completion{Member: member, Token: token, Done: []dedupe.DoneEvent{done}, Sent: event.Fields}
		if _, err := store.Complete(ctx, completion); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
	}
	// Output:
	// send position: true
	// done before: applied
}
