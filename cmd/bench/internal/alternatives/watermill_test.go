package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

// The first call fails and is repeated, the second event is a duplicate, and the third is no event.
func TestRouter(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = io.WriteString(w, `{"errorCode":0}`)
	}))
	defer server.Close()
	s := settings{topic: "in", deadLetters: "in.dlq", crmURL: server.URL}
	events := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	rejected := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
	r, err := newRouter(s, events, rejected, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	poison, err := rejected.Subscribe(t.Context(), s.deadLetters)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-r.Running()
	for _, text := range []string{sample, sample, "none"} {
		if err := events.Publish(s.topic, message.NewMessage(watermill.NewUUID(), []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	if m := <-poison; string(m.Payload) != "none" {
		t.Errorf("poison %s", m.Payload)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls, want one and its repetition", n)
	}
}

func TestRunWantsOneSystem(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"service"}, {"loop", "watermill"}} {
		if err := run(t.Context(), args, settings{}); err == nil || !strings.Contains(err.Error(), "want loop or watermill") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := settingsFrom(func(name string) string { return strings.TrimPrefix(name, "MEMBERSYNC_") })
	want := settings{
		brokers: "KAFKA_BROKERS", topic: "KAFKA_TOPIC", group: "KAFKA_GROUP", deadLetters: "KAFKA_TOPIC.dlq",
		redisURL: "REDIS_URL", redisPrefix: "REDIS_PREFIX", crmURL: "CRM_BASE_URL", corpID: "CRM_CORP_ID", token: "CRM_TOKEN",
	}
	if s != want {
		t.Errorf("%+v", s)
	}
}
