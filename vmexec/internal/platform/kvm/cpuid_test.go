// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/kvm"
)

// FuzzParseCPUID: any bytes are refused, or are the table that they are read as.
func FuzzParseCPUID(f *testing.F) {
	f.Add(appendCPUID(nil, []kvm.CPUIDEntry{{Function: 1, EAX: 2}, {Function: 7, Index: 1, Flags: 1, EBX: 3, ECX: 4, EDX: 5}}))
	f.Add([]byte{})
	f.Add(make([]byte, leafSize-1))
	f.Add(make([]byte, (kvm.MaxCPUID+1)*leafSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseCPUID(b)
		if fits := len(b)%leafSize == 0 && len(b) <= kvm.MaxCPUID*leafSize; fits != (err == nil) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err == nil && !bytes.Equal(appendCPUID(nil, entries), b) {
			t.Errorf("%x became %v", b, entries)
		}
	})
}

// A machine of a platform that took over the leaves has those of the one that found
// them, and leaves that are others are refused.
func TestAttach(t *testing.T) {
	p, err := Open()
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_KVM") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	defer func() { _ = p.Close() }()
	leaves := p.CPUID()
	device := func() int {
		fd, err := unix.FcntlInt(uintptr(p.Device()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	again, err := Attach(device(), p.Features(), leaves)
	if err != nil {
		t.Fatal(err)
	}
	if again.Features() != p.Features() || !slices.Equal(again.cpuid, p.cpuid) || again.fsgsbase != p.fsgsbase {
		t.Errorf("%+v became %+v", p.features, again.features)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]byte{
		"none": nil, "cut off": leaves[:len(leaves)-1],
		"with another feature": func() []byte {
			entries := slices.Clone(p.cpuid)
			i := slices.IndexFunc(entries, func(e kvm.CPUIDEntry) bool { return e.Function == 7 && e.Index == 0 })
			entries[i].EBX ^= 1 << 5
			return appendCPUID(nil, entries)
		}(),
	} {
		if p, err := Attach(device(), p.Features(), bad); err == nil {
			t.Errorf("%s: it was taken", name)
			_ = p.Close()
		}
	}
}
