// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"kontain.dev/eventing/pkg/egress/policy"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// Spec says what the machines of a sink run, and what two events may share.
type Spec struct {
	// Scope: sinks of different scopes, such as namespaces, share nothing.
	Scope string

	Program string // absolute path of the executable on this host
	Root    string // absolute path of the folder that the guest sees as /; empty: the program alone
	Owners  string // file that says whose the files of Root are; empty: the host's users'. See vmexec.ImageRoot
	User    vmexec.User
	Name    string   // argv[0]; empty: the program's path in the guest
	Args    []string // arguments after the program's name
	Env     []string // NAME=value
	Dir     string   // working directory in the guest; empty: /
	Streams []int    // descriptors that Ready and Talk reach; see vmexec.ProgramSpec
	State   int      // most bytes of the state file; see vmexec.ProgramSpec. 0: there is none
	Limits  vmexec.Limits

	// Snapshot asks for machines made from a snapshot of the program where it
	// waits for its event. Without it the program is started anew for each.
	Snapshot bool
	// Disk: the snapshot may be kept in a file; without it, it never is. Tag stands
	// for what it depends on that the other fields do not tell.
	Disk bool
	Tag  string
	// Secret: Env or what else the program is given must not come to rest on disk.
	Secret bool
	// Ready, when set, talks with a program that is started until it can take an
	// event; the error is why it never will. Without it a program is ready when it
	// reads stdin. It may be called for several machines at once. Tag stands for it.
	Ready func(context.Context, *talk.Side) error `json:"-"`
	// Warmup are events that are safe to run: each runs once in a machine of its own
	// that is thrown away, so that it is known what memory an event needs. Tag stands
	// for them.
	Warmup []Warmup `json:"-"`
	// Egress is what the program may connect to outside of its machine; see package
	// policy. Empty: nothing.
	Egress []string
	// Tier is VM or Reset; Reset needs a snapshot, and is VM without one.
	Tier    Tier
	outward Outward // as Egress says; set by Workers.New

	// Concurrency is the number of events that may hold a machine at once.
	Concurrency int
	// IdleTime is how long machines are kept without an event.
	IdleTime time.Duration
}

// Warmup is an event that warms up.
type Warmup struct {
	Event []byte                                  // on stdin
	Talk  func(context.Context, *talk.Side) error // or what is said to the program; the error is how that failed
}

// fresh makes a new machine for each event from a program that was read once.
type fresh struct {
	host    *vmexec.Host
	root    *vmexec.Root
	program *vmexec.Program
	limits  vmexec.Limits
	memory  *Memory

	noSnapshot string // why there is none, when one was asked for
	made       atomic.Uint64
	alive      atomic.Int64
}

// NewFresh returns a Source that makes a new machine for each event, which takes
// what it needs of memory. It reads and checks the program; the error is a
// *vmexec.ProgramError when that cannot run. The host must stay open until the
// Source is closed.
func NewFresh(host *vmexec.Host, memory *Memory, spec Spec) (Source, error) {
	return newFresh(host, memory, spec)
}

func newFresh(host *vmexec.Host, memory *Memory, spec Spec) (*fresh, error) {
	if err := memory.fits(spec.Limits.Memory); err != nil {
		return nil, err
	}
	root, program, err := OpenProgram(spec)
	if err != nil {
		return nil, err
	}
	return &fresh{host: host, root: root, program: program, limits: spec.Limits, memory: memory}, nil
}

// OpenRoot opens the folder that a guest sees as /; see Spec.
func OpenRoot(folder, owners string) (*vmexec.Root, error) {
	if owners == "" {
		return vmexec.DirRoot(folder)
	}
	return vmexec.ImageRoot(folder, owners)
}

// OpenProgram reads and checks the program of spec. The error is a
// *vmexec.ProgramError when that cannot run. The caller closes the program, then
// the root.
func OpenProgram(spec Spec) (root *vmexec.Root, program *vmexec.Program, err error) {
	path := spec.Program
	if spec.Root == "" {
		root, err = vmexec.ProgramRoot(path)
	} else {
		rel, relErr := filepath.Rel(spec.Root, path)
		if relErr != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return nil, nil, &vmexec.ProgramError{Path: path, Reason: fmt.Sprintf("it is not inside the root %s; move it there or change root", spec.Root)}
		}
		path = "/" + rel
		root, err = OpenRoot(spec.Root, spec.Owners)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open the root file system: %w", err)
	}
	allowed, err := policy.Parse(spec.Egress)
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	name := path
	if spec.Name != "" {
		name = spec.Name
	}
	program, err = vmexec.NewProgram(vmexec.ProgramSpec{
		Root: root,
		Path: path,
		Args: append([]string{name}, spec.Args...),
		Env:  spec.Env, Secret: spec.Secret,
		Dir: spec.Dir, Streams: spec.Streams, State: spec.State, User: spec.User,
		Outward: len(spec.Egress) > 0, HostLoopback: allowed.Loopback(),
	})
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	return root, program, nil
}

// Lease makes a machine. It waits only for memory.
func (f *fresh) Lease(ctx context.Context, r Request) (VM, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	program, err := f.program.WithEnv(r.Env)
	if err != nil {
		return nil, err
	}
	if err := f.memory.await(ctx, f.limits.Memory, r.Deadline); err != nil {
		return nil, err
	}
	vm, err := f.host.NewVM(program, f.limits)
	if err != nil {
		f.memory.release(f.limits.Memory)
		return nil, fmt.Errorf("make a virtual machine: %w", err)
	}
	f.made.Add(1)
	f.alive.Add(1)
	return &freshVM{VM: vm, f: f}, nil
}

// freshVM is counted until it is closed.
type freshVM struct {
	*vmexec.VM
	f *fresh
}

func (v *freshVM) Close() error {
	defer v.f.alive.Add(-1)
	defer v.f.memory.release(v.f.limits.Memory)
	return v.VM.Close()
}

// Prepare does nothing: what machines are made from is there.
func (f *fresh) Prepare(context.Context) error { return nil }

// Stats counts the machines.
func (f *fresh) Stats() Stats {
	return Stats{Tier: TierVM, NoSnapshot: f.noSnapshot, Alive: int(f.alive.Load()), Made: f.made.Load()}
}

// Close frees the program and its root.
func (f *fresh) Close() error {
	return errors.Join(f.program.Close(), f.root.Close())
}
