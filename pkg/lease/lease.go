// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package lease hands out virtual machines for events: started anew, cloned
// from a snapshot, or reset to it, as the sink's tier asks.
package lease

import (
	"context"
	"errors"
	"time"

	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/vmexec"
)

// VM is a machine that runs one event. *vmexec.VM is one.
type VM interface {
	// Run runs the program to its end. The error is not nil only when the
	// monitor itself failed.
	Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error)
	// Close gives the machine back.
	Close() error
}

// Request is what an event asks for.
type Request struct {
	// Env (NAME=value) is what the program finds in its environment, in place
	// of what the sink sets under the same names. It has no effect on machines
	// made from a snapshot, whose program has its environment already.
	Env []string
	// Deadline is when the event no longer waits for a machine. Zero means that
	// it waits until its context is done.
	Deadline time.Time
}

// ErrTimeout says that no machine was to be had before Request.Deadline.
var ErrTimeout = errors.New("no virtual machine was ready in time")

// Source hands out machines that hold nothing of an earlier event. Its methods
// may be called from several goroutines.
type Source interface {
	// Lease returns a machine, which the caller closes. The error is a
	// *vmexec.ProgramError when the program is to blame, ErrTimeout, or that of
	// a context that is done.
	Lease(ctx context.Context, r Request) (VM, error)
	// Prepare gets ready what an event needs, so that the first one need not wait for
	// it: what machines are made from, and one machine. The errors are those of Lease.
	Prepare(ctx context.Context) error
	// Stats returns a snapshot of the source.
	Stats() Stats
	// Close frees what machines are made from. Every VM must be closed before.
	Close() error
}

// Tier is what two events of a sink may share.
type Tier string

const (
	// TierProcess gives each event a machine in a process that never ran one.
	TierProcess Tier = "Process"
	// TierVM gives each event a machine that never ran one.
	TierVM Tier = "VM"
	// TierReset resets a machine to the snapshot between events.
	TierReset Tier = "Reset"
)

// Stats describes a Source.
type Stats struct {
	// Tier is the tier in use.
	Tier Tier `json:"tier"`
	// Asleep: nothing is held for the sink, until an event comes. What follows is then
	// of the last time that it was awake.
	Asleep bool `json:"asleep,omitempty"`
	// Snapshot says whether machines come from a snapshot; before the first one is made,
	// whether they shall. NoSnapshot is why not, when the sink asked for one.
	Snapshot   bool   `json:"snapshot"`
	NoSnapshot string `json:"noSnapshot,omitempty"`
	// Start is how long the program ran up to the snapshot.
	Start time.Duration `json:"startNs,omitempty"`
	// File is the file that the snapshot came from, in Load, or was written to.
	// NoFile is why it is in none, when the sink asked for one.
	File   string        `json:"file,omitempty"`
	Load   time.Duration `json:"loadNs,omitempty"`
	NoFile string        `json:"noFile,omitempty"`
	// Warmup is what went wrong with the events that warm up.
	Warmup string `json:"warmup,omitempty"`
	// Prepared is the number of machines that wait for an event.
	Prepared int `json:"prepared"`
	// Alive is the number of machines that are prepared, at work, or being made
	// or reset.
	Alive int `json:"alive"`
	// Jail is what holds of its worker processes; nil without them.
	Jail *vmexec.JailReport `json:"jail,omitempty"`
	// Egress counts what programs asked for outside; nil when they may not.
	Egress *egress.Stats `json:"egress,omitempty"`
	// Failing is why no machine can be made at present.
	Failing string `json:"failing,omitempty"`
	// Made counts machines, Resets those that were used once more, and Waited
	// the events that found none prepared.
	Made   uint64 `json:"made"`
	Resets uint64 `json:"resets"`
	Waited uint64 `json:"waited"`
}
