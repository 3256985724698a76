// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import "kontain.dev/eventing/vmexec/internal/abi"

// Tracer is told of what a program does. Its methods run on the loop.
type Tracer interface {
	// Enter: a thread makes a call, or makes it again after a wait.
	Enter(t *Thread, nr uint64, a Args, again bool)
	// Leave: the call returned, or has to wait (EBLOCK) and Leave comes again.
	Leave(t *Thread, ret uint64, errno abi.Errno)
	// Gone: the thread has ended, perhaps in a call.
	Gone(t *Thread)
	// Signal: a signal is delivered.
	Signal(t *Thread, sig int, info SigInfo)
	// End: the run is over.
	End(o Outcome)
}

// SetTracer names who is told of the calls; nil: nobody. It is set before Run.
func (k *Kernel) SetTracer(tr Tracer) { k.tracer = tr }
