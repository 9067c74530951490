// Package dedupe keeps the state in Redis that gives at-least-once delivery an idempotent effect.
//
// # What it keeps
//
//   - Done marks of events, so that a repeated delivery is recognized as a duplicate.
//   - One lease per member, so that only one process at a time calls the CRM for that member.
//   - The version of each member field, so that the newest event wins.
//   - A digest of the value last sent per field, so that an unchanged value is not sent again.
//   - The rate limit that all instances share.
//   - The heartbeats of the instances.
//   - The control state: the operator's pause and releases, the generation of digests, and the
//     marker that the state exists.
//
// # Where to start reading
//
// [Store.Acquire] and [Store.Complete] are the two steps around a CRM call. The scripts acquire.lua
// and complete.lua implement them. A typical call uses the package in this order:
//
//  1. [Store.Permit] draws a permit under the rate limit.
//  2. [Store.Acquire] takes the member's lease and returns which fields to send.
//  3. The caller sends the update. [Store.Renew] renews the lease before the same update is sent
//     again.
//  4. [Store.PermitDone] reports that the call is over.
//  5. [Store.Complete] records the outcomes and releases the lease. [Store.Release] releases it
//     without recording anything.
//
// DESIGN.md in this folder lists the keys, the rules of the scripts, and which interleaving each
// rule closes. Package dedupetest has the conformance suite.
//
// # What it must not know
//
// The package knows Redis. It must not know Kafka, HTTP or this project's other packages. No value
// of a member field is ever part of a Redis key or value, and neither is the plain id of an
// employee, a user or an event: they are hashed.
package dedupe
