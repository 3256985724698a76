// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package abi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Stat is struct stat of stat(2), in the layout the guest sees.
type Stat = unix.Stat_t

// StatSize is the size of struct stat in bytes.
const StatSize = 144

// EncodeStat lays out struct stat (arch/x86/include/uapi/asm/stat.h).
func EncodeStat(st *Stat) *[StatSize]byte {
	b := new([StatSize]byte)
	le := binary.LittleEndian
	for i, v := range [...]uint64{
		st.Dev, st.Ino, st.Nlink, uint64(st.Mode) | uint64(st.Uid)<<32, uint64(st.Gid), st.Rdev, uint64(st.Size),
		uint64(st.Blksize), uint64(st.Blocks), uint64(st.Atim.Sec), uint64(st.Atim.Nsec), uint64(st.Mtim.Sec), uint64(st.Mtim.Nsec),
		uint64(st.Ctim.Sec), uint64(st.Ctim.Nsec),
	} {
		le.PutUint64(b[8*i:], v)
	}
	return b
}
