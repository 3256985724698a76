// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"encoding/binary"
	"fmt"

	"kontain.dev/eventing/vmexec/internal/kvm"
)

// usableXCR0 are the extended state components guests get: x87, SSE, AVX and
// AVX-512. AMX (8 KiB a thread) and PKU (needs the pkey system calls) are not.
const usableXCR0 = 0xe7

// hidden lists CPUID bits that guests must not see: what needs a kernel or
// privileged state they do not have. SDM volume 2, CPUID.
var hidden = []struct {
	function, index    uint32
	eax, ebx, ecx, edx uint32
}{
	// MONITOR, VMX, x2APIC, TSC deadline, and the hypervisor bit: paravirtual
	// features would be kernel interfaces that nothing here guards.
	{function: 1, ecx: 1<<3 | 1<<5 | 1<<21 | 1<<24 | 1<<31},
	// SGX, HLE, RTM, MPX; PKU, OSPKE, WAITPKG, SHSTK, LA57, ENQCMD; IBT, AMX.
	{function: 7, ebx: 1<<2 | 1<<4 | 1<<11 | 1<<14, ecx: 1<<3 | 1<<4 | 1<<5 | 1<<7 | 1<<16 | 1<<29, edx: 1<<20 | 1<<22 | 1<<24 | 1<<25},
	// XSAVES, XFD.
	{function: 0xd, index: 1, eax: 1<<3 | 1<<4},
	// SVM.
	{function: 0x8000_0001, ecx: 1 << 2},
}

// guestCPUID returns the leaves that guests see of those KVM supports, the
// extended state they may use, and the size of its XSAVE area.
func guestCPUID(supported []kvm.CPUIDEntry) (out []kvm.CPUIDEntry, xcr0 uint64, xsave uint32) {
	xcr0, xsave = 3, 576 // x87 and SSE in the legacy area, and the header
	for _, e := range supported {
		if e.Function == 0xd && e.Index == 0 {
			xcr0 = (uint64(e.EAX) | uint64(e.EDX)<<32) & usableXCR0
		}
	}
	for _, e := range supported {
		if e.Function == 0xd && e.Index >= 2 && e.Index < 64 && xcr0>>e.Index&1 != 0 {
			xsave = max(xsave, e.EBX+e.EAX)
		}
	}
	for _, e := range supported {
		switch {
		case e.Function >= 0x4000_0000 && e.Function < 0x5000_0000: // paravirtual interfaces
			continue
		case e.Function == 0xa, e.Function == 0x14, e.Function == 0x1d, e.Function == 0x1e: // PMU, PT, AMX
			continue
		case e.Function == 0xd && e.Index >= 2 && (e.Index >= 64 || xcr0>>e.Index&1 == 0):
			continue
		case e.Function == 0xd && e.Index == 0:
			e.EAX, e.EDX, e.EBX, e.ECX = uint32(xcr0), uint32(xcr0>>32), xsave, xsave
		case e.Function == 1:
			e.EBX = e.EBX&0xffff | 1<<16 // one logical processor, APIC id 0
		}
		for _, h := range hidden {
			if h.function == e.Function && h.index == e.Index {
				e.EAX, e.EBX, e.ECX, e.EDX = e.EAX&^h.eax, e.EBX&^h.ebx, e.ECX&^h.ecx, e.EDX&^h.edx
			}
		}
		out = append(out, e)
	}
	return out, xcr0, xsave
}

// leafSize is the size of a leaf in bytes, as appendCPUID writes it.
const leafSize = 7 * 4

// appendCPUID appends leaves as numbers, little-endian.
func appendCPUID(b []byte, entries []kvm.CPUIDEntry) []byte {
	for _, e := range entries {
		for _, v := range [...]uint32{e.Function, e.Index, e.Flags, e.EAX, e.EBX, e.ECX, e.EDX} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	return b
}

// parseCPUID returns the leaves that appendCPUID has written.
func parseCPUID(b []byte) ([]kvm.CPUIDEntry, error) {
	if len(b)%leafSize != 0 || len(b)/leafSize > kvm.MaxCPUID {
		return nil, fmt.Errorf("%d bytes are no table of CPUID leaves", len(b))
	}
	entries := make([]kvm.CPUIDEntry, 0, len(b)/leafSize)
	for ; len(b) > 0; b = b[leafSize:] {
		at := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
		entries = append(entries, kvm.CPUIDEntry{Function: at(0), Index: at(1), Flags: at(2), EAX: at(3), EBX: at(4), ECX: at(5), EDX: at(6)})
	}
	return entries, nil
}

func feature(entries []kvm.CPUIDEntry, function, index uint32) kvm.CPUIDEntry {
	for _, e := range entries {
		if e.Function == function && e.Index == index {
			return e
		}
	}
	return kvm.CPUIDEntry{}
}
