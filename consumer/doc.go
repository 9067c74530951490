// Package consumer is the service: it moves events from the source topic to the CRM, and commits what is
// finished.
//
// Start with pipeline.go, which shows all stages of an event from top to bottom. DESIGN.md lists the
// invariants, what would break them, and the tests. The parts are packages of their own:
//
//   - event: the data types that the parts share.
//   - intake: Kafka in. Group membership, fetch loops, back-pressure, watermark, commits.
//   - decode: record to events. Mapper, lookups, verification of redrives.
//   - schedule: which member's batch runs next. Lanes, pauses, CRM health, storm guard, ranks.
//   - deliver: the stages of one batch. Acquire, update, complete, dead letter.
//   - preview: what serves the commands only.
//
// This package owns the loop between them: ask schedule, draw a permit, deliver, settle. No part calls
// another while it holds its own lock.
//
// It must not know net/http, the Redis client, flags or the environment: it builds no client, and gets
// what it needs through [Parts].
package consumer
