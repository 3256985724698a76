// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"log/slog"
	"testing"

	"kontain.dev/eventing/vmexec"
)

func TestPlatforms(t *testing.T) {
	base, err := vmexec.Open(vmexec.Ptrace)
	var missing *vmexec.UnavailableError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = base.Close() }()
	opened := 0
	p := &platforms{base: base, logger: slog.New(slog.DiscardHandler), open: func(k vmexec.Kind) (*vmexec.Host, error) {
		opened++
		return nil, &vmexec.UnavailableError{Platform: k, Reason: "no device"}
	}}
	for _, k := range []vmexec.Kind{"", vmexec.Auto, vmexec.Ptrace} {
		if h, err := p.host(k); h != base || err != nil || opened != 0 {
			t.Errorf("%q: %v, %v, %d opened", k, h, err, opened)
		}
	}
	if h, err := p.host(vmexec.KVM); h != nil || !errors.As(err, &missing) {
		t.Errorf("KVM that is not there: %v, %v", h, err)
	}
	p.open = vmexec.Open
	first, err := p.host("other")
	if first != nil || err == nil {
		t.Errorf("an unknown platform: %v, %v", first, err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}
