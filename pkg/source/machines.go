// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// Machines runs a program in a virtual machine of its own each time.
type Machines struct {
	// Source is where the machines come from.
	Source lease.Source
	// Contract is how the program takes the event that it is run with: contract stdio, or
	// a contract.Poller.
	Contract contract.Contract
	Logger   *slog.Logger
}

// Run implements Program. An error says why the run failed: nothing of its output is
// taken then.
func (m *Machines) Run(ctx context.Context, e *event.Event, a Attributes, state []byte) (Outcome, error) {
	input, err := m.Contract.Input(e)
	if err != nil {
		return Outcome{}, err
	}
	vm, err := m.Source.Lease(ctx, lease.Request{Env: input.Env})
	if err != nil {
		return Outcome{}, err
	}
	io := vmexec.IO{Event: input.Stdin, State: state}
	p := m.poll(e)
	if p != nil {
		io.Talk = p.hold
	}
	result, err := vm.Run(ctx, io)
	if closed := vm.Close(); closed != nil {
		m.Logger.Error("machine not closed", "error", closed)
	}
	if err != nil {
		return Outcome{}, err
	}
	if len(result.Stderr) > 0 {
		m.Logger.Info("stderr", "run", a.ID, "text", contract.Tail(result.Stderr))
	}
	var o Outcome
	if p != nil {
		o.Events, err = p.events(result, a)
	} else {
		o.Events, err = written(result, a)
	}
	switch {
	case err != nil:
		return Outcome{}, err
	case result.BadState != "":
		return Outcome{}, fmt.Errorf("the program's state file %s cannot be kept: %s", vmexec.StatePath, result.BadState)
	}
	o.State = result.State
	return o, nil
}

// written returns the events that a program has written by its end.
func written(r *vmexec.Result, a Attributes) ([]*event.Event, error) {
	if f := contract.Ended(r); f != nil {
		return nil, f
	}
	return Output(r.Stdout, a)
}

// poll begins to ask a program for events; nil when it is not one that is asked.
func (m *Machines) poll(e *event.Event) *polled {
	if p, ok := m.Contract.(contract.Poller); ok {
		return &polled{poller: p, event: e}
	}
	return nil
}

// polled is what a program is asked, and what it answered.
type polled struct {
	poller contract.Poller
	event  *event.Event

	answer *contract.Answer
	err    error // there was none
}

// hold talks with the program. A machine that was lost before its program began may have
// it called again.
func (p *polled) hold(ctx context.Context, s *talk.Side) {
	p.answer, p.err = nil, nil
	if s.Started() {
		if p.err = p.poller.Ready(ctx, s); p.err != nil {
			return
		}
	}
	p.answer, p.err = p.poller.Poll(ctx, s, p.event)
}

// events returns those of the answer. When there is none, and the program has ended by
// itself or by a limit, that tells more.
func (p *polled) events(r *vmexec.Result, a Attributes) ([]*event.Event, error) {
	switch {
	case p.err == nil && p.answer != nil:
		return Answer(p.answer, a)
	case r.Reason != vmexec.Answered:
		return nil, contract.EndedEarly(r)
	case p.err != nil:
		return nil, p.err
	}
	return nil, errors.New("the program was not asked for events")
}
