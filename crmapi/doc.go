// Package crmapi talks to the CRM's Modify Member API: the sparse update and its
// JSON, a client that makes one attempt a call, access tokens, typed errors for
// every answer, and the backoff between attempts.
//
// It knows HTTP and nothing of Kafka, Redis or this project's other packages.
package crmapi
