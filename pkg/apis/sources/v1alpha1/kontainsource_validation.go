// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"strconv"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/types"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"knative.dev/pkg/apis"

	sinksv1alpha1 "kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/source/schedule"
)

// Bounds that Validate holds fields to; all are inclusive.
const (
	MinInterval         = time.Second
	MaxInterval         = 365 * 24 * time.Hour
	MaxStartingDeadline = 24 * time.Hour
	MaxAttributeBytes   = 1024
	MaxStateBytes       = 1 << 20
	// MaxClusterStateBytes is the most in a cluster, where it is kept in an object.
	MaxClusterStateBytes = 128 << 10
	MaxEventTypes        = 100
	MaxConcurrentRuns    = 10
)

// DefaultStateBytes is the limit of a state file that names none.
const DefaultStateBytes = 64 << 10

// Validate returns what is wrong with a source that went through SetDefaults, or
// nil. Deletions, changes of the status and updates that leave the spec alone are
// always right.
func (s *KontainSource) Validate(ctx context.Context) *apis.FieldError {
	if apis.IsInDelete(ctx) || apis.IsInStatusUpdate(ctx) || s.SpecUnchanged(ctx) {
		return nil
	}
	errs := validateLabel(s.Name, "name").ViaField("metadata")
	if s.Namespace != "" {
		errs = errs.Also(validateLabel(s.Namespace, "namespace").ViaField("metadata"))
	}
	return errs.Also(s.Spec.Validate(ctx).ViaField("spec"))
}

// SpecUnchanged says whether ctx is that of an update to s which leaves the spec
// as it is.
func (s *KontainSource) SpecUnchanged(ctx context.Context) bool {
	if !apis.IsInUpdate(ctx) {
		return false
	}
	old, ok := apis.GetBaseline(ctx).(*KontainSource)
	return ok && old != nil && equality.Semantic.DeepEqual(old.Spec, s.Spec)
}

func validateLabel(value, field string) *apis.FieldError {
	if value == "" {
		return apis.ErrMissingField(field)
	}
	if msgs := validation.IsDNS1123Label(value); len(msgs) > 0 {
		return invalid(strconv.Quote(value), field, msgs[0])
	}
	return nil
}

func invalid(value, field, allowed string) *apis.FieldError {
	return &apis.FieldError{Message: fmt.Sprintf("invalid value: %s", value), Paths: []string{field}, Details: "allowed: " + allowed}
}

type noSinkKey struct{}

// AllowNoSink returns a context in which Validate accepts a source that does not say
// where its events go: whoever runs it does.
func AllowNoSink(ctx context.Context) context.Context {
	return context.WithValue(ctx, noSinkKey{}, true)
}

// Validate returns what is wrong with the spec, or nil.
func (s *KontainSourceSpec) Validate(ctx context.Context) *apis.FieldError {
	errs := s.FunctionSpec.Validate(ctx)
	switch t := s.Contract.Type; {
	case t != sinksv1alpha1.ContractStdio && t != sinksv1alpha1.ContractHTTP:
		errs = errs.Also(apis.ErrGeneric(fmt.Sprintf("contract %s is for functions that are given an event; a source has contract stdio, or http to be asked with GET", t), "contract.type"))
	case t == sinksv1alpha1.ContractHTTP && s.Continuous:
		errs = errs.Also(apis.ErrGeneric("a program that runs on writes its events to standard output; write contract: {type: stdio}, or interval instead of continuous", "contract.type"))
	}
	if without, _ := ctx.Value(noSinkKey{}).(bool); without && s.Sink.Ref == nil && s.Sink.URI == nil {
		errs = errs.Also(s.CloudEventOverrides.Validate(ctx).ViaField("ceOverrides"))
	} else {
		errs = errs.Also(s.SourceSpec.Validate(ctx))
	}
	return errs.Also(
		s.validateWhen(),
		s.validateRuns(),
		s.Event.validate().ViaField("event"),
		s.validateEventTypes(),
		s.Delivery.Validate(ctx).ViaField("delivery"),
	)
}

