// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package platform

// Unbinder is a Machine that keeps state which only the OS thread of Bind can
// reach. Unbind, called on that thread after a series of runs, makes the vector
// state of every context current.
type Unbinder interface {
	Unbind() error
}

// CPUTimer is a Machine whose guest does not run on the OS thread of Bind.
type CPUTimer interface {
	// CPUTime returns the processor time that the guest has used so far, in
	// nanoseconds. It belongs to the run loop.
	CPUTime() int64
}

// Toucher is a Machine that can bring pages into its translations before a
// program runs, at a fraction of what the program's own first touch costs.
type Toucher interface {
	// Touch reads the pages at the virtual addresses, and writes what is there to
	// those with bit 0 set. It must not be called during a run; pages that are
	// not there end it early, which is no error.
	Touch(pages []uint64) error
}

// Unavailable says why a platform cannot be used on this machine.
type Unavailable struct {
	Reason string // what is missing
	Hint   string // what the operator can do; may be empty
	Err    error  // the cause; may be nil
}

func (e *Unavailable) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

func (e *Unavailable) Unwrap() error { return e.Err }
