// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package samples

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/contract/stdio"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/source"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// feedServer serves a feed, whose entries may be changed.
type feedServer struct {
	*httptest.Server
	mu   sync.Mutex
	text string
	tag  string
	down bool
}

func (f *feedServer) set(text, tag string, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.tag, f.down = text, tag, down
}

func newFeed(t *testing.T) *feedServer {
	f := &feedServer{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case f.down:
			w.WriteHeader(http.StatusBadGateway)
		case r.Header.Get("If-None-Match") == f.tag:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Etag", f.tag)
			_, _ = w.Write([]byte(f.text))
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// start is the event that a program of a source is run with.
func start(t *testing.T) (*event.Event, source.Attributes) {
	t.Helper()
	e := ce.New()
	e.SetID("run")
	e.SetType(source.RunType)
	e.SetSource("/s")
	if err := e.SetData(ce.ApplicationJSON, map[string]string{"due": "2026-11-23T12:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	return &e, source.Attributes{ID: "run", Type: "t", Source: "/s", Time: time.Unix(0, 0)}
}

func stdioContract(t *testing.T) contract.Contract {
	t.Helper()
	c, err := stdio.New(contract.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The feed poller writes each entry once, also the late ones, and after a run that failed
// those of that one.
func TestFeed(t *testing.T) {
	program := contracttest.BuildGo(t, "feed-go")
	feed, err := os.ReadFile("feed-go/feed.xml")
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(feed), "<entry>", `<entry><id>urn:example:news:3</id><title>The third</title><updated>2026-11-23T12:06:00Z</updated></entry><entry>`, 1)
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		server := newFeed(t)
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		m := &source.Machines{Contract: stdioContract(t), Logger: slog.New(slog.DiscardHandler), Source: p.Source(t, lease.Spec{
			Scope: "ns", Program: program, Args: []string{server.URL}, Tier: lease.TierVM, Snapshot: true, State: 1 << 10, Egress: []string{u.Host},
			Concurrency: 1, IdleTime: time.Minute, Limits: vmexec.Limits{Memory: 64 << 20, Wall: 50 * time.Second},
		})}
		e, a := start(t)
		var state []byte
		for n, step := range []struct {
			text, tag string
			down      bool
			titles    []string
			err       string
		}{
			{string(feed), `"1"`, false, []string{"The first one", "The second one"}, ""},
			{string(feed), `"1"`, false, nil, ""},
			{"", "", true, nil, "502 Bad Gateway"},
			{"<feed", `"2"`, false, nil, "unexpected EOF"},
			{more, `"3"`, false, []string{"The third"}, ""},
			{more, `"4"`, false, nil, ""},
		} {
			server.set(step.text, step.tag, step.down)
			o, err := m.Run(t.Context(), e, a, state)
			if step.err != "" {
				if err == nil || !strings.Contains(err.Error(), step.err) {
					t.Errorf("run %d: %v, want %q", n, err, step.err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("run %d: %v", n, err)
			}
			var titles []string
			for _, e := range o.Events {
				var data struct{ Title string }
				if err := json.Unmarshal(e.Data(), &data); err != nil {
					t.Fatal(err)
				}
				titles = append(titles, data.Title)
			}
			if !slices.Equal(titles, step.titles) {
				t.Errorf("run %d: %q, want %q", n, titles, step.titles)
			}
			state = o.State
		}
	})
}

// The sensor writes events as it goes, and one when it is asked to end.
func TestSensor(t *testing.T) {
	program := contracttest.BuildGo(t, "sensor-go")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		m := &source.Streams{Contract: stdioContract(t), Logger: slog.New(slog.DiscardHandler), Source: p.Source(t, lease.Spec{
			Scope: "ns", Program: program, Args: []string{"10ms"}, Tier: lease.TierVM, Streams: source.StreamDescriptors(),
			Ready:       func(context.Context, *talk.Side) error { return nil },
			Concurrency: 1, IdleTime: time.Minute, Limits: vmexec.Limits{Memory: 64 << 20},
		})}
		e, _ := start(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var types []string
		err := m.Run(ctx, e, func(line []byte) error {
			e, err := event.DecodeJSON(line)
			if err != nil {
				return err
			}
			if types = append(types, strings.TrimPrefix(e.Type(), "dev.kontain.samples.sensor.")); len(types) == 3 {
				cancel()
			}
			return nil
		})
		if n := len(types); err != nil || n < 4 || types[0] != "measured" || types[n-1] != "stopped" {
			t.Errorf("%q, %v", types, err)
		}
	})
}
