// Package crmapitest is a strict fake of the CRM: the Modify Member API and the API that issues access
// tokens, with scripted faults, a log of all requests and a small JSON surface for other processes.
//
// It is an [net/http.Handler] and imports nothing of testing, so that tests, the devstack and a fake CRM
// as a process of its own use the same one. It holds what it was sent: made-up people only.
package crmapitest
