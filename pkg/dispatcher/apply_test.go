// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package dispatcher

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"kontain.dev/eventing/pkg/reply"
)

// TestApply holds that sinks change one by one, and that one whose program starts slowly
// holds up no other.
func TestApply(t *testing.T) {
	release := make(chan struct{})
	w := &world{source: func(s Sink) error {
		if s.Program == "slow" {
			<-release
		}
		if s.Program == "broken" {
			return errors.New("it is broken")
		}
		return nil
	}}
	d := New(w.options())
	answer := func(name string) string {
		replies, f := d.Dispatch(t.Context(), "ns", name, testEvents(t, 1))
		if f != nil {
			return string(f.Reason)
		}
		return string(replies[0].Data())
	}
	if err := d.Apply(testSink("a", "one")); err != nil {
		t.Fatal(err)
	}
	var slow sync.WaitGroup
	slow.Go(func() {
		if err := d.Apply(testSink("b", "slow")); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(60 * time.Second); !d.Has("ns", "b"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a sink that is being made is not known")
		}
	}
	if got := answer("b"); got != string(reply.NotReady) {
		t.Errorf("b: %s", got)
	}
	if err := d.Apply(testSink("a", "two")); err != nil {
		t.Fatal(err)
	}
	if got := answer("a"); got != "two" {
		t.Errorf("a: %s", got)
	}
	close(release)
	slow.Wait()
	if got := answer("b"); got != "slow" {
		t.Errorf("b: %s", got)
	}
	var failed *SinkError
	if err := d.Apply(testSink("a", "broken")); !errors.As(err, &failed) || !failed.Kept {
		t.Errorf("a generation that cannot be made: %v", err)
	}
	if got := answer("a"); got != "two" {
		t.Errorf("a: %s", got)
	}
	if st, ok := d.SinkStats("ns", "a"); !ok || st.Generation != 2 || st.Error != "it is broken" {
		t.Errorf("%+v, %v", st, ok)
	}
	d.Remove("ns", "a")
	d.Remove("ns", "absent")
	if got := answer("a"); got != string(reply.SinkNotFound) {
		t.Errorf("a: %s", got)
	}
	if _, ok := d.SinkStats("ns", "a"); ok {
		t.Error("there are counts of a sink that was removed")
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.Apply(testSink("a", "one")); !errors.Is(err, errDraining) {
		t.Errorf("after Close: %v", err)
	}
	if n := w.sources.Load(); n != 0 {
		t.Errorf("%d sources are open", n)
	}
}

// noted is an Observer.
type noted struct {
	sink    string
	outcome reply.Outcome
	took    time.Duration
}

func (n *noted) Event(_ context.Context, sink string, o reply.Outcome, took time.Duration) {
	*n = noted{sink, o, took}
}

// TestObserved holds that each event is told of, and has spans where it is traced.
func TestObserved(t *testing.T) {
	w := &world{}
	var n noted
	o := w.options()
	o.Observer = &n
	d := New(o)
	if err := d.Apply(testSink("a", "one")); err != nil {
		t.Fatal(err)
	}
	if _, f := d.Dispatch(t.Context(), "ns", "a", testEvents(t, 1)); f != nil {
		t.Fatal(f)
	}
	if n.sink != "ns/a" || n.outcome.Event == nil || n.took <= 0 {
		t.Errorf("%+v", n)
	}
	exported := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exported))
	ctx, span := provider.Tracer("t").Start(t.Context(), "receive")
	if _, f := d.Dispatch(ctx, "ns", "a", testEvents(t, 1)); f != nil {
		t.Fatal(f)
	}
	span.End()
	var names []string
	for _, s := range exported.GetSpans() {
		names = append(names, s.Name)
		if s.Name != "receive" && s.Parent.SpanID() != span.SpanContext().SpanID() {
			t.Errorf("%s is a part of %s", s.Name, s.Parent.SpanID())
		}
	}
	if want := []string{"queue", "restore", "run", "receive"}; len(names) != 4 || names[0] != want[0] || names[1] != want[1] || names[2] != want[2] || names[3] != want[3] {
		t.Errorf("spans %q", names)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
