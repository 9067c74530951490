package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// A Config is the service's settings. Every field is required unless it says what zero means.
type Config struct {
	Topic       string   // the source topic
	Redrives    string   // the topic of what is to be run again; empty: none
	Group       string   // the consumer group
	Brokers     []string // host:port, for the group's coordinator connection
	StartLatest bool     // where a group without any offset begins: at the end of the log, not its start

	BufferRecords int   // records in memory at most
	BufferBytes   int64 // and their bytes; a larger record is admitted alone

	BaseURL, CorpID string        // which CRM the members are of
	Concurrency     int           // calls in flight at most
	CallTimeout     time.Duration // of one attempt
	Lease           time.Duration // how long an acquired member stays ours: 2 x CallTimeout + 5 s
	Limit           Limit         // what Parts.Limiter shares out; the zero value: calls are not paced
	RetryBudget     time.Duration // for one event, on the clock of [health.Monitor]; zero: the attempts alone count
	QuotaReset      func(time.Time) time.Time
	DrainLimit      time.Duration // for running calls, on shutdown and when partitions are taken away
	DoneTTL         time.Duration // of the store's done marks: Run warns if the topic keeps records for longer; zero: it does not
	StormShare      float64       // of the latest events that may die before dead-lettering stops, 0 to 1; zero: any

	// Replay is for Service.Replay: events count on the path replay, and what redrives come to is not recorded again.
	// Reapply ignores done marks and digests, never versions. Employee leaves all events but this one's alone; empty: none.
	Replay, Reapply bool
	Employee        string

	Session Session // zero values: the defaults
	Version string  // of the program, for dead letters
}

// A Session is the timing of the group membership.
type Session struct {
	Heartbeat time.Duration // default 3 s
	Timeout   time.Duration // default 45 s
	Rebalance time.Duration // default 60 s
	Backoff   time.Duration // between failed joins; default 1 s
	Watch     time.Duration // between looks for new partitions; default 5 s
}

func (s Session) withDefaults() Session {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&s.Heartbeat, 3*time.Second)
	or(&s.Timeout, 45*time.Second)
	or(&s.Rebalance, 60*time.Second)
	or(&s.Backoff, time.Second)
	or(&s.Watch, 5*time.Second)
	return s
}

// A Mapper turns a record into what it says of each employee. It never blocks.
type Mapper interface {
	// References lists what the record wants looked up elsewhere first: nothing, mostly.
	References(rec mapper.Record) []mapper.Reference
	// MapWith maps the record with what was found for them.
	MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result
}

// A Store remembers what was done and keeps two processes off one member.
type Store interface {
	Acquire(ctx context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error)
	Complete(ctx context.Context, c dedupe.Completion) (late bool, err error)
	Leases
}

// Leases is the part of a [Store] between a failed call and the next try.
type Leases interface {
	Renew(ctx context.Context, m dedupe.Member, t dedupe.Token) (held bool, err error)
	Release(ctx context.Context, m dedupe.Member, t dedupe.Token) error
}

// A CRM takes updates, one attempt a call.
type CRM interface {
	Modify(ctx context.Context, call crmapi.Call) (crmapi.Response, error)
}

// A DeadLetterWriter takes dead letters. An error means that the letter is not known to be written.
type DeadLetterWriter interface {
	Write(ctx context.Context, l dlq.DeadLetter) error
}

// A Limiter shares the vendor's limit out over all instances.
type Limiter interface {
	// Permit asks for one call's place in the window, at one of [dedupe]'s ranks: granted, or how long to wait.
	Permit(ctx context.Context, id string, rank int) (granted bool, wait time.Duration, err error)
	// Done gives the place back: at the end of the window after a call that was sent, or at once.
	Done(ctx context.Context, id string, sent bool) error
	// Throttle stops the permits of all instances for a while.
	Throttle(ctx context.Context, d time.Duration) error
}

// Parts is what the service works with.
type Parts struct {
	Kafka       *kafka.Client // with its own transport
	Dialer      *kafka.Dialer // for the group's coordinator connection
	Mapper      Mapper
	Lookups     Lookups // nil: no mapping asks for any
	Store       Store
	CRM         CRM
	DeadLetters DeadLetterWriter
	Archive     Archive // needed where redrives are consumed
	Audit       Auditor // likewise
	Control     Control // nil: nobody gives orders, and the state is not watched
	Limiter     Limiter // nil: no limit
	// Pace lets the records of a replay through, one at a time; nil: as fast as it goes.
	Pace     func(context.Context) error
	Observer Observer // nil: nobody watches
	Metrics  *Metrics
	Logger   *slog.Logger
}
