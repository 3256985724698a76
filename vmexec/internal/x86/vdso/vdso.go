// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package vdso makes the vDSO of the guest: a small shared object in guest
// memory by which a program reads clocks without leaving the virtual machine.
// See vdso(7), and parse_vdso.c in the Linux documentation for how it is found.
//
// C libraries look at the shape of the object and silently fall back to system
// calls when they do not like it. So it has exactly one PT_LOAD, a read-only
// PT_DYNAMIC, a DT_HASH table, and the version LINUX_2.6. There is deliberately
// no __vdso_getrandom: its state would be shared by the clones of a snapshot.
package vdso

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
)

const (
	pageSize = 4096

	// SOName is the name of the object, as Linux has it.
	SOName = "linux-vdso.so.1"
	// Version is the symbol version of its functions.
	Version = "LINUX_2.6"

	// dataMagic stands in text_amd64.s for the address of the data page.
	dataMagic = 0x5bd1e995a3c59ac3
	// endMagic, twice, ends each function of text_amd64.s.
	endMagic = 0x9e3779b97f4a7c15
)

// functions are the functions of text_amd64.s in the order of its textAddr. Each
// has the symbols __vdso_<name> (global) and <name> (weak).
var functions = [...]string{"clock_gettime", "gettimeofday", "time", "getcpu", "clock_getres"}

// DataSize is the number of bytes that Data.Encode writes.
const DataSize = 48

// Data is what the vDSO knows: the content of one page that the guest may only
// read. Change it only while the vCPU is stopped.
//
//	monotonic = MonotonicBase + (TSC - TSCBase) * Mult / 2^32   in nanoseconds
//	realtime  = monotonic + RealtimeOffset
//
// A TSC behind TSCBase counts as TSCBase. CLOCK_BOOTTIME and MONOTONIC_RAW are
// answered with the monotonic clock, the coarse clocks with the fine ones.
type Data struct {
	// Enabled false makes every function do its system call.
	Enabled bool
	// Generation must differ from that of the page's last content when a base,
	// Mult or RealtimeOffset does: a thread that was stopped amidst a
	// calculation then starts it again.
	Generation uint32
	// TSCBase is the guest's time stamp counter at MonotonicBase.
	TSCBase uint64
	// Mult is nanoseconds for one tick, times 2^32; see TickMult.
	Mult uint64
	// MonotonicBase is CLOCK_MONOTONIC in nanoseconds at TSCBase.
	MonotonicBase int64
	// RealtimeOffset is CLOCK_REALTIME less CLOCK_MONOTONIC in nanoseconds. Their
	// sum must not be negative.
	RealtimeOffset int64
	// CPU is the answer of getcpu; the NUMA node is always 0.
	CPU uint32
}

// Encode writes the data as the code reads it, little-endian. dst must have at
// least DataSize bytes.
func (d *Data) Encode(dst []byte) {
	le := binary.LittleEndian
	enabled := uint32(0)
	if d.Enabled {
		enabled = 1
	}
	_ = dst[DataSize-1]
	le.PutUint32(dst[0:], enabled)
	le.PutUint32(dst[4:], d.Generation)
	le.PutUint64(dst[8:], d.TSCBase)
	le.PutUint64(dst[16:], d.Mult)
	le.PutUint64(dst[24:], uint64(d.MonotonicBase))
	le.PutUint64(dst[32:], uint64(d.RealtimeOffset))
	le.PutUint32(dst[40:], d.CPU)
	le.PutUint32(dst[44:], 0)
}

// TickMult returns Mult for a counter of khz ticks a millisecond, which must not
// be 0. It is exact to one part in 10^9 for counters of up to 4 GHz.
func TickMult(khz uint64) uint64 { return (1e6<<32 + khz/2) / khz }

// Size is the length of the image in bytes.
const Size = 4096

// base is the image with dataMagic still in it, and the places where it is.
var base = sync.OnceValues(func() ([]byte, []int) {
	img := build()
	if len(img) != Size {
		panic(fmt.Sprintf("vdso: Size must be %d", len(img)))
	}
	magic := binary.LittleEndian.AppendUint64(nil, dataMagic)
	var at []int
	for i := 0; ; {
		n := bytes.Index(img[i:], magic)
		if n < 0 {
			return img, at
		}
		at = append(at, i+n)
		i += n + len(magic)
	}
})

// Image returns the object for a data page at the guest virtual address data:
// whole pages, to be mapped readable and executable at any page address. The
// caller owns the slice.
func Image(data uint64) []byte {
	img, places := base()
	img = bytes.Clone(img)
	for _, at := range places {
		binary.LittleEndian.PutUint64(img[at:], data)
	}
	return img
}
