// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package lease hands out virtual machines for events.
package lease

import (
	"context"

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

// Source hands out machines that have never seen an event. Its methods may be
// called from several goroutines.
type Source interface {
	// Lease returns a machine whose program finds env (NAME=value) in its
	// environment, in place of what the sink sets under the same names. The
	// caller closes it. The error is a *vmexec.ProgramError when the program is
	// to blame.
	Lease(ctx context.Context, env []string) (VM, error)
	// Close frees what machines are made from. Every VM must be closed before.
	Close() error
}
