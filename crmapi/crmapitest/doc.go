// Package crmapitest is a strict fake of the CRM. It implements the Modify Member API and the API
// that issues access tokens.
//
// # Contents
//
//   - [Server] is the fake, an [net/http.Handler]. [Options] set what it knows.
//   - [Fault] is a scripted fault of one or more requests. [Server.Block] blocks all update
//     requests.
//   - [Seen] is one request in the log. [Stats] counts requests and lists breaches of the protocol.
//   - Under /_fake/, a small JSON API serves other processes.
//
// # How to start reading
//
// Start with [Server.ServeHTTP]. The function handle in server.go shows one request from top to
// bottom. The rules of the update API are in update.go, those of the token API in token.go.
//
// # What it must not know
//
// The package must not import testing: tests, the devstack and a fake CRM in a process of its own
// use the same code. The fake stores what it was sent. Send it data of made-up persons only.
package crmapitest
