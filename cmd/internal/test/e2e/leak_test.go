package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/otlp/otlptest"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// TestNoPersonalDataLeaks sends canaries through everything that can happen to an event. It then
// searches everything except the places where they belong: the CRM, and keys and values of records.
func TestNoPersonalDataLeaks(t *testing.T) {
	t.Parallel()
	tap, collector := &tokenTap{tokens: make(map[string]bool)}, otlptest.Start(t)
	r := newRig(t, setup{partitions: 3, crm: canaryOptions(), front: tap.front, redisPassword: secrets()["REDIS_PASSWORD"]})
	delete(r.Variables, "CRM_TOKEN") // the second instance fetches its tokens
	maps.Copy(r.Variables, map[string]string{
		"KAFKA_MAX_RECORD_BYTES": "16KiB", "LOG_LEVEL": "debug", "CRM_TIMEOUT": "1s", "CRM_RETRY_BUDGET": "1s",
		"CRM_ERROR_CODES":             "201112011:poison:crm_rejected",
		"STATE_KEY":                   secrets()["STATE_KEY"],
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL,
	})
	both := []*process{
		r.start(map[string]string{"CRM_TOKEN": secrets()["CRM_TOKEN"]}),
		r.start(map[string]string{
			"CRM_APP_ID": "app-of-the-test", "CRM_APP_SECRET": secrets()["CRM_APP_SECRET"],
			"CRM_PERMANENT_CODE": secrets()["CRM_PERMANENT_CODE"],
		}),
	}
	for _, p := range both {
		p.awaitReady()
	}
	h := &haystack{t: t}
	r.produce(canaryRecords())
	r.settle()
	// Alone: a request that is given up while it is blocked would use up the fault of its member.
	r.CRM.Block(crmapitest.BeforeEffect)
	r.produce([]outcome.Record{openRecord()})
	r.CRM.await("a call to be open", func(s crmapitest.Stats) bool { return s.Blocked > 0 })
	h.addStores(r)
	h.addAdmin(both)
	r.CRM.Release()
	r.settle()
	h.addStores(r)
	h.addAdmin(both)
	for i, p := range both {
		p.Stop()
		h.add(fmt.Sprintf("the output of instance %d", i+1), p.Err.String())
	}
	h.addTopics(r)
	for _, upload := range collector.Requests() {
		h.add("spans", string(upload.Body))
	}
	wantEveryPath(r, h, len(tap.seen()))
	needles := canaryNeedles(tap.seen())
	ids := slices.Concat(needlesFor("an openUserId", "FSUID_TEST"), needlesFor("an event id", "event-of-test"))
	for _, finds := range [][]string{h.search(needles, ""), h.search(ids, "redis"), h.search(ids, "/metrics")} {
		if len(finds) > 0 {
			t.Errorf("personal data or secrets where they must not be: %q", finds)
		}
	}
	wantPlantedFound(r, needles)
}

// wantPlantedFound plants canaries in each searched place and checks that they are found.
func wantPlantedFound(r *rig, needles []needle) {
	r.t.Helper()
	ctx, value := r.t.Context(), []byte(stem)
	r.redis.HSet(ctx, r.redis.prefix+":planted", "field", value)
	r.redis.Set(ctx, r.redis.prefix+":"+stem, "value", time.Minute)
	for _, topic := range []string{".dlq", ".redrive", ".audit"} {
		r.Broker.Produce(r.t, r.Topic+topic, kafka.Message{Headers: []kafka.Header{{Key: "planted", Value: value}}})
	}
	h := &haystack{t: r.t}
	h.addStores(r)
	h.addTopics(r)
	want := []string{"a header of .audit", "a header of .dlq", "a header of .redrive", "redis", "redis"}
	for i := range want {
		want[i] += " holds a canary"
	}
	if d := cmp.Diff(want, slices.Sorted(slices.Values(h.search(needles, "")))); d != "" {
		r.t.Errorf("planted and found: %s", d)
	}
}

// canaryNeedles returns all spellings of the canaries.
func canaryNeedles(tokens []string) []needle {
	needles := needlesFor("a canary", stem)
	for field, value := range canaries() {
		if text := strings.Trim(fmt.Sprint(value), "[]"); !strings.HasPrefix(text, stem) {
			needles = append(needles, needlesFor(field, text)...)
		}
	}
	for _, token := range tokens {
		needles = append(needles, needlesFor("a token", token)...)
	}
	return needles
}

// A haystack is all text that the service has written.
type haystack struct {
	t     *testing.T
	parts []part
}

type part struct{ where, text string }

func (h *haystack) add(where, text string) { h.parts = append(h.parts, part{where, text}) }

