// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"log/slog"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// Machines runs a program in a virtual machine of its own each time.
type Machines struct {
	// Source is where the machines come from.
	Source lease.Source
	// Contract is how the program takes the event that it is run with: contract stdio.
	Contract contract.Contract
	Logger   *slog.Logger
}

// Run implements Program. An error says why the run failed: nothing of its output is
// taken then.
func (m *Machines) Run(ctx context.Context, e *event.Event, a Attributes) ([]*event.Event, error) {
	input, err := m.Contract.Input(e)
	if err != nil {
		return nil, err
	}
	vm, err := m.Source.Lease(ctx, lease.Request{Env: input.Env})
	if err != nil {
		return nil, err
	}
	result, err := vm.Run(ctx, vmexec.IO{Event: input.Stdin})
	if closed := vm.Close(); closed != nil {
		m.Logger.Error("machine not closed", "error", closed)
	}
	if err != nil {
		return nil, err
	}
	if len(result.Stderr) > 0 {
		m.Logger.Info("stderr", "run", a.ID, "text", contract.Tail(result.Stderr))
	}
	if f := contract.Ended(result); f != nil {
		return nil, f
	}
	return Output(result.Stdout, a)
}
