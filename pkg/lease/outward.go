// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"log/slog"

	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/pkg/egress/policy"
	"kontain.dev/eventing/vmexec/talk"
)

// Outward begins the network outside for one run of a machine and gives what ends it;
// nil: there is none. egress.Broker.Begin is one.
type Outward func(context.Context) (o talk.Outward, end func())

// begin calls f if it is there.
func (f Outward) begin(ctx context.Context) (o talk.Outward, end func()) {
	if f == nil {
		return nil, func() {}
	}
	return f(ctx)
}

// NewBroker returns what makes the connections of the programs of spec; nil when they
// may have none. The error is a *policy.EntryError.
func NewBroker(spec Spec, r egress.Resolver, log *slog.Logger) (*egress.Broker, error) {
	if len(spec.Egress) == 0 {
		return nil, nil
	}
	p, err := policy.Parse(spec.Egress)
	if err != nil {
		return nil, err
	}
	return egress.New(p, egress.Options{Resolver: r, Logger: log}), nil
}
