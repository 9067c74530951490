// Package consumer is the service: it moves events from the source topic to the CRM, and commits
// what is finished.
//
// Start with pipeline.go, which shows all stages of an event from top to bottom. DESIGN.md lists
// the invariants, what would break them, and the tests. The parts are packages of their own:
//
//   - event: the data types that the parts share.
//   - intake: Kafka in. Group membership, fetch loops, back-pressure, watermark, commits.
//   - decode: record to events. Mapper, lookups, verification of redrives.
//   - schedule: which member's batch runs next. Lanes, pauses, CRM health, storm guard, ranks.
//   - deliver: the stages of one batch. Acquire, update, complete, dead letter.
//   - preview: what serves the commands only.
//   - tracing: spans of the stages.
//   - wait: a wait that a context can end.
//
// This package owns the loop between them: ask schedule, draw a permit, deliver, settle. No part
// calls another while it holds its own lock.
//
// # Terms
//
//   - Event: one employee's change. A record holds one or more.
//   - Lane: the queue of one member's events. A record or event that could not be read has no
//     member, and a lane of its own that needs no call. A lane runs one batch at a time.
//   - Batch: the events of a lane that run together. They fold into one update with the newest
//     value of each field.
//   - Update: what one call carries, under one lease token, and what is known of the call. Its
//     contributors are the events whose values it carries.
//   - Pinned: a lane whose last call may still take effect may only send the same update again.
//     Schedule forgets the pin when an event of the update is taken away: the lease in Redis,
//     which was not released, then keeps every process off the member until it has expired.
//   - Ticket: an event's place in the account of its partition. Intake marks it as revoked, and
//     after the last commit as closed. A finished event counts also after the first mark, not
//     after the second.
//   - Done mark: Redis' note that an event has an outcome. It makes a further delivery a
//     duplicate.
//   - Storm guard, held: while most events would be dead-lettered, rejected ones are held instead:
//     unfinished, out of their lanes, and tried again from time to time.
//   - Rank: live traffic draws permits before redrives. A spare permit is one that a batch did not
//     need.
//
// It must not know net/http, the Redis client, flags or the environment: it builds no client, and
// gets what it needs through [Parts].
package consumer
