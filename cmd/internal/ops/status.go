package ops

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
)

// A StatusCause says whether the service works, and if not, why.
type StatusCause string

// The causes of a status, the most urgent first.
const (
	StatusRedis          StatusCause = "redis"
	StatusKafka          StatusCause = "kafka"
	StatusStateKey       StatusCause = "state_key"
	StatusStateLost      StatusCause = "state_lost"
	StatusNoInstance     StatusCause = "no_instance"
	StatusRetentionRisk  StatusCause = "retention_risk"
	StatusRefused        StatusCause = "crm_refused"
	StatusStorm          StatusCause = "storm"
	StatusDLQ            StatusCause = "dlq"
	StatusControl        StatusCause = "control"
	StatusPaused         StatusCause = "paused_by_operator"
	StatusOutage         StatusCause = "crm_outage"
	StatusQuota          StatusCause = "crm_quota"
	StatusThrottled      StatusCause = "crm_throttled"
	StatusStuck          StatusCause = "stuck"
	StatusMappingRejects StatusCause = "mapping_rejects"
	StatusCatchingUp     StatusCause = "catching_up"
	StatusWorking        StatusCause = "working"
)

// StatusCauses returns all causes, the most urgent first.
func StatusCauses() []StatusCause {
	return []StatusCause{
		StatusRedis, StatusKafka, StatusStateKey, StatusStateLost, StatusNoInstance, StatusRetentionRisk, StatusRefused,
		StatusStorm, StatusDLQ, StatusControl, StatusPaused, StatusOutage, StatusQuota, StatusThrottled, StatusStuck,
		StatusMappingRejects, StatusCatchingUp, StatusWorking,
	}
}

// NeedsAttention reports whether an operator should look: everything else ends by itself.
func (c StatusCause) NeedsAttention() bool {
	return c != StatusWorking && c != StatusCatchingUp && c != StatusThrottled && c != StatusQuota
}

// A Status is the state of the service, as JSON shows it.
type Status struct {
	At        Time         `json:"at"`
	Cause     StatusCause  `json:"cause"`  // the most urgent one
	Causes    []CauseState `json:"causes"` // all of them, that one first
	Attention bool         `json:"needs_attention"`
	Sentence  string       `json:"sentence"`   // made by the caller
	Advice    string       `json:"advice"`     // likewise
	CurrentAt Time         `json:"current_at"` // when it will have caught up; null: it has, or that is unknown
	Instances []Instance   `json:"instances"`
	Lag       *Lag         `json:"lag"` // null: unknown
	// RateUsed is of the last minute; null: there is no limit, or it is unknown.
	RateUsed    *float64          `json:"rate_limit_used_ratio"`
	Held        *int              `json:"held_events"`       // null: unknown
	DeadLetters []Group           `json:"open_dead_letters"` // by cause, largest first
	Redriving   *int              `json:"redriving"`         // without a result yet; null: unknown
	Replays     []ReplayState     `json:"replays"`           // those that run now
	Actions     []dlq.AuditRecord `json:"last_actions"`
	Paused      *Pause            `json:"paused"`  // by an operator; null: not
	Unknown     []string          `json:"unknown"` // what could not be read, and why
}

// A CauseState is a cause, and since when it is known.
type CauseState struct {
	Cause StatusCause `json:"cause"`
	Since Time        `json:"since"` // null: unknown
	Next  Time        `json:"next"`  // of the next attempt to call; null: none is planned
}

// An Instance is a running instance of the service.
type Instance struct {
	ID         string   `json:"id"`
	Host       string   `json:"host"`
	Version    string   `json:"version"`
	Since      Time     `json:"since"`
	Partitions int      `json:"partitions"`
	InFlight   int      `json:"calls_in_flight"`
	Held       int      `json:"held_events"`
	Causes     []string `json:"causes"`
	EventsRate float64  `json:"events_per_second"` // over the last minute
	CallsRate  float64  `json:"calls_per_second"`
}

// A Lag is how far the service is behind the source topic.
type Lag struct {
	Records  int64  `json:"records"`
	Seconds  int64  `json:"seconds"`                    // age of the oldest record that is not committed
	Headroom *int64 `json:"retention_headroom_seconds"` // until retention removes it; null: it is not removed, or unknown
}

// catchingUpFrom is the age of the oldest record from which the service is behind.
const catchingUpFrom = time.Minute

// lastActions is how many of the operators' actions a status has.
const lastActions = 5

// Status returns the state of the service. What cannot be read is named in it, and is not an error.
func (s *Session) Status(ctx context.Context) Status { return s.gather(ctx, nil) }

// gather reads the state of the service. With a live view, it does not read the dead-letter and
// audit topics.
func (s *Session) gather(ctx context.Context, live *Live) Status {
	g := &statusGathering{session: s, live: live, status: Status{
		At: Time{time.Now()}, Instances: []Instance{}, DeadLetters: []Group{}, Replays: []ReplayState{}, Actions: []dlq.AuditRecord{},
		Unknown: []string{},
	}}
	fromKafka, cancel := whileAnswering(ctx, s.Control.parts.Kafka)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { g.note(g.readRedis(ctx), &g.redisFails) })
	for _, source := range []struct {
		read  func(context.Context) error
		fails *bool // nil: the failure is that of another source
	}{
		{g.readLag, &g.kafkaFails},
		{g.readDeadLetters, &g.kafkaFails},
		{g.readActions, &g.kafkaFails},
		{g.readState, nil},
		{g.readReplays, nil},
	} {
		all.Go(func() {
			err := source.read(fromKafka)
			if cause := context.Cause(fromKafka); err != nil && errors.Is(cause, errKafkaSilent) {
				err = cause
			}
			g.note(err, source.fails)
		})
	}
	all.Wait()
	g.decide()
	return g.status
}

