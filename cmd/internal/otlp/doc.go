// Package otlp sends the spans of the service to an OpenTelemetry collector, as the variables
// OTEL_* say. [Open] decides whether it does: without an exporter there is no tracing.
//
// The SDK is OpenTelemetry's: sampling, resource, batches and limits follow its variables. So is
// the encoding (otlptrace). The upload is this package's own, over net/http: POST of protobuf,
// gzip, headers, certificates, retries. What each adds to a program with net/http and protobuf,
// measured with Go 1.26 and -ldflags "-s -w" on linux/amd64:
//
//	the SDK and otlptrace                  + 1.3 MB,  52 packages
//	the same with otlptracehttp            + 6.5 MB, 163 packages
//
// membersync itself grew from 31.1 MB to 32.5 MB. The difference between the two is gRPC, which
// otlptracehttp links for the types of its request and never calls. The request has the same
// encoding as tracepb.TracesData. contrib/exporters/autoexport adds exporters of metrics and logs
// to that. So OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported.
package otlp
