// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package abi

import "encoding/binary"

// Ways of notification of sigevent(3type).
const (
	SIGEV_SIGNAL    = 0
	SIGEV_NONE      = 1
	SIGEV_THREAD_ID = 4
)

// SigeventSize is the size of struct sigevent.
const SigeventSize = 64

// Sigevent says how a timer tells that it expired; see sigevent(3type).
type Sigevent struct {
	Value  uint64
	Signal int32
	Notify int32 // SIGEV_*
	Thread int32 // thread id, with SIGEV_THREAD_ID
}

// DecodeSigevent reads a struct sigevent of SigeventSize bytes.
func DecodeSigevent(b []byte) Sigevent {
	le := binary.LittleEndian
	return Sigevent{
		Value:  le.Uint64(b),
		Signal: int32(le.Uint32(b[8:])),
		Notify: int32(le.Uint32(b[12:])),
		Thread: int32(le.Uint32(b[16:])),
	}
}
