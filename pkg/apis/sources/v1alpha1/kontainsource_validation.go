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
)

// Validate returns what is wrong with a source that went through SetDefaults, or
// nil. Deletions, changes of the status and updates that leave the spec alone are
// always right.
func (s *KontainSource) Validate(ctx context.Context) *apis.FieldError {
	if apis.IsInDelete(ctx) || apis.IsInStatusUpdate(ctx) || s.specUnchanged(ctx) {
		return nil
	}
	errs := validateLabel(s.Name, "name").ViaField("metadata")
	if s.Namespace != "" {
		errs = errs.Also(validateLabel(s.Namespace, "namespace").ViaField("metadata"))
	}
	return errs.Also(s.Spec.Validate(ctx).ViaField("spec"))
}

func (s *KontainSource) specUnchanged(ctx context.Context) bool {
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
	if s.Contract.Type != sinksv1alpha1.ContractStdio {
		errs = errs.Also(apis.ErrGeneric(fmt.Sprintf("a source with contract %s is not available in this release; write contract: {type: stdio}", s.Contract.Type), "contract.type"))
	}
	if without, _ := ctx.Value(noSinkKey{}).(bool); without && s.Sink.Ref == nil && s.Sink.URI == nil {
		errs = errs.Also(s.CloudEventOverrides.Validate(ctx).ViaField("ceOverrides"))
	} else {
		errs = errs.Also(s.SourceSpec.Validate(ctx))
	}
	return errs.Also(
		s.validateWhen(),
		s.Event.validate().ViaField("event"),
		s.Delivery.Validate(ctx).ViaField("delivery"),
	)
}

// validateWhen checks the fields that say when the program runs.
func (s *KontainSourceSpec) validateWhen() *apis.FieldError {
	var errs *apis.FieldError
	ways := 0
	for _, set := range []bool{s.Schedule != "", s.Interval != nil, s.Once} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		got := "none"
		if ways > 1 {
			got = "several"
		}
		errs = errs.Also(apis.ErrGeneric("expected exactly one of schedule, interval and once, got "+got, "schedule", "interval", "once"))
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
		if s.Once {
			errs = errs.Also(apis.ErrGeneric("jitter goes with schedule and interval; remove it", "jitter"))
		}
	}
	return errs.Also(validateDuration(s.StartingDeadline, time.Second, MaxStartingDeadline, "startingDeadline"))
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
