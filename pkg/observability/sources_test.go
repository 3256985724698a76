// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/source"
)

func newSourceMetrics(t *testing.T) *Sources {
	t.Helper()
	m, err := NewSources(Options{})
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

func TestSources(t *testing.T) {
	m := newSourceMetrics(t)
	if lines := scrape(t, m); lines[`kontain_sources 0`] {
		t.Error("sources are counted before anyone has them")
	}
	m.Watch(func() map[string]source.Stats {
		return map[string]source.Stats{
			"ns/a": {Runs: 1, Failed: 2, Missed: 3, Replaced: 4, Restarts: 5, Running: 6, Sent: 7, Lost: 8, Waiting: 9},
			"ns/b": {Running: 1},
		}
	})
	m.Ran("ns/a")(20*time.Millisecond, 2*time.Second)
	lines := scrape(t, m)
	for _, want := range []string{
		`kontain_source_runs_total{namespace="ns",result="Succeeded",source="a"} 1`,
		`kontain_source_runs_total{namespace="ns",result="Failed",source="a"} 2`,
		`kontain_source_runs_total{namespace="ns",result="Missed",source="a"} 3`,
		`kontain_source_runs_total{namespace="ns",result="Replaced",source="a"} 4`,
		`kontain_source_restarts_total{namespace="ns",source="a"} 5`,
		`kontain_source_runs_running{namespace="ns",source="a"} 6`,
		`kontain_source_events_total{namespace="ns",result="Sent",source="a"} 7`,
		`kontain_source_events_total{namespace="ns",result="Lost",source="a"} 8`,
		`kontain_source_runs_waiting{namespace="ns",source="a"} 9`,
		`kontain_source_runs_running{namespace="ns",source="b"} 1`,
		`kontain_sources 2`,
		`kontain_source_run_lateness_seconds_bucket{namespace="ns",source="a",le="0.01"} 0`,
		`kontain_source_run_lateness_seconds_bucket{namespace="ns",source="a",le="0.025"} 1`,
		`kontain_source_run_duration_seconds_bucket{namespace="ns",source="a",le="2.5"} 1`,
		`kontain_source_run_duration_seconds_sum{namespace="ns",source="a"} 2`,
	} {
		if !lines[want] {
			t.Errorf("there is no line %s", want)
		}
	}
}

// Sources without end do not make rows without end.
func TestManySources(t *testing.T) {
	m := newSourceMetrics(t)
	all := map[string]source.Stats{}
	for i := range mostSinks + 5 {
		name := fmt.Sprintf("ns/s%05d", i)
		all[name] = source.Stats{Runs: 1}
		m.Ran(name)(time.Second, time.Second)
	}
	m.Watch(func() map[string]source.Stats { return all })
	lines := scrape(t, m)
	for _, want := range []string{
		`kontain_source_runs_total{namespace="ns",result="Succeeded",source="s00999"} 1`,
		`kontain_source_runs_total{namespace="",result="Succeeded",source="_other"} 5`,
		`kontain_source_run_duration_seconds_count{namespace="",source="_other"} 5`,
	} {
		if !lines[want] {
			t.Errorf("there is no line %s", want)
		}
	}
}
