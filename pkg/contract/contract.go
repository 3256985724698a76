// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package contract says how a program takes an event and gives its answer. Each
// contract is a package of its own below this one.
package contract

import (
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

// Input is an event in the form that a program takes.
type Input struct {
	Stdin []byte   // the whole of standard input
	Env   []string // NAME=value, for this event alone; a program from a snapshot does not see it
}

// Contract translates between events and one program. Its methods may be
// called from several goroutines.
type Contract interface {
	// Input gives an event the form that the program takes.
	Input(e *event.Event) (Input, error)
	// Outcome makes what the program did with e the outcome of e. The Result
	// is not one of a canceled run.
	Outcome(e *event.Event, r *vmexec.Result) reply.Outcome
}

// ReplySettings complete a reply whose program gave data alone.
type ReplySettings struct {
	Type       string            // attribute type
	Source     string            // attribute source
	Extensions map[string]string // extension attributes
}
