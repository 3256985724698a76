// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"errors"
	"fmt"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/jail"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/platform/kvm"
	"kontain.dev/eventing/vmexec/internal/platform/ptrace"
)

// Host is an opened platform. Its methods may be called from several goroutines.
type Host struct {
	kind Kind
	p    platform.Platform
	// folder is that of the program that was taken over with the host, as a path; empty
	// without one.
	folder string
}

// Open opens a platform. The error is an *UnavailableError when this machine
// does not offer it.
func Open(kind Kind) (*Host, error) {
	switch kind {
	case Auto, KVM:
		p, err := kvm.Open()
		if err != nil {
			return nil, unavailable(KVM, err)
		}
		return &Host{kind: KVM, p: p}, nil
	case Ptrace:
		p, err := ptrace.Open()
		if err != nil {
			return nil, unavailable(Ptrace, err)
		}
		return &Host{kind: Ptrace, p: p}, nil
	}
	return nil, fmt.Errorf("unknown platform %q: use %s, %s or %s", kind, Auto, KVM, Ptrace)
}

func unavailable(kind Kind, err error) error {
	var u *platform.Unavailable
	if errors.As(err, &u) {
		return &UnavailableError{Platform: kind, Reason: u.Reason, Hint: u.Hint, Err: u.Err}
	}
	return &UnavailableError{Platform: kind, Reason: "it failed to open", Err: err}
}

// attach is Open in a process that need not find out what this machine offers: f
// are the features, and leaves what the CPUID instruction tells, that another process
// has found. Of KVM it takes a descriptor over.
func attach(kind Kind, device int, f platform.Features, leaves []byte) (*Host, error) {
	if kind != KVM {
		return Open(kind)
	}
	p, err := kvm.Attach(device, f, leaves)
	if err != nil {
		return nil, unavailable(KVM, err)
	}
	return &Host{kind: KVM, p: p}, nil
}

// JailReport says what holds of a process in its jail.
type JailReport = jail.Report

// JailSpec says what a process goes on doing in its jail, beside running machines.
type JailSpec struct {
	// Freeze: it makes a snapshot, and sends its Handover to another process.
	Freeze bool
	// Files is the most descriptors that may be open.
	Files int
	// User is that of this process, and the number of its group, where it was started
	// in a cell, which is checked then; 0: it was not. Tasks is the most processes and
	// threads that the user may have; 0: as many as others.
	User  uint32
	Tasks int
}

// Jail takes from this process, for good, what it does not need to run machines of
// programs that are open: system calls, files and privileges. The error means that it
// does not hold: no guest must be run then. The process must be built without cgo.
func (h *Host) Jail(s JailSpec) (JailReport, error) {
	guestmem.Prepare()
	return jail.Enter(jail.Config{Ptrace: h.kind == Ptrace, Folder: h.folder, Freeze: s.Freeze, Files: uint64(s.Files), User: s.User, Tasks: uint64(max(0, s.Tasks))})
}

// Kind returns the platform that was opened; never Auto.
func (h *Host) Kind() Kind { return h.kind }

// FastClocks reports whether guests read the clocks without leaving the machine.
func (h *Host) FastClocks() bool { return h.p.Features().ClockOK }

// Close frees the platform. Every VM must be closed before.
func (h *Host) Close() error { return h.p.Close() }
