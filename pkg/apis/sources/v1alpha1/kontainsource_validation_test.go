// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	sinksv1alpha1 "kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

func source(change func(*KontainSource)) *KontainSource {
	s := &KontainSource{
		ObjectMeta: metav1.ObjectMeta{Name: "beat", Namespace: "ns"},
		Spec: KontainSourceSpec{
			SourceSpec:   duckv1.SourceSpec{Sink: duckv1.Destination{URI: apis.HTTP("sink.example")}},
			FunctionSpec: sinksv1alpha1.FunctionSpec{Image: "registry.example/beat"},
			Schedule:     "*/5 * * * *",
		},
	}
	if change != nil {
		change(s)
	}
	s.SetDefaults(context.Background())
	return s
}

func every(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func quantity(s string) *resource.Quantity {
	q := resource.MustParse(s)
	return &q
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*KontainSource)
		want   string // each in a line of its own, in any order; empty: it is valid
	}{
		{"minimal", nil, ""},
		{"by reference", func(s *KontainSource) {
			s.Spec.Sink = duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "v1", Kind: "Service", Name: "x"}}
		}, ""},
		{"interval", func(s *KontainSource) {
			s.Spec.Schedule, s.Spec.Interval, s.Spec.Jitter = "", every(time.Minute), every(time.Second)
		}, ""},
		{"time zone", func(s *KontainSource) { s.Spec.TimeZone = "Europe/Berlin" }, ""},

		{"no name", func(s *KontainSource) { s.Name = "" }, "missing field(s): metadata.name"},
		{"no program", func(s *KontainSource) { s.Spec.Image = "" }, "missing field(s): spec.image"},
		{"no sink", func(s *KontainSource) { s.Spec.Sink = duckv1.Destination{} }, "expected at least one, got none: spec.sink.ref, spec.sink.uri"},
		{"never", func(s *KontainSource) { s.Spec.Schedule = "" }, "got none: spec.continuous, spec.interval, spec.once, spec.schedule"},
		{"two ways", func(s *KontainSource) { s.Spec.Once = true }, "got several: spec.continuous, spec.interval, spec.once, spec.schedule"},
		{"no cron", func(s *KontainSource) { s.Spec.Schedule = "61 * * * *" }, "is no cron expression"},
		{"no zone", func(s *KontainSource) { s.Spec.TimeZone = "Mars/Base" }, `there is no time zone "Mars/Base"`},
		{"a zone without a schedule", func(s *KontainSource) {
			s.Spec.Schedule, s.Spec.Interval, s.Spec.TimeZone = "", every(time.Minute), "UTC"
		}, "timeZone goes with schedule"},
		{"too often", func(s *KontainSource) { s.Spec.Schedule, s.Spec.Interval = "", every(time.Millisecond) }, "invalid value: 1ms: spec.interval"},
		{"jitter of an interval", func(s *KontainSource) {
			s.Spec.Schedule, s.Spec.Interval, s.Spec.Jitter = "", every(time.Minute), every(time.Minute)
		}, "invalid value: 1m0s: spec.jitter"},
		{"deadline", func(s *KontainSource) { s.Spec.StartingDeadline = every(time.Millisecond) }, "spec.startingDeadline"},
		{"contract", func(s *KontainSource) { s.Spec.Contract.Type = sinksv1alpha1.ContractLambda }, "contract lambda is for functions that are given an event"},
		{"asked with GET", func(s *KontainSource) { s.Spec.Contract.Type = sinksv1alpha1.ContractHTTP }, ""},
		{"runs on", func(s *KontainSource) { s.Spec.Schedule, s.Spec.Continuous = "", true }, ""},
		{"runs on and is asked", func(s *KontainSource) {
			s.Spec.Schedule, s.Spec.Continuous, s.Spec.Contract.Type = "", true, sinksv1alpha1.ContractHTTP
		}, "spec.contract.type"},
		{"runs on with a state", func(s *KontainSource) {
			s.Spec.Schedule, s.Spec.Continuous, s.Spec.State = "", true, &State{}
		}, "spec.state"},
		{"runs on with a policy", func(s *KontainSource) {
			s.Spec.Schedule, s.Spec.Continuous, s.Spec.ConcurrencyPolicy = "", true, ConcurrencyForbid
		}, "spec.concurrencyPolicy"},
		{"policy", func(s *KontainSource) { s.Spec.ConcurrencyPolicy = ConcurrencyReplace }, ""},
		{"no policy", func(s *KontainSource) { s.Spec.ConcurrencyPolicy = "allow" }, "spec.concurrencyPolicy"},
		{"state", func(s *KontainSource) { s.Spec.State = &State{Limit: quantity("1Mi")} }, ""},
		{"large state", func(s *KontainSource) { s.Spec.State = &State{Limit: quantity("2Mi")} }, "invalid value: 2Mi: spec.state.limit"},
		{"no state", func(s *KontainSource) { s.Spec.State = &State{Limit: quantity("0")} }, "spec.state.limit"},
		{"state of several at once", func(s *KontainSource) {
			s.Spec.State, s.Spec.ConcurrencyPolicy = &State{}, ConcurrencyAllow
		}, "spec.concurrencyPolicy"},
		{"event types", func(s *KontainSource) { s.Spec.EventTypes = []EventType{{Type: "t", Source: new("/s"), Schema: "/x"}} }, ""},
		{"event type without a type", func(s *KontainSource) { s.Spec.EventTypes = []EventType{{Type: "t"}, {}} }, "spec.eventTypes[1].type"},
		{"schema", func(s *KontainSource) { s.Spec.EventTypes = []EventType{{Type: "t", Schema: "%"}} }, "spec.eventTypes[0].schema"},
		{"many event types", func(s *KontainSource) { s.Spec.EventTypes = make([]EventType, 101) }, "101 types: spec.eventTypes"},
		{"source of the event", func(s *KontainSource) { s.Spec.Event.Source = new("%") }, "spec.event.source"},
		{"type of the event", func(s *KontainSource) { s.Spec.Event.Type = new("") }, "spec.event.type"},
		{"overrides", func(s *KontainSource) {
			s.Spec.CloudEventOverrides = &duckv1.CloudEventOverrides{Extensions: map[string]string{"Not-Valid": "x"}}
		}, "spec.ceOverrides.extensions"},
		{"delivery", func(s *KontainSource) {
			s.Spec.Delivery = &eventingduckv1.DeliverySpec{BackoffDelay: new("5 minutes")}
		}, "spec.delivery.backoffDelay"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := source(c.change).Validate(context.Background())
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	without := source(func(s *KontainSource) { s.Spec.Sink = duckv1.Destination{} })
	if err := without.Validate(AllowNoSink(context.Background())); err != nil {
		t.Errorf("without a sink, where that is allowed: %v", err)
	}
}

