// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"kontain.dev/eventing/vmexec"
)

// Spec says what the machines of a sink run.
type Spec struct {
	Program string   // absolute path of the executable on this host
	Root    string   // absolute path of the folder that the guest sees as /; empty: the program alone
	Args    []string // arguments after the program's name
	Env     []string // NAME=value
	Limits  vmexec.Limits
}

// fresh makes a new machine for each event from a program that was read once.
type fresh struct {
	host    *vmexec.Host
	root    *vmexec.Root
	program *vmexec.Program
	spec    vmexec.ProgramSpec
	limits  vmexec.Limits
}

// NewFresh returns a Source that makes a new machine for each event. It reads
// and checks the program; the error is a *vmexec.ProgramError when that cannot
// run. The host must stay open until the Source is closed.
func NewFresh(host *vmexec.Host, spec Spec) (Source, error) {
	path := spec.Program
	var root *vmexec.Root
	var err error
	if spec.Root == "" {
		root, err = vmexec.ProgramRoot(path)
	} else {
		rel, relErr := filepath.Rel(spec.Root, path)
		if relErr != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return nil, &vmexec.ProgramError{Path: path, Reason: fmt.Sprintf("it is not inside the root %s; move it there or change root", spec.Root)}
		}
		path = "/" + rel
		root, err = vmexec.DirRoot(spec.Root)
	}
	if err != nil {
		return nil, fmt.Errorf("open the root file system: %w", err)
	}
	f := &fresh{
		host:   host,
		root:   root,
		limits: spec.Limits,
		spec: vmexec.ProgramSpec{
			Root: root,
			Path: path,
			Args: append([]string{path}, spec.Args...),
			Env:  spec.Env,
		},
	}
	if f.program, err = vmexec.NewProgram(f.spec); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return f, nil
}

// Lease makes a machine.
func (f *fresh) Lease(ctx context.Context, env []string) (VM, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	program, err := f.program.WithEnv(env)
	if err != nil {
		return nil, err
	}
	vm, err := f.host.NewVM(program, f.limits)
	if err != nil {
		return nil, fmt.Errorf("make a virtual machine: %w", err)
	}
	return vm, nil
}

// Close frees the program and its root.
func (f *fresh) Close() error {
	return errors.Join(f.program.Close(), f.root.Close())
}
