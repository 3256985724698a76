// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"
	"os"
	"time"

	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// cpuid executes the instruction of that name.
func cpuid(function, index uint32) (eax, ebx, ecx, edx uint32)

// usableXCR0 are the extended state components that are saved and restored, as
// on platform kvm: x87, SSE, AVX and AVX-512. The program sees the host's CPUID
// and can use others, but they do not survive a change of threads.
const usableXCR0 = 0xe7

// legacyArea is the size of an XSAVE area without extended components.
const legacyArea = 576

// xsaveSize is the size of the XSAVE area in standard format for components.
func xsaveSize(xcr0 uint64) uint32 {
	size := uint32(legacyArea)
	for i := uint32(2); i < 63; i++ {
		if xcr0>>i&1 != 0 {
			bytes, offset, _, _ := cpuid(0xd, i)
			size = max(size, offset+bytes)
		}
	}
	return size
}

// setHost fills in what the host's processor and kernel say of themselves.
func setHost(f *platform.Features) {
	_, _, _, edx := cpuid(1, 0)
	f.HWCAP = uint64(edx)
	f.CPUID = platform.DigestCPUID(cpuid)
	f.HWCAP2 = auxv(26) // AT_HWCAP2; getauxval(3)
	if top, _, _, _ := cpuid(0x8000_0000, 0); top >= 0x8000_0007 {
		_, _, _, power := cpuid(0x8000_0007, 0)
		f.ClockOK = power&(1<<8) != 0 // invariant TSC; SDM volume 3, section 18.17
	}
}

// auxv returns an entry of the auxiliary vector, or 0.
func auxv(tag uint64) uint64 {
	b, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return 0
	}
	for ; len(b) >= 16; b = b[16:] {
		if binary.LittleEndian.Uint64(b) == tag {
			return binary.LittleEndian.Uint64(b[8:])
		}
	}
	return 0
}

// clockSample is the time stamp counter and the monotonic clock at one moment.
type clockSample struct {
	tsc  uint64
	wall time.Time
}

func sampleClocks() clockSample {
	var best clockSample
	least := ^uint64(0)
	for range 20 {
		before := x86.ReadTSC()
		now := time.Now()
		if d := x86.ReadTSC() - before; d < least {
			least, best = d, clockSample{before + d/2, now}
		}
	}
	return best
}

// calibration is the least time over which the counter is compared with the
// clock. Its error is about 50 ns in this time.
const calibration = 5 * time.Millisecond

// tscMult returns nanoseconds per tick as 32.32 fixed point, 0 when the counter
// stands still.
func tscMult(first clockSample) uint64 {
	if d := calibration - time.Since(first.wall); d > 0 {
		time.Sleep(d)
	}
	last := sampleClocks()
	if last.tsc <= first.tsc {
		return 0
	}
	return uint64(float64(last.wall.Sub(first.wall).Nanoseconds()) / float64(last.tsc-first.tsc) * (1 << 32))
}