// What is not valid any more can still be removed, or have its labels changed.
func TestValidateUpdate(t *testing.T) {
	bad := source(func(s *KontainSource) { s.Spec.Schedule = "" })
	if err := bad.Validate(apis.WithinDelete(context.Background())); err != nil {
		t.Error(err)
	}
	if err := bad.Validate(apis.WithinUpdate(context.Background(), bad.DeepCopy())); err != nil {
		t.Error(err)
	}
	if err := bad.Validate(apis.WithinUpdate(context.Background(), source(nil))); err == nil {
		t.Error("a change for the worse was taken")
	}
}

func TestDefaults(t *testing.T) {
	s := source(func(s *KontainSource) {
		s.Spec.Sink = duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "v1", Kind: "Service", Name: "x"}}
	})
	if s.Spec.Sink.Ref.Namespace != "ns" || s.Spec.Contract.Type != sinksv1alpha1.ContractStdio || s.Spec.Isolation != sinksv1alpha1.IsolationProcess {
		t.Errorf("%+v", s.Spec)
	}
}

func TestCloudEventAttributes(t *testing.T) {
	const own = "/apis/sources.kontain.dev/v1alpha1/namespaces/ns/kontainsources/beat"
	for name, c := range map[string]struct {
		change func(*KontainSource)
		want   []duckv1.CloudEventAttributes
	}{
		"nothing": {nil, []duckv1.CloudEventAttributes{{Type: "dev.kontain.beat.output", Source: own}}},
		"event": {
			func(s *KontainSource) { s.Spec.Event = Event{Type: new("t"), Source: new("/s")} },
			[]duckv1.CloudEventAttributes{{Type: "t", Source: "/s"}},
		},
		"declared": {func(s *KontainSource) {
			s.Spec.EventTypes = []EventType{{Type: "b"}, {Type: "a", Source: new("/a")}, {Type: "b", Description: "once more"}}
		}, []duckv1.CloudEventAttributes{{Type: "b", Source: own}, {Type: "a", Source: "/a"}}},
	} {
		if d := cmp.Diff(c.want, source(c.change).CloudEventAttributes()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestStateLimit(t *testing.T) {
	for want, state := range map[int]*State{0: nil, DefaultStateBytes: {}, 100: {Limit: quantity("100")}} {
		if got := source(func(s *KontainSource) { s.Spec.State = state }).Spec.StateLimit(); got != want {
			t.Errorf("%v: %d, want %d", state, got, want)
		}
	}
}
