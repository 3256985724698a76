// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kontain.dev/eventing/pkg/source"
)

const attrSource = "source"

// What becomes of runs, and of events.
const (
	resultSucceeded = "Succeeded"
	resultFailed    = "Failed"
	resultMissed    = "Missed"
	resultReplaced  = "Replaced"
	resultSent      = "Sent"
	resultLost      = "Lost"
)

// Sources has the metrics of an adapter that runs sources.
type Sources struct {
	readers
	late, took metric.Float64Histogram

	mu    sync.Mutex
	stats func() map[string]source.Stats // nil: none yet
	known map[string]struct{}            // sources that have rows of their own in a histogram
}

// NewSources makes the metrics of an adapter. What libraries count with OpenCensus is
// among them.
func NewSources(o Options) (*Sources, error) {
	r, err := newReaders(o)
	if err != nil {
		return nil, err
	}
	m := &Sources{readers: r, known: map[string]struct{}{}}
	if err := m.instruments(); err != nil {
		return nil, errors.Join(fmt.Errorf("metrics: %w", err), m.Shutdown(context.Background()))
	}
	return m, nil
}

// Watch sets where the counts come from: those of each source, by NAMESPACE/NAME.
func (m *Sources) Watch(stats func() map[string]source.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats = stats
}

// Ran returns what records the runs of a source, NAMESPACE/NAME.
func (m *Sources) Ran(name string) func(late, took time.Duration) {
	m.mu.Lock()
	if _, ok := m.known[name]; !ok && len(m.known) >= mostSinks {
		name = "/" + otherSinks
	} else {
		m.known[name] = struct{}{}
	}
	m.mu.Unlock()
	of := metric.WithAttributeSet(attribute.NewSet(sourceAttributes(name)...))
	return func(late, took time.Duration) {
		m.late.Record(context.Background(), late.Seconds(), of)
		m.took.Record(context.Background(), took.Seconds(), of)
	}
}

func sourceAttributes(name string) []attribute.KeyValue {
	namespace, name, _ := strings.Cut(name, "/")
	return []attribute.KeyValue{attribute.String(attrNamespace, namespace), attribute.String(attrSource, name)}
}

func (m *Sources) instruments() error {
	meter := &maker{Meter: m.provider.Meter(Scope)}
	m.late = meter.seconds("kontain.source.run.lateness", "Time from when a run was due until it began.")
	m.took = meter.seconds("kontain.source.run.duration", "Time that a program ran.")
	runs := meter.counter("kontain.source.runs", "{run}", "Runs by what became of them.")
	restarts := meter.counter("kontain.source.restarts", "{start}", "Starts, after its end, of a program that runs on.")
	events := meter.counter("kontain.source.events", "{event}", "Events by what became of them.")
	running := meter.gauge("kontain.source.runs.running", "{run}", "Runs that go on.")
	waiting := meter.gauge("kontain.source.runs.waiting", "{run}", "Runs whose events the sink does not have yet.")
	sources := meter.gauge("kontain.sources", "{source}", "Sources that this adapter runs.")
	return meter.read(func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		stats := m.stats
		m.mu.Unlock()
		if stats == nil {
			return nil
		}
		all := stats()
		for _, row := range foldSources(all) {
			result := func(c metric.Int64ObservableCounter, result string, n uint64) {
				o.ObserveInt64(c, int64(n), withResult(row.attributes, result))
			}
			result(runs, resultSucceeded, row.Runs)
			result(runs, resultFailed, row.Failed)
			result(runs, resultMissed, row.Missed)
			result(runs, resultReplaced, row.Replaced)
			result(events, resultSent, row.Sent)
			result(events, resultLost, row.Lost)
			of := metric.WithAttributeSet(attribute.NewSet(row.attributes...))
			o.ObserveInt64(restarts, int64(row.Restarts), of)
			o.ObserveInt64(running, int64(row.Running), of)
			o.ObserveInt64(waiting, int64(row.Waiting), of)
		}
		o.ObserveInt64(sources, int64(len(all)))
		return nil
	})
}

// sourceRow is what is told of one source, or of all beyond mostSinks.
type sourceRow struct {
	source.Stats
	name       string
	attributes []attribute.KeyValue
}

// foldSources makes rows of the counts of sources, in the order of their names.
func foldSources(all map[string]source.Stats) []*sourceRow {
	rows := make([]*sourceRow, 0, len(all))
	for name, s := range all {
		rows = append(rows, &sourceRow{Stats: s, name: name})
	}
	slices.SortFunc(rows, func(a, b *sourceRow) int { return cmp.Compare(a.name, b.name) })
	if len(rows) > mostSinks {
		other := &sourceRow{name: "/" + otherSinks}
		for _, r := range rows[mostSinks:] {
			other.Runs += r.Runs
			other.Failed += r.Failed
			other.Missed += r.Missed
			other.Replaced += r.Replaced
			other.Restarts += r.Restarts
			other.Sent += r.Sent
			other.Lost += r.Lost
			other.Running += r.Running
			other.Waiting += r.Waiting
		}
		rows = append(rows[:mostSinks], other)
	}
	for _, r := range rows {
		r.attributes = sourceAttributes(r.name)
	}
	return rows
}
