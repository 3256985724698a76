// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// featureLeaves are the CPUID leaves that programs choose their code by; SDM volume
// 2, CPUID. Others tell of caches and topology, and may differ from one processor
// of a machine to the next.
var featureLeaves = [][2]uint32{{0, 0}, {1, 0}, {7, 0}, {7, 1}, {0xd, 0}, {0xd, 1}, {0x8000_0001, 0}, {0x8000_0007, 0}, {0x8000_0008, 0}}

// DigestCPUID returns a digest of the processor's family and features as cpuid
// tells them.
func DigestCPUID(cpuid func(function, index uint32) (eax, ebx, ecx, edx uint32)) string {
	h := sha256.New()
	for _, l := range featureLeaves {
		a, b, c, d := cpuid(l[0], l[1])
		switch l[0] {
		case 1:
			// EBX numbers the processor; OSXSAVE says what the host's kernel does.
			b, c = 0, c&^(1<<27)
		case 0xd:
			if l[1] == 0 {
				b = 0 // the size for what is enabled at the moment
			}
		}
		fmt.Fprintln(h, l, a, b, c, d)
	}
	return hex.EncodeToString(h.Sum(nil))
}
