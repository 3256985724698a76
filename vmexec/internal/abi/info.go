// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package abi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Utsname is the answer of uname(2). Each string is cut at 64 bytes.
type Utsname struct {
	Sysname, Nodename, Release, Version, Machine, Domainname string
}

// Encode returns struct new_utsname.
func (u Utsname) Encode() []byte {
	const field = 65
	b := make([]byte, 6*field)
	for i, s := range []string{u.Sysname, u.Nodename, u.Release, u.Version, u.Machine, u.Domainname} {
		copy(b[i*field:(i+1)*field-1], s)
	}
	return b
}

// Sysinfo is the answer of sysinfo(2). Fields that are not here are zero.
type Sysinfo struct {
	Uptime             int64 // seconds
	TotalRAM, FreeRAM  uint64
	SharedRAM, Buffers uint64
	Procs              uint16
}

// Encode returns struct sysinfo, with bytes as the unit of memory.
func (s Sysinfo) Encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 112)
	le.PutUint64(b[0:], uint64(s.Uptime))
	le.PutUint64(b[32:], s.TotalRAM)
	le.PutUint64(b[40:], s.FreeRAM)
	le.PutUint64(b[48:], s.SharedRAM)
	le.PutUint64(b[56:], s.Buffers)
	le.PutUint16(b[80:], s.Procs)
	le.PutUint32(b[104:], 1)
	return b
}

// Rusage is the answer of getrusage(2). Fields that are not here are zero.
type Rusage struct {
	User, System int64 // nanoseconds
	MaxRSS       int64 // KiB
	MinorFaults  int64
}

// Encode returns struct rusage.
func (r Rusage) Encode() []byte {
	b := make([]byte, 0, 144)
	b = AppendTimeval(b, r.User)
	b = AppendTimeval(b, r.System)
	b = appendWords(b, uint64(r.MaxRSS), 0, 0, 0, uint64(r.MinorFaults))
	return b[:144]
}

// AppendRlimit appends struct rlimit64.
func AppendRlimit(b []byte, r unix.Rlimit) []byte { return appendWords(b, r.Cur, r.Max) }

// RlimitSize is the size of struct rlimit64.
const RlimitSize = 16

// DecodeRlimit reads a struct rlimit64.
func DecodeRlimit(b []byte) unix.Rlimit {
	return unix.Rlimit{Cur: binary.LittleEndian.Uint64(b), Max: binary.LittleEndian.Uint64(b[8:])}
}
