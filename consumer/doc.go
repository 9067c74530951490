// Package consumer is the service: it takes events from the source topic to the
// CRM and commits what is finished. The way of one event stands in way.go, from top to
// bottom in the order that it takes; DESIGN.md says what must hold and why.
//
// The machines that decide (watermark, lanes, gate, health) are subpackages that do
// no I/O. This package builds no client: it is handed what it needs.
package consumer
