// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const stackTop = 0x7ffe_0000_0000

// decoded is what a process finds on its first stack.
type decoded struct {
	Args, Env []string
	Aux       map[uint64]uint64
}

// decode reads a stack as a C library does.
func decode(t *testing.T, st *InitialStack) decoded {
	t.Helper()
	at := func(addr uint64) []byte {
		if addr < st.RSP || addr >= st.RSP+uint64(len(st.Bytes)) {
			t.Fatalf("address %#x is not on the stack", addr)
		}
		return st.Bytes[addr-st.RSP:]
	}
	pos := st.RSP
	word := func() uint64 {
		v := binary.LittleEndian.Uint64(at(pos))
		pos += 8
		return v
	}
	str := func(addr uint64) string {
		s, _, ok := strings.Cut(string(at(addr)), "\x00")
		if !ok {
			t.Fatalf("string at %#x has no end", addr)
		}
		return s
	}
	d := decoded{Aux: map[uint64]uint64{}}
	argc := word()
	for p := word(); p != 0; p = word() {
		d.Args = append(d.Args, str(p))
	}
	if argc != uint64(len(d.Args)) {
		t.Errorf("argc %d, argv has %d", argc, len(d.Args))
	}
	for p := word(); p != 0; p = word() {
		d.Env = append(d.Env, str(p))
	}
	if pos != st.AuxvStart {
		t.Errorf("auxiliary vector at %#x, AuxvStart %#x", pos, st.AuxvStart)
	}
	for k := word(); k != atNull; k = word() {
		if _, dup := d.Aux[k]; dup {
			t.Errorf("key %d twice", k)
		}
		d.Aux[k] = word()
	}
	if pos+8 != st.AuxvEnd {
		t.Errorf("auxiliary vector ends at %#x, AuxvEnd %#x", pos+8, st.AuxvEnd)
	}
	return d
}

func TestStack(t *testing.T) {
	spec := StackSpec{
		Top: stackTop, Size: 8 << 20, ExecFn: "/bin/x", Args: []string{"x", "", "two words"}, Env: []string{"A=1", "B="},
		Phdr: 0x400040, PhEnt: 56, PhNum: 9, Base: 0x7000_0000_0000, Entry: 0x401000,
		UID: 1, EUID: 2, GID: 3, EGID: 4, HWCap: 0x178bfbff, HWCap2: 2, MinSigStkSz: 3632, VDSO: 0x7fff_0000_1000,
		Random: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	}
	st, err := Stack(spec)
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, st)
	bytesAt := func(addr uint64, n int) string { return string(st.Bytes[addr-st.RSP:][:n]) }
	if s := bytesAt(got.Aux[atRandom], 16); s != string(spec.Random[:]) || got.Aux[atRandom] != st.RandomAddr {
		t.Errorf("AT_RANDOM %x", s)
	}
	if s := bytesAt(got.Aux[atPlatform], 7); s != "x86_64\x00" {
		t.Errorf("AT_PLATFORM %q", s)
	}
	if s := bytesAt(got.Aux[atExecFn], 7); s != "/bin/x\x00" {
		t.Errorf("AT_EXECFN %q", s)
	}
	if s := bytesAt(st.ArgStart, int(st.ArgEnd-st.ArgStart)); s != "x\x00\x00two words\x00" {
		t.Errorf("cmdline %q", s)
	}
	if s := bytesAt(st.EnvStart, int(st.EnvEnd-st.EnvStart)); s != "A=1\x00B=\x00" {
		t.Errorf("environ %q", s)
	}
	want := decoded{Args: spec.Args, Env: spec.Env, Aux: map[uint64]uint64{
		atPhdr: 0x400040, atPhent: 56, atPhnum: 9, atPagesz: 4096, atBase: 0x7000_0000_0000, atFlags: 0, atEntry: 0x401000,
		atUID: 1, atEUID: 2, atGID: 3, atEGID: 4, atHWCap: 0x178bfbff, atHWCap2: 2, atClkTck: 100, atSecure: 0,
		atMinSigStkSz: 3632, atSysinfoEHDR: 0x7fff_0000_1000,
		atRandom: got.Aux[atRandom], atPlatform: got.Aux[atPlatform], atExecFn: got.Aux[atExecFn],
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestStackAlignment holds the alignment for every remainder of string length
// and of vector length.
func TestStackAlignment(t *testing.T) {
	for n := range 40 {
		spec := StackSpec{Top: stackTop, Size: 1 << 20, ExecFn: "/x", Args: []string{strings.Repeat("a", n)}}
		for range n % 4 {
			spec.Env = append(spec.Env, "K=V")
		}
		st, err := Stack(spec)
		if err != nil {
			t.Fatal(err)
		}
		if st.RSP%16 != 0 || st.RSP+uint64(len(st.Bytes)) != stackTop {
			t.Errorf("%d: RSP %#x with %d bytes", n, st.RSP, len(st.Bytes))
		}
		d := decode(t, st)
		if d.Args[0] != spec.Args[0] || len(d.Env) != len(spec.Env) {
			t.Errorf("%d: got %+v", n, d)
		}
		for _, k := range []uint64{atSysinfoEHDR, atMinSigStkSz} {
			if _, ok := d.Aux[k]; ok {
				t.Errorf("key %d though its value is 0", k)
			}
		}
	}
}

func TestStackNoArguments(t *testing.T) {
	st, err := Stack(StackSpec{Top: stackTop, Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{""}, decode(t, st).Args); d != "" {
		t.Error(d)
	}
}

func TestStackLimits(t *testing.T) {
	long := strings.Repeat("x", maxArgLen-1)
	many := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("%063d", i))
		}
		return list
	}
	base := StackSpec{Top: stackTop, Size: 1 << 20, ExecFn: "/x"}
	for _, tc := range []struct {
		name    string
		change  func(*StackSpec)
		tooLong bool
		err     string
	}{
		{name: "longest string", change: func(s *StackSpec) { s.Args = []string{long} }},
		{name: "string too long", change: func(s *StackSpec) { s.Args = []string{long + "x"} }, tooLong: true, err: "argument of 131073 bytes, more than the 131072 allowed"},
		{name: "a quarter of the stack", change: func(s *StackSpec) { s.Env = many((1<<18 - 3) / 72) }},
		{name: "more than a quarter", change: func(s *StackSpec) { s.Env = many(1<<18/72 + 1) }, tooLong: true, err: "arguments and environment of"},
		{name: "tiny stack", change: func(s *StackSpec) { s.Size = 128 }, tooLong: true, err: "initial stack of"},
		{name: "no stack", change: func(s *StackSpec) { s.Size = 0 }, err: "not a usable range"},
		{name: "stack below zero", change: func(s *StackSpec) { s.Top = 1 << 16 }, err: "not a usable range"},
		{name: "crooked top", change: func(s *StackSpec) { s.Top = stackTop - 8 }, err: "not a usable range"},
		{name: "NUL", change: func(s *StackSpec) { s.Env = []string{"A=1", "B=\x00"} }, err: "environment string 1 contains a NUL byte"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := base
			tc.change(&s)
			_, err := Stack(s)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("got %v, want %q", err, tc.err)
			}
			var tl *TooLongError
			if errors.As(err, &tl) != tc.tooLong {
				t.Errorf("got %T", err)
			}
		})
	}
}
