package otlp

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	defaultEndpoint = "http://localhost:4318/v1/traces"
	defaultTimeout  = 10 * time.Second
	protocol        = "http/protobuf"
)

// variables returns the value of a variable; empty: it is not set.
type variables func(name string) string

// of returns the variable of traces, or else that of all signals.
func (v variables) of(name string) (text, variable string) {
	variable = "OTEL_EXPORTER_OTLP_TRACES_" + name
	if text = v(variable); text == "" {
		variable = "OTEL_EXPORTER_OTLP_" + name
		text = v(variable)
	}
	return text, variable
}

// isOn reports whether traces are to be exported. Otherwise problem may name a variable because of
// which they are not.
func (v variables) isOn() (on bool, problem string) {
	if strings.EqualFold(v("OTEL_SDK_DISABLED"), "true") {
		return false, ""
	}
	endpoint, _ := v.of("ENDPOINT")
	switch exporter := v("OTEL_TRACES_EXPORTER"); {
	case exporter == "none", exporter == "" && endpoint == "":
		return false, ""
	case exporter != "otlp" && exporter != "":
		return false, "OTEL_TRACES_EXPORTER should be otlp or none"
	}
	if text, name := v.of("PROTOCOL"); text != "" && text != protocol {
		return false, name + " should be " + protocol
	}
	return true, ""
}

// endpoint is where spans are sent. That of traces is a whole URL, that of all signals its base.
func (v variables) endpoint() (u *url.URL, problem string) {
	text, name := v.of("ENDPOINT")
	isBase := text != "" && name == "OTEL_EXPORTER_OTLP_ENDPOINT"
	if text == "" {
		text = defaultEndpoint
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, name + " should be http:// or https:// followed by a host"
	}
	if isBase {
		u = u.JoinPath("v1", "traces")
	}
	return u, ""
}

// headers are those of each request: name=value pairs with commas, percent-encoded.
func (v variables) headers() (headers [][2]string, problem string) {
	text, name := v.of("HEADERS")
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !found || key == "" || err != nil {
			return nil, name + " should be name=value pairs with commas"
		}
		headers = append(headers, [2]string{key, value})
	}
	return headers, ""
}

// timeout is that of one export with its retries, given in milliseconds.
func (v variables) timeout() (d time.Duration, problem string) {
	text, name := v.of("TIMEOUT")
	if text == "" {
		return defaultTimeout, ""
	}
	ms, err := strconv.Atoi(text)
	if err != nil || ms <= 0 {
		return defaultTimeout, name + " should be a number of milliseconds"
	}
	return time.Duration(ms) * time.Millisecond, ""
}

// gzip reports whether requests are compressed.
func (v variables) gzip() (on bool, problem string) {
	switch text, name := v.of("COMPRESSION"); text {
	case "gzip":
		return true, ""
	case "", "none":
		return false, ""
	default:
		return false, name + " should be gzip or none"
	}
}
