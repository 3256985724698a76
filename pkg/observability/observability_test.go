// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opencensus.io/stats"
	"go.opencensus.io/stats/view"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/pkg/reply"
)

func newMetrics(t testing.TB) *Metrics {
	t.Helper()
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// scrape returns the lines that Prometheus reads.
func scrape(t *testing.T, m interface{ Handler() http.Handler }) map[string]bool {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	lines := map[string]bool{}
	for _, l := range strings.Split(w.Body.String(), "\n") {
		lines[l] = true
	}
	return lines
}

func TestMetrics(t *testing.T) {
	m := newMetrics(t)
	m.Watch(func() []dispatcher.Stats {
		return []dispatcher.Stats{
			{
				Sink: "ns/a", Generation: 2, Accepted: 5, Replied: 3, Failed: map[reply.Reason]uint64{reply.QueueFull: 4},
				Queue: queue.Stats{Running: 2, Waiting: 7}, Machines: &lease.Stats{Made: 11, Resets: 13, Alive: 3},
			},
			{Sink: "ns/b", Queue: queue.Stats{Waiting: 1}},
		}
	})
	m.Event(t.Context(), "ns/a", reply.Outcome{}, 20*time.Millisecond)
	m.Event(t.Context(), "ns/a", reply.Outcome{Event: new(event.Event)}, time.Millisecond)
	m.Event(t.Context(), "ns/a", reply.Outcome{Failure: reply.Failf(504, reply.DeadlineExceeded, "late")}, time.Minute)
	m.Refused("ns", "a", reply.Failf(401, reply.Unauthorized, "no token"))
	m.Refused("ns", "a", reply.Failf(401, reply.Unauthorized, "another"))
	m.Refused("ns", "a", reply.Failf(405, reply.MethodNotAllowed, "GET"))
	m.Refused("", "", reply.Failf(404, reply.SinkNotFound, "no such sink"))
	lines := scrape(t, m)
	for _, want := range []string{
		`kontain_events_total{namespace="ns",result="Accepted",sink="a"} 2`,
		`kontain_events_total{namespace="ns",result="Replied",sink="a"} 3`,
		`kontain_events_total{namespace="ns",result="QueueFull",sink="a"} 4`,
		`kontain_events_running{namespace="ns",sink="a"} 2`,
		`kontain_events_waiting{namespace="ns",sink="a"} 7`,
		`kontain_events_in_flight 10`,
		`kontain_sinks{ready="true"} 1`,
		`kontain_sinks{ready="false"} 1`,
		`kontain_machines_made_total{namespace="ns",sink="a"} 11`,
		`kontain_machines_reset_total{namespace="ns",sink="a"} 13`,
		`kontain_machines_alive{namespace="ns",sink="a"} 3`,
		`kontain_event_duration_seconds_bucket{namespace="ns",result="Accepted",sink="a",le="0.025"} 1`,
		`kontain_event_duration_seconds_count{namespace="ns",result="Replied",sink="a"} 1`,
		`kontain_event_duration_seconds_count{namespace="ns",result="DeadlineExceeded",sink="a"} 1`,
		`kontain_requests_refused_total{namespace="ns",reason="Unauthorized",sink="a",status="401"} 2`,
		`kontain_requests_refused_total{namespace="ns",reason="MethodNotAllowed",sink="a",status="405"} 1`,
		`kontain_requests_refused_total{namespace="",reason="SinkNotFound",sink="",status="404"} 1`,
	} {
		if !lines[want] {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		for l := range lines {
			if strings.HasPrefix(l, "kontain") {
				t.Log(l)
			}
		}
	}
}

// TestManySinks holds that rows are bounded, and that nothing is lost by that.
func TestManySinks(t *testing.T) {
	m := newMetrics(t)
	m.Watch(func() (all []dispatcher.Stats) {
		for i := range mostSinks + 500 {
			all = append(all, dispatcher.Stats{Sink: fmt.Sprintf("ns/s%05d", i), Accepted: 1, Queue: queue.Stats{Running: 1}})
		}
		return all
	})
	for i := range mostSinks + 500 {
		m.Event(t.Context(), fmt.Sprintf("ns/s%05d", i), reply.Outcome{}, time.Millisecond)
	}
	counts := 0
	lines := scrape(t, m)
	for l := range lines {
		if strings.HasPrefix(l, "kontain_event_duration_seconds_count") {
			counts++
		}
	}
	if counts > mostSinks+2 {
		t.Errorf("%d histograms", counts)
	}
	for _, want := range []string{
		`kontain_events_total{namespace="",result="Accepted",sink="_other"} 500`,
		fmt.Sprintf("kontain_events_in_flight %d", mostSinks+500),
	} {
		if !lines[want] {
			t.Errorf("missing: %s", want)
		}
	}
}

// TestOpenCensus holds that what a library counts with OpenCensus is told too.
func TestOpenCensus(t *testing.T) {
	measure := stats.Int64("library", "what a library counts", stats.UnitDimensionless)
	v := &view.View{Name: "library/things", Description: "things", Measure: measure, Aggregation: view.Count()}
	if err := view.Register(v); err != nil {
		t.Fatal(err)
	}
	defer view.Unregister(v)
	m := newMetrics(t)
	stats.Record(t.Context(), measure.M(1), measure.M(1))
	// OpenCensus counts in a goroutine of its own.
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		found := ""
		for l := range scrape(t, m) {
			if strings.HasPrefix(l, "library_things") {
				found = l
			}
		}
		if strings.HasSuffix(found, " 2") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("found %q", found)
		}
	}
}

func BenchmarkMetricsEvent(b *testing.B) {
	m := newMetrics(b)
	o := reply.Outcome{}
	b.ReportAllocs()
	for b.Loop() {
		m.Event(b.Context(), "ns/a", o, time.Millisecond)
	}
}
