// Package chaos holds what the long trials of the service are made of: changes to send, faults drawn from a seed, proxies that cut
// connections, and judgements of what came of it. The judgements are pure: they see what was produced, what the CRM was asked
// and what Kafka holds, and know nothing of the service.
package chaos
