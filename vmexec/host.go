// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"context"
	"errors"
)

var errNotBuilt = errors.New("vmexec: under construction")

// Host is an opened platform. Its methods may be called from several goroutines.
type Host struct{}

// Open opens a platform. The error is an *UnavailableError when this machine
// does not offer it.
func Open(kind Kind) (*Host, error) { return nil, errNotBuilt }

// Kind returns the platform that was opened; never Auto.
func (h *Host) Kind() Kind { return KVM }

// Close frees the platform. Every VM must be closed before.
func (h *Host) Close() error { return nil }

// Root is a read-only root file system that many programs and VMs may share.
type Root struct{}

// ProgramRoot returns a root that holds only the program at the host path,
// under the same absolute path, with the usual empty /tmp, /dev and /proc.
func ProgramRoot(path string) (*Root, error) { return nil, errNotBuilt }

// DirRoot returns a root that shows the host folder dir read-only.
func DirRoot(dir string) (*Root, error) { return nil, errNotBuilt }

// Close frees the root. Every Program that uses it must be closed before.
func (r *Root) Close() error { return nil }

// ProgramSpec says what to run.
type ProgramSpec struct {
	Root *Root
	Path string   // absolute path of the executable in Root
	Args []string // argv, including argv[0]; Path alone when empty
	Env  []string // NAME=value
	Dir  string   // working directory in Root; "/" when empty
}

// Program is a checked executable, held in memory that cannot change, from
// which any number of VMs can be started.
type Program struct{}

// NewProgram reads and checks an executable. The error is a *ProgramError when
// the file is not one that can run here.
func NewProgram(spec ProgramSpec) (*Program, error) { return nil, errNotBuilt }

// Close frees the program. Every VM made from it must be closed before.
func (p *Program) Close() error { return nil }

// VM is one virtual machine with a program loaded. It runs once. A VM belongs
// to one goroutine at a time.
type VM struct{}

// NewVM makes a machine and loads the program.
func (h *Host) NewVM(p *Program, l Limits) (*VM, error) { return nil, errNotBuilt }

// Run runs the program to its end, or until a limit or the context ends it.
// The error is not nil only when the monitor itself failed; what the program
// did is in the Result.
func (vm *VM) Run(ctx context.Context, io IO) (*Result, error) { return nil, errNotBuilt }

// Close destroys the machine and frees all of its memory.
func (vm *VM) Close() error { return nil }
