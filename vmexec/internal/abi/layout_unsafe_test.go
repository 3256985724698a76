// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package abi

import (
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestDecodeTime(t *testing.T) {
	for _, tc := range []struct {
		name      string
		sec, frac uint64
		spec      int64
		specErr   Errno
		val       int64
		valErr    Errno
	}{
		{"zero", 0, 0, 0, OK, 0, OK},
		{"one and a bit", 1, 999_999, 1_000_999_999, OK, 1_999_999_000, OK},
		{"a second of microseconds", 0, 1_000_000, 1_000_000, OK, 0, EINVAL},
		{"a second of nanoseconds", 0, 1_000_000_000, 0, EINVAL, 0, EINVAL},
		{"negative seconds", math.MaxUint64, 0, 0, EINVAL, 0, EINVAL},
		{"negative fraction", 0, math.MaxUint64, 0, EINVAL, 0, EINVAL},
		{"year 2262", math.MaxInt64 / 1_000_000_000, 0, math.MaxInt64, OK, math.MaxInt64, OK},
		{"for ever", math.MaxInt64, 999_999, math.MaxInt64, OK, math.MaxInt64, OK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := appendWords(nil, tc.sec, tc.frac)
			if ns, errno := DecodeTimespec(b); ns != tc.spec || errno != tc.specErr {
				t.Errorf("timespec: %d, %v; want %d, %v", ns, errno, tc.spec, tc.specErr)
			}
			if ns, errno := DecodeTimeval(b); ns != tc.val || errno != tc.valErr {
				t.Errorf("timeval: %d, %v; want %d, %v", ns, errno, tc.val, tc.valErr)
			}
		})
	}
}

// TestLayouts compares the encoders with the host's own structures, which on
// x86-64 Linux are the guest's.
func TestLayouts(t *testing.T) {
	const ns = 12_345_678_901_000
	ts := unix.NsecToTimespec(ns)
	tv := unix.NsecToTimeval(ns)
	ru := unix.Rusage{Utime: tv, Stime: unix.NsecToTimeval(1_000_000), Maxrss: 77, Minflt: 88}
	si := unix.Sysinfo_t{Uptime: 1, Totalram: 2, Freeram: 3, Sharedram: 4, Bufferram: 5, Procs: 6, Unit: 1}
	rl := unix.Rlimit{Cur: 1, Max: 2}
	uts := unix.Utsname{Sysname: [65]byte{'a'}, Nodename: [65]byte{'b'}, Release: [65]byte{'c'}, Version: [65]byte{'d'}, Machine: [65]byte{'e'}, Domainname: [65]byte{'f'}}
	for _, tc := range []struct {
		name string
		want []byte
		got  []byte
	}{
		{"timespec", bytesOf(&ts), AppendTimespec(nil, ns)},
		{"timeval", bytesOf(&tv), AppendTimeval(nil, ns)},
		{"rusage", bytesOf(&ru), Rusage{User: ns, System: 1_000_000, MaxRSS: 77, MinorFaults: 88}.Encode()},
		{"sysinfo", bytesOf(&si), Sysinfo{Uptime: 1, TotalRAM: 2, FreeRAM: 3, SharedRAM: 4, Buffers: 5, Procs: 6}.Encode()},
		{"rlimit", bytesOf(&rl), AppendRlimit(nil, rl)},
		{"utsname", bytesOf(&uts), Utsname{"a", "b", "c", "d", "e", "f"}.Encode()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, tc.got); d != "" {
				t.Error(d)
			}
		})
	}
	if got := DecodeRlimit(AppendRlimit(nil, rl)); got != rl {
		t.Errorf("rlimit came back as %+v", got)
	}
	// struct sigevent: value, signal, notify, thread.
	b := make([]byte, SigeventSize)
	copy(b, appendWords(nil, 1<<63|5, 4<<32|10, 1234))
	if d := cmp.Diff(Sigevent{Value: 1<<63 | 5, Signal: 10, Notify: SIGEV_THREAD_ID, Thread: 1234}, DecodeSigevent(b)); d != "" {
		t.Error(d)
	}
}

func TestUtsnameCut(t *testing.T) {
	b := Utsname{Sysname: strings.Repeat("x", 100), Nodename: "n"}.Encode()
	if want := strings.Repeat("x", 64) + "\x00n\x00"; len(b) != 390 || string(b[:67]) != want {
		t.Errorf("%d bytes, %q", len(b), b[:67])
	}
}

func bytesOf[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}