// A statusGathering reads a status, from several sources at once.
type statusGathering struct {
	session *Session
	live    *Live // nil: the topics are read

	mu          sync.Mutex
	status      Status
	beats       []dedupe.Heartbeat
	redisFails  bool
	kafkaFails  bool
	otherKey    bool
	isStateLost bool
}

// note notes what could not be read, if there is an error.
func (g *statusGathering) note(err error, source *bool) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if source != nil {
		*source = true
	}
	if !slices.Contains(g.status.Unknown, err.Error()) {
		g.status.Unknown = append(g.status.Unknown, err.Error())
	}
}

func (g *statusGathering) readRedis(ctx context.Context) error {
	beats, err := g.session.Heartbeats(ctx)
	if err != nil {
		return err
	}
	paused, err := g.session.Paused(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	held := 0
	g.beats, g.status.Paused = beats, paused
	for _, b := range beats {
		g.status.Instances = append(g.status.Instances, instanceOf(b))
		held += b.Held
	}
	g.status.Held = &held
	slices.SortFunc(g.status.Instances, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), a.Since.Compare(b.Since.Time), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

// readState reads from Redis and Kafka.
func (g *statusGathering) readState(ctx context.Context) error {
	lost, otherKey, err := g.session.stateLost(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isStateLost, g.otherKey = lost, otherKey
	return err
}

func instanceOf(b dedupe.Heartbeat) Instance {
	i := Instance{
		ID: b.ID, Host: b.Host, Version: b.Version, Since: Time{b.Since}, Partitions: b.Partitions, InFlight: b.InFlight, Held: b.Held,
		Causes: []string{}, EventsRate: perSecond(b.Rates.Events, b.Rates.Window), CallsRate: perSecond(b.Rates.Calls, b.Rates.Window),
	}
	for _, c := range b.Causes {
		i.Causes = append(i.Causes, c.Cause)
	}
	return i
}

func perSecond(n int, window time.Duration) float64 {
	if window <= 0 {
		return 0
	}
	return float64(n) / window.Seconds()
}

func (g *statusGathering) readLag(ctx context.Context) error {
	s := g.session
	group, err := s.group(ctx)
	if err != nil {
		return err
	}
	offsets, err := s.offsets(ctx, s.Target().Topic, group, time.Now())
	if err != nil {
		return err
	}
	var lag Lag
	for _, o := range offsets {
		lag.Records += o.LagRecords
		lag.Seconds = max(lag.Seconds, o.LagSeconds)
	}
	retention, err := s.retention(ctx)
	if err == nil && retention > 0 && lag.Records > 0 {
		left := int64(retention.Seconds()) - lag.Seconds
		lag.Headroom = &left
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status.Lag = &lag
	return err
}

func (g *statusGathering) readDeadLetters(ctx context.Context) error {
	if g.live != nil {
		g.takeDeadLetters()
		_, err := g.live.Err()
		return err
	}
	index, err := g.session.Index(ctx, dlq.Query{States: []dlq.State{dlq.StateOpen}}, ByCause)
	if isMissingTopic(err) {
		none := 0
		g.mu.Lock()
		defer g.mu.Unlock()
		g.status.Redriving = &none
		return nil
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, group := range index.Groups() {
		g.status.DeadLetters = append(g.status.DeadLetters, NewGroup("cause", group, now))
	}
	redriving := index.Count(dlq.StateRedriving)
	g.status.Redriving = &redriving
	return nil
}

// takeDeadLetters takes from the live view what readDeadLetters reads.
func (g *statusGathering) takeDeadLetters() {
	now := time.Now()
	groups, redriving := g.live.catalog.Open(now), g.live.catalog.Count(dlq.StateRedriving)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, group := range groups {
		g.status.DeadLetters = append(g.status.DeadLetters, NewGroup("cause", group.Group, now))
	}
	g.status.Redriving = &redriving
}

func (g *statusGathering) readActions(ctx context.Context) error {
	query := AuditQuery{Actions: OperatorActions(), Limit: lastActions}
	if g.live != nil {
		records := g.live.catalog.Audit(query.Limit, query.matches)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.status.Actions = append(g.status.Actions, records...)
		return nil
	}
	records, _, err := g.session.Audit(ctx, query)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status.Actions = append(g.status.Actions, records...)
	return nil
}

func (g *statusGathering) readReplays(ctx context.Context) error {
	read := g.session.Replays
	if g.live != nil {
		read = g.live.Replays
	}
	replays, err := read(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range replays {
		if r.State == ReplayRunning {
			g.status.Replays = append(g.status.Replays, r)
		}
	}
	return err
}

// OperatorActions are those that an operator takes; a redrive's result is the service's.
func OperatorActions() []dlq.Action {
	return slices.DeleteFunc(dlq.Actions(), func(a dlq.Action) bool { return a == dlq.ActionRedriveResult })
}
