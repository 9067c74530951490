// Package crmapi is the client of the CRM's Modify Member API.
//
// # Contents
//
//   - [Update] is the sparse update of one member, with its JSON. [Field] and [Value] are its
//     parts.
//   - [Client] sends an update. One call of [Client.Modify] is one attempt.
//   - [FetchedToken] and [FixedToken] supply the access token.
//   - [Error] describes every failed call. Its [Class] decides what the caller does next.
//   - [Table] extends the published error codes. [Object] writes updates for the object API.
//   - [Backoff] computes the wait between attempts.
//
// # How to start reading
//
// Start with [Client.Modify], which shows one attempt from top to bottom: get a token, send the
// update, renew the token if the CRM refuses it, and send once more. The file exchange.go contains
// one HTTP request, payload.go the proof whether anything was sent, and classify.go the only
// function that turns a response into a class. DESIGN.md lists the invariants.
//
// # What it must not know
//
// The package knows HTTP. It knows nothing about Kafka, Redis or this project's other packages. It
// never retries on its own, apart from the one resend after a token renewal: retries, pauses and
// dead letters are the caller's decisions.
package crmapi
