// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"errors"
	"fmt"

	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/platform/kvm"
	"kontain.dev/eventing/vmexec/internal/platform/ptrace"
)

// Host is an opened platform. Its methods may be called from several goroutines.
type Host struct {
	kind Kind
	p    platform.Platform
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

// Kind returns the platform that was opened; never Auto.
func (h *Host) Kind() Kind { return h.kind }

// FastClocks reports whether guests read the clocks without leaving the machine.
func (h *Host) FastClocks() bool { return h.p.Features().ClockOK }

// Close frees the platform. Every VM must be closed before.
func (h *Host) Close() error { return h.p.Close() }
