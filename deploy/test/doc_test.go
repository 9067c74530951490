// Package deploytest checks what is in deploy/ against the types of those who read it: the chart
// against Kubernetes' and the Prometheus Operator's, the dashboard against Grafana's. It needs helm
// in the PATH; .ci/deploy test runs it.
package deploytest
