// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"time"

	"github.com/rickb777/date/period"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/source/deliver"
	"kontain.dev/eventing/pkg/source/schedule"
)

// FromKontainSource takes from an object, whose defaults are set and which is valid,
// when it runs and what its events are.
func FromKontainSource(k *v1alpha1.KontainSource) (Config, error) {
	c := Config{
		Namespace: k.Namespace, Name: k.Name, Suspended: k.Spec.Suspend,
		Policy: k.Spec.ConcurrencyPolicy, State: k.Spec.State != nil,
	}
	c.Type, c.Source = k.EventAttributes()
	if o := k.Spec.CloudEventOverrides; o != nil {
		c.Extensions = o.Extensions
	}
	if d := k.Spec.StartingDeadline; d != nil {
		c.Deadline = d.Duration
	}
	if d := k.Spec.Jitter; d != nil {
		c.Jitter = d.Duration
	}
	switch {
	case k.Spec.Schedule != "":
		s, err := schedule.Cron(k.Spec.Schedule, k.Spec.TimeZone)
		if err != nil {
			return c, fmt.Errorf("spec.schedule %w", err)
		}
		c.When = func(time.Time) schedule.Schedule { return s }
	case k.Spec.Interval != nil:
		c.When = func(begun time.Time) schedule.Schedule { return schedule.Every(begun, k.Spec.Interval.Duration) }
	case k.Spec.Continuous: // it is not asked
	default:
		c.When = schedule.Once
	}
	return c, nil
}

// Policy returns how events are tried. Without a number of attempts they are tried until
// the sink takes them or refuses them for good. The dead letter sink, if there is one,
// must have a URI.
func Policy(d *eventingduckv1.DeliverySpec) (deliver.Policy, error) {
	p := deliver.Policy{Retry: deliver.Forever}
	if d == nil {
		return p, nil
	}
	if d.Retry != nil {
		p.Retry = int(*d.Retry)
	}
	p.Linear = d.BackoffPolicy != nil && *d.BackoffPolicy == eventingduckv1.BackoffPolicyLinear
	for _, f := range []struct {
		name string
		from *string
		to   *time.Duration
	}{
		{"backoffDelay", d.BackoffDelay, &p.Delay},
		{"timeout", d.Timeout, &p.Timeout},
		{"retryAfterMax", d.RetryAfterMax, &p.RetryAfterMax},
	} {
		if f.from == nil {
			continue
		}
		v, err := period.Parse(*f.from)
		if err != nil {
			return p, fmt.Errorf("spec.delivery.%s: %w", f.name, err)
		}
		*f.to, _ = v.Duration()
	}
	if dead := d.DeadLetterSink; dead != nil {
		if dead.URI == nil {
			return p, fmt.Errorf("spec.delivery.deadLetterSink: only a cluster knows what it refers to; write uri: URL")
		}
		p.DeadLetter = &deliver.Target{URL: dead.URI.String()}
		if dead.CACerts != nil {
			p.DeadLetter.CACerts = []byte(*dead.CACerts)
		}
	}
	return p, nil
}
