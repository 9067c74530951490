// Package otlptest is an OpenTelemetry collector for tests: an HTTP server that takes spans as
// OTLP's protobuf.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A Request is one upload, as it was received.
type Request struct {
	Path   string
	Header http.Header
	Body   []byte // inflated
}

// A Span is one span that was uploaded. Ids are in hex.
type Span struct {
	Name, TraceID, ID, Parent string
	Links                     []string // the span ids of its links
	Attributes                map[string]string
	Failed                    bool // its status is an error
	Service                   string
}

// A Collector is safe for concurrent use.
type Collector struct {
	URL string // its base, as OTEL_EXPORTER_OTLP_ENDPOINT takes it

	mu       sync.Mutex
	status   int           // of the answers; 0: 200
	hold     chan struct{} // not nil: answers wait until it is closed
	requests []Request
	spans    []Span
	faults   []string
}

// Start starts a collector, which ends with the test. An upload that is no OTLP fails the test.
func Start(tb testing.TB) *Collector {
	tb.Helper()
	c := &Collector{}
	server := httptest.NewServer(c)
	c.URL = server.URL
	tb.Cleanup(func() {
		c.Release()
		server.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, fault := range c.faults {
			tb.Error("an upload: " + fault)
		}
	})
	return c
}

// Answer sets the HTTP status of later answers.
func (c *Collector) Answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// Hold makes later answers wait until Release.
func (c *Collector) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = make(chan struct{})
}

// Release ends Hold.
func (c *Collector) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold != nil {
		close(c.hold)
		c.hold = nil
	}
}

// Requests returns all uploads, including those that were refused.
func (c *Collector) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Spans returns the spans of the uploads that were taken, by name.
func (c *Collector) Spans(name string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var named []Span
	for _, s := range c.spans {
		if s.Name == name {
			named = append(named, s)
		}
	}
	return named
}

// ServeHTTP implements [http.Handler].
func (c *Collector) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	request := Request{Path: req.URL.Path, Header: req.Header.Clone()}
	var spans []Span
	body, err := bodyOf(req)
	if err == nil {
		request.Body = body
		spans, err = decode(body)
	}
	c.mu.Lock()
	c.requests = append(c.requests, request)
	hold, status := c.hold, c.status
	if err != nil {
		c.faults = append(c.faults, err.Error())
	}
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-req.Context().Done():
			return
		}
	}
	if status != 0 && status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, spans...)
}

func bodyOf(req *http.Request) ([]byte, error) {
	if req.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(req.Body)
	}
	r, err := gzip.NewReader(req.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func decode(body []byte) (spans []Span, err error) {
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		return nil, err
	}
	for _, resource := range data.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				spans = append(spans, spanOf(s, service))
			}
		}
	}
	return spans, nil
}

func spanOf(s *tracepb.Span, service string) Span {
	span := Span{
		Name: s.GetName(), TraceID: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
		Parent: hex.EncodeToString(s.GetParentSpanId()), Service: service, Attributes: make(map[string]string),
		Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
	}
	for _, link := range s.GetLinks() {
		span.Links = append(span.Links, hex.EncodeToString(link.GetSpanId()))
	}
	for _, a := range s.GetAttributes() {
		_, text, _ := strings.Cut(a.GetValue().String(), ":")
		span.Attributes[a.GetKey()] = strings.Trim(text, `"`)
	}
	return span
}
