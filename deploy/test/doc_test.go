// Package deploytest checks what is in deploy/ against the types of those who read it: the chart
// against Kubernetes' and the Prometheus Operator's, the dashboard against Grafana's. Helm's own
// packages lint and render the chart. .ci/deploy test runs all of it.
package deploytest
