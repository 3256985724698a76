// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package observability counts what becomes of events, for Prometheus and for any other
// reader of OpenTelemetry. Most of it is read from what the dispatcher counts anyway, at
// the moment that it is asked for: an event costs one record of a histogram.
package observability

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/bridge/opencensus"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/reply"
)

// Scope is the instrumentation scope of metrics and spans.
const Scope = "kontain.dev/eventing"

// mostSinks is how many sinks have rows of their own. What is beyond counts together, so
// that tenants who make sinks without end do not fill the memory of those who read.
const mostSinks = 1000

// mostRows bounds the rows of one instrument, of which a sink has one for each result.
const mostRows = (mostSinks + 1) * 32

// otherSinks is the name that the sinks beyond count under, in no namespace.
const otherSinks = "_other"

// Names of attributes. A result is Accepted, Replied or a reply.Reason.
const (
	attrNamespace = "namespace"
	attrSink      = "sink"
	attrResult    = "result"
	attrReason    = "reason"
	attrStatus    = "status"

	resultAccepted = "Accepted"
	resultReplied  = "Replied"
)

// bounds are the upper bounds of the histogram's buckets, in seconds: a machine that is
// prepared answers within a millisecond, a program that is started within seconds.
var bounds = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

// Options say what to measure for.
type Options struct {
	// Resource describes this process.
	Resource *resource.Resource
	// Provider makes the provider of meters, with other readers beside those of the
	// options it is given; nil: without others.
	Provider func(...sdk.Option) (metric.MeterProvider, error)
}

// readers are who reads the metrics of a process.
type readers struct {
	provider metric.MeterProvider
	registry *prometheus.Registry
}

// Metrics has the metrics of a receiver. It is a dispatcher.Observer.
type Metrics struct {
	readers
	latency metric.Float64Histogram
	refused metric.Int64Counter

	mu    sync.RWMutex
	stats func() []dispatcher.Stats // nil: none yet
	sinks map[string]sinkOptions    // by NAMESPACE/NAME
}

// sinkOptions are the attributes of a sink's events, made once: those accepted without a
// reply, with one, and those that failed by reason.
type sinkOptions struct {
	accepted, replied metric.RecordOption
	failed            *sync.Map // reply.Reason to metric.RecordOption
	base              []attribute.KeyValue
}

// New makes the metrics of a receiver. What libraries count with OpenCensus is among them.
func New(o Options) (*Metrics, error) {
	r, err := newReaders(o)
	if err != nil {
		return nil, err
	}
	m := &Metrics{readers: r, sinks: map[string]sinkOptions{}}
	if err := m.instruments(); err != nil {
		return nil, errors.Join(fmt.Errorf("metrics: %w", err), m.Shutdown(context.Background()))
	}
	return m, nil
}

func newReaders(o Options) (r readers, err error) {
	r.registry = prometheus.NewRegistry()
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := exporter.New(exporter.WithRegisterer(r.registry), exporter.WithoutScopeInfo(), exporter.WithProducer(opencensus.NewMetricProducer()))
	if err != nil {
		return r, fmt.Errorf("metrics for Prometheus: %w", err)
	}
	options := []sdk.Option{sdk.WithReader(reader), sdk.WithCardinalityLimit(mostRows)}
	if o.Resource != nil {
		options = append(options, sdk.WithResource(o.Resource))
	}
	if o.Provider == nil {
		o.Provider = func(options ...sdk.Option) (metric.MeterProvider, error) {
			return sdk.NewMeterProvider(options...), nil
		}
	}
	if r.provider, err = o.Provider(options...); err != nil {
		return r, fmt.Errorf("metrics: %w", err)
	}
	return r, nil
}

// Watch sets where the counts come from.
func (m *Metrics) Watch(stats func() []dispatcher.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats = stats
}

// Handler answers Prometheus.
func (r *readers) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 30 * time.Second})
}

// Shutdown sends what has not been sent, and ends.
func (r *readers) Shutdown(ctx context.Context) error {
	if p, ok := r.provider.(interface{ Shutdown(context.Context) error }); ok {
		return p.Shutdown(ctx)
	}
	return nil
}

// Event records how long an event took, from its reading to its outcome.
func (m *Metrics) Event(ctx context.Context, sink string, o reply.Outcome, took time.Duration) {
	options := m.options(sink)
	m.latency.Record(ctx, took.Seconds(), options.of(o))
}

// Refused counts a request whose events no sink was given. The name of its sink is empty
// where there is no such sink: what strangers write into paths makes no rows.
func (m *Metrics) Refused(namespace, name string, f *reply.Failure) {
	base := m.options(namespace + "/" + name).base
	m.refused.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(append(base[:len(base):len(base)],
		attribute.String(attrReason, string(f.Reason)), attribute.Int(attrStatus, f.Status))...)))
}

func (m *Metrics) options(sink string) sinkOptions {
	m.mu.RLock()
	o, ok := m.sinks[sink]
	m.mu.RUnlock()
	if ok {
		return o
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.sinks[sink]; ok {
		return o
	}
	if len(m.sinks) > mostSinks {
		sink = "/" + otherSinks
		if o, ok := m.sinks[sink]; ok {
			return o
		}
	}
	o = newSinkOptions(sink)
	m.sinks[sink] = o
	return o
}

func newSinkOptions(sink string) sinkOptions {
	base := attributes(sink)
	return sinkOptions{accepted: withResult(base, resultAccepted), replied: withResult(base, resultReplied), failed: &sync.Map{}, base: base}
}

func (o *sinkOptions) of(outcome reply.Outcome) metric.RecordOption {
	switch {
	case outcome.Failure != nil:
		reason := outcome.Failure.Reason
		if known, ok := o.failed.Load(reason); ok {
			return known.(metric.RecordOption)
		}
		made := withResult(o.base, string(reason))
		o.failed.Store(reason, made)
		return made
	case outcome.Event != nil:
		return o.replied
	}
	return o.accepted
}

func withResult(base []attribute.KeyValue, result string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(base[:len(base):len(base)], attribute.String(attrResult, result))...))
}