// validateWhen checks the fields that say when the program runs.
func (s *KontainSourceSpec) validateWhen() *apis.FieldError {
	var errs *apis.FieldError
	ways := 0
	for _, set := range []bool{s.Schedule != "", s.Interval != nil, s.Once, s.Continuous} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		got := "none"
		if ways > 1 {
			got = "several"
		}
		errs = errs.Also(apis.ErrGeneric("expected exactly one of schedule, interval, once and continuous, got "+got, "schedule", "interval", "once", "continuous"))
	}
	if s.Schedule != "" {
		if _, err := schedule.Cron(s.Schedule, ""); err != nil {
			errs = errs.Also(apis.ErrGeneric(err.Error(), "schedule"))
		}
	}
	if s.TimeZone != "" {
		if _, err := schedule.Zone(s.TimeZone); err != nil {
			errs = errs.Also(apis.ErrGeneric(err.Error(), "timeZone"))
		}
		if s.Schedule == "" {
			errs = errs.Also(apis.ErrGeneric("timeZone goes with schedule; remove it", "timeZone"))
		}
	}
	most := MaxInterval
	if s.Interval != nil {
		errs = errs.Also(validateDuration(s.Interval, MinInterval, MaxInterval, "interval"))
		most = s.Interval.Duration - 1
	}
	if s.Jitter != nil {
		if s.Jitter.Duration < 0 || s.Jitter.Duration > most {
			errs = errs.Also(invalid(s.Jitter.Duration.String(), "jitter", "from 0 to less than the interval"))
		}
		if s.Once || s.Continuous {
			errs = errs.Also(apis.ErrGeneric("jitter goes with schedule and interval; remove it", "jitter"))
		}
	}
	return errs.Also(validateDuration(s.StartingDeadline, time.Second, MaxStartingDeadline, "startingDeadline"))
}

// validateRuns checks the fields that say what runs have to do with each other.
func (s *KontainSourceSpec) validateRuns() *apis.FieldError {
	var errs *apis.FieldError
	switch s.ConcurrencyPolicy {
	case "", ConcurrencyForbid, ConcurrencyReplace:
	case ConcurrencyAllow:
		if s.State != nil {
			errs = errs.Also(apis.ErrGeneric("runs with a state are one after the other, since each begins with what the one before left; write Forbid or Replace, or remove state", "concurrencyPolicy"))
		}
	default:
		errs = errs.Also(invalid(strconv.Quote(string(s.ConcurrencyPolicy)), "concurrencyPolicy", "Allow, Forbid, Replace"))
	}
	if s.State != nil && s.State.Limit != nil {
		if l := s.State.Limit; l.CmpInt64(1) < 0 || l.CmpInt64(MaxStateBytes) > 0 {
			errs = errs.Also(invalid(l.String(), "state.limit", fmt.Sprintf("from 1 to %dMi", MaxStateBytes>>20)))
		}
	}
	if !s.Continuous {
		return errs
	}
	for field, set := range map[string]bool{"state": s.State != nil, "concurrencyPolicy": s.ConcurrencyPolicy != "", "startingDeadline": s.StartingDeadline != nil} {
		if set {
			errs = errs.Also(apis.ErrGeneric(field+" goes with programs that run by a schedule, not with continuous; remove it", field))
		}
	}
	return errs
}

// validateEventTypes checks the types that are declared.
func (s *KontainSourceSpec) validateEventTypes() *apis.FieldError {
	if n := len(s.EventTypes); n > MaxEventTypes {
		return invalid(fmt.Sprintf("%d types", n), "eventTypes", fmt.Sprintf("at most %d", MaxEventTypes))
	}
	var errs *apis.FieldError
	for i, t := range s.EventTypes {
		e := Event{Type: &t.Type, Source: t.Source}
		errs = errs.Also(e.validate().ViaFieldIndex("eventTypes", i))
		if t.Schema != "" && cloudevents.ParseURIRef(t.Schema) == nil {
			errs = errs.Also(invalid(strconv.Quote(t.Schema), "schema", "a URI reference (RFC 3986)").ViaFieldIndex("eventTypes", i))
		}
	}
	return errs
}

func validateDuration(d *metav1.Duration, lowest, highest time.Duration, field string) *apis.FieldError {
	if d == nil || d.Duration >= lowest && d.Duration <= highest {
		return nil
	}
	return invalid(d.Duration.String(), field, fmt.Sprintf("from %v to %v", lowest, highest))
}

func (e *Event) validate() *apis.FieldError {
	var errs *apis.FieldError
	for field, value := range map[string]*string{"type": e.Type, "source": e.Source} {
		switch {
		case value == nil:
		case *value == "":
			errs = errs.Also(apis.ErrGeneric("is empty; give it a value or leave it out", field))
		case len(*value) > MaxAttributeBytes:
			errs = errs.Also(invalid(fmt.Sprintf("%d bytes", len(*value)), field, fmt.Sprintf("at most %d bytes", MaxAttributeBytes)))
		case field == "source" && cloudevents.ParseURIRef(*value) == nil:
			errs = errs.Also(invalid(strconv.Quote(*value), field, "a URI reference (RFC 3986)"))
		}
	}
	return errs
}
