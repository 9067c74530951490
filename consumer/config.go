package consumer

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"membersync/consumer/decode"
	"membersync/consumer/deliver"
	"membersync/consumer/intake"
	"membersync/dlq"
	"membersync/mapper"
)

// A Config is the service's settings. Every field is required unless it says what zero means.
type Config struct {
	Topic       string   // the source topic
	Redrives    string   // the redrive topic; empty: none
	Group       string   // the consumer group
	Brokers     []string // host:port, for the connection to the group's coordinator
	StartLatest bool     // where a group without any offset begins: at the end of the log, not its start
	Session     Session  // zero values: the defaults

	BufferRecords int   // records in memory at most
	BufferBytes   int64 // and the bytes of records and fetches; a larger record is admitted alone
	// MaxRecordBytes bounds a record of the source topic, headers included; a larger one is not
	// read and is dead-lettered as oversized. Zero: 1 MiB.
	MaxRecordBytes int64
	DrainLimit     time.Duration // for in-flight calls, on shutdown and when partitions are taken away
	DoneTTL        time.Duration // of done marks: Run warns if the topic retains records for longer; zero: no warning
	StormShare     float64       // of the latest events, 0 to 1, above which dead-lettering stops; zero: never
	HeldRetry      time.Duration // between the rounds in which held events are tried again; zero: 30 s
	Version        string        // of the program, for dead letters and heartbeats
	Host           string        // on which it runs, for heartbeats

	CallConfig
	ReplayConfig
}

// A CallConfig is the settings of the calls.
type CallConfig struct {
	BaseURL, CorpID string        // the CRM that the members are of
	Concurrency     int           // calls in flight at most
	CallTimeout     time.Duration // of one attempt
	Lease           time.Duration // how long a member stays leased: 2 x CallTimeout + 5 s
	RetryBudget     time.Duration // for one event, on the clock of [health.Monitor]; zero: the attempts alone count
	QuotaReset      func(time.Time) time.Time
	// GatherFor is that of [schedule.Config]; zero: the default.
	GatherFor time.Duration
}

// A ReplayConfig is the settings of a replay; the zero value: there is none.
type ReplayConfig struct {
	// Replay is for Service.Replay: events count on the path replay, and results of redrives are not
	// recorded again.
	Replay bool
	// LiveGroup is the group of the live service, whose state a replay relies on. The state must have
	// its marker before the replay begins. Empty: Config.Group.
	LiveGroup string
	Reapply   bool   // ignore done marks and digests, never versions
	Employee  string // limits the events to those of one employee; empty: all
	// Covers are the ranges that the replay was asked for; nil: all that it reads. A record of the
	// redrive topic outside of them runs only if its source record is in one: so the redrives of a
	// range's events belong to the range.
	Covers []Range
}

// The types of the parts that this package takes and returns.
type (
	// A Session is the timing of the group membership.
	Session = intake.Session
	// A Range is a part of a partition to run again.
	Range = intake.Range
	// A ReplayProgress is how far a replay is, in offsets.
	ReplayProgress = intake.ReplayProgress
	// A Mapper turns a record into its results, one per employee.
	Mapper = decode.Mapper
	// Lookups finds what records refer to outside of the mapping.
	Lookups = decode.Lookups
	// An Archive reads dead letters, and requests of redrives.
	Archive = decode.Archive
	// Items says which events a replay leaves out because of their dead letters.
	Items = decode.Items
	// Marks reads done marks, many at once.
	Marks = decode.Marks
	// A Store records what was done and keeps two processes off one member.
	Store = deliver.Store
	// Leases is the part of a [Store] between a failed call and the next attempt.
	Leases = deliver.Leases
	// A CRM takes updates, one attempt per call.
	CRM = deliver.CRM
	// A DeadLetterWriter writes dead letters.
	DeadLetterWriter = deliver.DeadLetterWriter
	// An Auditor records who did what.
	Auditor = deliver.Auditor
)

// Parts is what the service works with.
type Parts struct {
	Kafka       *kafka.Client // with its own transport
	Dialer      *kafka.Dialer // for the connection to the group's coordinator
	Mapper      Mapper
	Lookups     Lookups // nil: no mapping refers to any
	Store       Store
	Marks       Marks // of the store; nil: done events are recognized by Acquire only
	CRM         CRM
	DeadLetters DeadLetterWriter
	Archive     Archive // needed for redrives
	Audit       Auditor // likewise
	// EditDigest is that of values that an operator has edited, under the state key. Nil: there is no
	// state key, and a redrive with an edited value is invalid.
	EditDigest dlq.ValueDigest
	Items      Items   // of a replay; nil: no event is skipped
	Control    Control // nil: there is no control state, and the state in Redis is not watched
	Limiter    Limiter // nil: no limit
	// EnsureTopics creates those of membersync's own topics that do not exist. It is called when one
	// turns out to be missing, every 5 s at most; nil: they are created by hand.
	EnsureTopics func(context.Context) error
	// Pace lets the records of a replay through, one at a time; nil: as fast as they come.
	Pace func(context.Context) error
	// Expired is called for each redrive that a replay leaves out, because retention has removed its
	// dead letter or its request. It must not block, and is called concurrently; nil: for none.
	Expired  func()
	Observer Observer // nil: none
	// Tracer makes the spans of events; nil: tracing is off, and costs nothing.
	Tracer  trace.Tracer
	Metrics *Metrics
	Logger  *slog.Logger
}

// covers returns the filter of a replay's redrives; nil: there is none.
func (c *ReplayConfig) covers() func(in, source mapper.Record) bool {
	if c.Covers == nil {
		return nil
	}
	return func(in, source mapper.Record) bool { return Covers(c.Covers, in) || Covers(c.Covers, source) }
}

// Covers reports whether a record lies in one of the ranges.
func Covers(ranges []Range, rec mapper.Record) bool {
	return slices.ContainsFunc(ranges, func(r Range) bool {
		return r.Topic == rec.Topic && r.Partition == rec.Partition && r.First <= rec.Offset && rec.Offset < r.End
	})
}