// addStores adds all keys of Redis with their values, and the metadata of the committed offsets.
func (h *haystack) addStores(r *rig) {
	h.t.Helper()
	ctx := h.t.Context()
	for _, key := range r.redis.keys(ctx) {
		texts := []string{key}
		switch kind := r.redis.Type(ctx, key).Val(); kind {
		case "string":
			texts = append(texts, r.redis.Get(ctx, key).Val())
		case "hash":
			for name, value := range r.redis.HGetAll(ctx, key).Val() {
				texts = append(texts, name, value)
			}
		case "zset":
			texts = append(texts, r.redis.ZRange(ctx, key, 0, -1).Val()...)
		case "none": // expired since then
		default:
			h.t.Errorf("a key of type %s, which this test cannot read", kind)
		}
		h.add("redis", strings.Join(texts, "\n"))
	}
	for _, c := range r.Broker.Commits(h.t, r.Group, r.Topic) {
		h.add("the metadata of a committed offset", c.Metadata)
	}
}

func (h *haystack) addAdmin(processes []*process) {
	h.t.Helper()
	for _, p := range processes {
		for _, path := range []string{"/metrics", "/readyz", "/livez"} {
			_, body := p.get(path)
			h.add(path, body)
		}
	}
}

// addTopics adds the headers of membersync's own topics. Key and value are the source's.
func (h *haystack) addTopics(r *rig) {
	h.t.Helper()
	for _, topic := range []string{".dlq", ".redrive", ".audit"} {
		for _, m := range r.Broker.ReadAll(h.t, r.Topic+topic) {
			for _, header := range m.Headers {
				h.add("a header of "+topic, header.Key+": "+string(header.Value))
			}
		}
	}
}

// search returns the needles found in all parts, or in those of one place, with their places.
func (h *haystack) search(needles []needle, where string) []string {
	var finds []string
	for _, p := range h.parts {
		if where != "" && p.where != where {
			continue
		}
		for _, what := range found(needles, []byte(p.text)) {
			finds = append(finds, p.where+" holds "+what)
		}
	}
	return finds
}

// wantEveryPath checks that the test reached all places that might leak.
func wantEveryPath(r *rig, h *haystack, tokens int) {
	r.t.Helper()
	reasons, text := make(map[string]bool), make(map[string]string)
	for _, p := range h.parts {
		if reason, ok := strings.CutPrefix(p.text, "dlq.reason: "); ok {
			reasons[reason] = true
		}
		text[p.where] += p.text
	}
	want := []string{"crm_invalid", "crm_not_found", "crm_rejected", "invalid_event", "invalid_field", "malformed", "oversized"}
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(reasons))); d != "" {
		r.t.Errorf("reasons of dead letters: %s", d)
	}
	for where, holds := range map[string][]string{
		"the output of instance 1": {`"level":"DEBUG"`},
		"redis":                    {"lease", "}:f", "}:d", "v:mobile", "d:mobile"},
		"/metrics":                 {"membersync_crm_calls_total"},
		"spans":                    {"acquire", "renew", "complete", "call", "dead letter", "crm_rejected", "oversized", member(1)},
	} {
		for _, word := range holds {
			if !strings.Contains(text[where], word) {
				r.t.Errorf("%s lacks %s: the test checks too little", where, word)
			}
		}
	}
	logs := text["the output of instance 1"] + text["the output of instance 2"]
	for _, class := range []string{"transient", "unacknowledged", "poison"} {
		if !strings.Contains(logs, `"class":"`+class+`"`) {
			r.t.Errorf("no call has failed as %s: the test checks too little", class)
		}
	}
	if tokens != 2 { // the static one and the fetched one
		r.t.Errorf("the CRM received %d tokens, want 2", tokens)
	}
	for field := range canaries() {
		if len(r.CRM.State(member(1))[field]) == 0 {
			r.t.Errorf("the CRM never got %s", field)
		}
	}
}

// TestLeakIsFound plants a canary in each place.
func TestLeakIsFound(t *testing.T) {
	t.Parallel()
	needles := canaryNeedles([]string{"TOKEN_MADEUP0000"})
	for _, text := range []string{
		fmt.Sprint(`"error":"duplicate mobile `, canaries()["mobile"], `"`), `traceId=9070503010203`, secrets()["CRM_APP_SECRET"],
		"[907050303344]", `{"email":"zqcanary-email"}`, "TOKEN_MADEUP0000",
	} {
		if len(found(needles, []byte(text))) == 0 {
			t.Errorf("nothing found in %s", text)
		}
	}
}

// A tokenTap records the tokens that the CRM receives: fetched ones have no name known to the test.
type tokenTap struct {
	mu     sync.Mutex
	tokens map[string]bool
}

func (tap *tokenTap) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		var call struct {
			Token string `json:"corpAccessToken"`
		}
		if err == nil && json.Unmarshal(body, &call) == nil && call.Token != "" {
			tap.note(call.Token)
		}
		next.ServeHTTP(w, req)
	})
}

func (tap *tokenTap) note(token string) {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	tap.tokens[token] = true
}

func (tap *tokenTap) seen() []string {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return slices.Sorted(maps.Keys(tap.tokens))
}