func attributes(sink string) []attribute.KeyValue {
	namespace, name, _ := strings.Cut(sink, "/")
	return []attribute.KeyValue{attribute.String(attrNamespace, namespace), attribute.String(attrSink, name)}
}

// maker makes the instruments that are read when somebody asks, and keeps their errors.
type maker struct {
	metric.Meter
	errs []error
	all  []metric.Observable
}

func (m *maker) counter(name, unit, about string) metric.Int64ObservableCounter {
	c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(about))
	m.errs, m.all = append(m.errs, err), append(m.all, c)
	return c
}

func (m *maker) gauge(name, unit, about string) metric.Int64ObservableGauge {
	g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(about))
	m.errs, m.all = append(m.errs, err), append(m.all, g)
	return g
}

func (m *maker) seconds(name, about string) metric.Float64Histogram {
	h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(bounds...), metric.WithDescription(about))
	m.errs = append(m.errs, err)
	return h
}

// read has the instruments filled by f.
func (m *maker) read(f metric.Callback) error {
	if err := errors.Join(m.errs...); err != nil {
		return err
	}
	_, err := m.RegisterCallback(f, m.all...)
	return err
}

// instruments makes the instruments, most of which ask the dispatcher.
func (m *Metrics) instruments() (err error) {
	meter := &maker{Meter: m.provider.Meter(Scope)}
	counter, gauge := meter.counter, meter.gauge
	m.latency = meter.seconds("kontain.event.duration", "Time from the reading of an event to its outcome, waiting included.")
	m.refused, err = meter.Int64Counter("kontain.requests.refused", metric.WithUnit("{request}"),
		metric.WithDescription("Requests whose events no sink was given: malformed, too large, not allowed, or for no sink."))
	meter.errs = append(meter.errs, err)
	events := counter("kontain.events", "{event}", "Events by what became of them.")
	running := gauge("kontain.events.running", "{event}", "Events in virtual machines.")
	waiting := gauge("kontain.events.waiting", "{event}", "Events that wait for a virtual machine.")
	flight := gauge("kontain.events.in_flight", "{event}", "Events of all sinks that run or wait: what to scale receivers by.")
	sinks := gauge("kontain.sinks", "{sink}", "Sinks, by whether one is ready.")
	made := counter("kontain.machines.made", "{machine}", "Virtual machines that were started or restored from a snapshot.")
	resets := counter("kontain.machines.reset", "{machine}", "Virtual machines that were reset to their snapshot for another event.")
	alive := gauge("kontain.machines.alive", "{machine}", "Virtual machines that are prepared, at work, or being made or reset.")
	return meter.read(func(_ context.Context, o metric.Observer) error {
		m.mu.RLock()
		stats := m.stats
		m.mu.RUnlock()
		if stats == nil {
			return nil
		}
		all := stats()
		total, ready := 0, 0
		for _, row := range fold(all) {
			of := metric.WithAttributeSet(attribute.NewSet(row.attributes...))
			for result, n := range row.results {
				o.ObserveInt64(events, n, withResult(row.attributes, result))
			}
			o.ObserveInt64(running, int64(row.running), of)
			o.ObserveInt64(waiting, int64(row.waiting), of)
			o.ObserveInt64(made, row.made, of)
			o.ObserveInt64(resets, row.resets, of)
			o.ObserveInt64(alive, int64(row.alive), of)
			total += row.running + row.waiting
			ready += row.ready
		}
		o.ObserveInt64(flight, int64(total))
		o.ObserveInt64(sinks, int64(ready), metric.WithAttributes(attribute.Bool("ready", true)))
		o.ObserveInt64(sinks, int64(len(all)-ready), metric.WithAttributes(attribute.Bool("ready", false)))
		return nil
	})
}

// row is what is told of one sink, or of all beyond mostSinks.
type row struct {
	attributes              []attribute.KeyValue
	results                 map[string]int64
	running, waiting, alive int
	made, resets            int64
	ready                   int
}

// fold makes rows of the counts of sinks.
func fold(all []dispatcher.Stats) []*row {
	var rows []*row
	for i, st := range all {
		if i <= mostSinks {
			sink := st.Sink
			if i == mostSinks {
				sink = "/" + otherSinks
			}
			rows = append(rows, &row{attributes: attributes(sink), results: map[string]int64{}})
		}
		r := rows[len(rows)-1]
		r.results[resultAccepted] += int64(st.Accepted - st.Replied)
		r.results[resultReplied] += int64(st.Replied)
		for reason, n := range st.Failed {
			r.results[string(reason)] += int64(n)
		}
		r.running += st.Queue.Running
		r.waiting += st.Queue.Waiting
		if m := st.Machines; m != nil {
			r.made += int64(m.Made)
			r.resets += int64(m.Resets)
			r.alive += m.Alive
		}
		if st.Generation > 0 {
			r.ready++
		}
	}
	return rows
}
