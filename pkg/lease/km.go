// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/km"
	"kontain.dev/eventing/vmexec"
)

// kmSource runs the program of each event under the Kontain monitor.
type kmSource struct {
	config km.Config
	memory *Memory

	made  atomic.Uint64
	alive atomic.Int64
}

// NewKM returns a Source that starts the program anew for each event, under the
// Kontain monitor of the given path: a process of its own that never ran an event,
// whose program finds this machine's files. Of spec, what is about snapshots, roots and
// working directories must not be set. The error is a *vmexec.ProgramError when the
// program is not there.
func NewKM(monitor string, memory *Memory, spec Spec) (Source, error) {
	switch {
	case spec.Snapshot || spec.Tier != TierProcess:
		return nil, errors.New("the Kontain monitor starts a process for each event, and no snapshot")
	case spec.Root != "" || spec.Dir != "" || spec.Name != "":
		return nil, errors.New("the Kontain monitor runs programs of this machine, with its files and their own name")
	}
	if err := memory.fits(spec.Limits.Memory); err != nil {
		return nil, err
	}
	st, err := os.Stat(spec.Program)
	switch {
	case err != nil:
		return nil, &vmexec.ProgramError{Path: spec.Program, Reason: "it could not be opened", Err: err}
	case !st.Mode().IsRegular():
		return nil, &vmexec.ProgramError{Path: spec.Program, Reason: "it is not a regular file"}
	}
	if err := unix.Access(spec.Program, unix.X_OK); err != nil {
		return nil, &vmexec.ProgramError{Path: spec.Program, Reason: "it is not executable (chmod +x would make it so)", Err: err}
	}
	c := km.Config{Monitor: monitor, Program: spec.Program, Args: spec.Args, Env: spec.Env, Limits: spec.Limits}
	return &kmSource{config: c, memory: memory}, nil
}

// Lease waits only for memory: the monitor is started when there is an event.
func (s *kmSource) Lease(ctx context.Context, r Request) (VM, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := s.memory.await(ctx, s.config.Limits.Memory, r.Deadline); err != nil {
		return nil, err
	}
	c := s.config
	c.Env = inPlace(c.Env, r.Env)
	s.made.Add(1)
	s.alive.Add(1)
	return &kmVM{config: c, of: s}, nil
}

// inPlace returns env with the variables of event in place of its own of the same names.
func inPlace(env, event []string) []string {
	return append(slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(event, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	}), event...)
}

// Prepare does nothing: nothing is kept ready.
func (s *kmSource) Prepare(context.Context) error { return nil }

// Stats counts the monitors.
func (s *kmSource) Stats() Stats {
	return Stats{Tier: TierProcess, Alive: int(s.alive.Load()), Made: s.made.Load()}
}

// Close does nothing: there is nothing without an event.
func (s *kmSource) Close() error { return nil }

// kmVM is one run of the monitor.
type kmVM struct {
	config km.Config
	of     *kmSource
	ran    bool
}

// Run runs the program. Of io only Event counts.
func (v *kmVM) Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	if v.ran {
		return nil, errors.New("the Kontain monitor runs one event")
	}
	v.ran = true
	r, err := km.Run(ctx, v.config, io.Event)
	if err != nil {
		return nil, fmt.Errorf("platform KM: %w", err)
	}
	return r, nil
}

// Close gives the memory back.
func (v *kmVM) Close() error {
	v.of.alive.Add(-1)
	v.of.memory.release(v.config.Limits.Memory)
	return nil
}
