// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// phdr is a program header to be written.
type phdr struct {
	typ, flags                           uint32
	off, vaddr, filesz, memsz, alignment uint64
}

// Positions of the fields that tests change.
const (
	posClass, posData, posABI        = 4, 5, 7
	posType, posMachine, posVersion  = 16, 18, 20
	posEntry, posPhOff               = 24, 32
	posPhEntSize, posPhNum, firstPhd = 54, 56, ehdrSize
)

// elf writes a little executable: header, program headers, 0x2000 bytes in all.
func elf(typ uint16, entry uint64, phdrs ...phdr) []byte {
	b := make([]byte, 0x2000)
	le := binary.LittleEndian
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[posType:], typ)
	le.PutUint16(b[posMachine:], emX86_64)
	le.PutUint32(b[posVersion:], 1)
	le.PutUint64(b[posEntry:], entry)
	le.PutUint64(b[posPhOff:], firstPhd)
	le.PutUint16(b[posPhEntSize:], phdrSize)
	le.PutUint16(b[posPhNum:], uint16(len(phdrs)))
	for i, p := range phdrs {
		h := b[firstPhd+i*phdrSize:]
		le.PutUint32(h, p.typ)
		le.PutUint32(h[4:], p.flags)
		for j, v := range []uint64{p.off, p.vaddr, p.vaddr, p.filesz, p.memsz, p.alignment} {
			le.PutUint64(h[8+8*j:], v)
		}
	}
	return b
}

var (
	text = phdr{ptLoad, pfR | pfX, 0, 0x400000, 0x1000, 0x1000, 0x1000}
	data = phdr{ptLoad, pfR | pfW, 0x1000, 0x402000, 0x800, 0x3000, 0x1000}
)

func good() []byte { return elf(etExec, 0x400100, text, data) }

// with returns good() with the bytes of v written at off.
func with(off int, v any) []byte {
	b := good()
	var w bytes.Buffer
	if err := binary.Write(&w, binary.LittleEndian, v); err != nil {
		panic(err)
	}
	copy(b[off:], w.Bytes())
	return b
}

func parse(b []byte) (*Image, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestParse(t *testing.T) {
	interp := elf(etDyn, 0x100,
		phdr{ptLoad, pfR | pfX, 0, 0, 0x1000, 0x1000, 0x200000},
		phdr{ptInterp, pfR, 0x800, 0x800, 15, 15, 1},
		phdr{ptGNUStack, pfR | pfW | pfX, 0, 0, 0, 0, 16})
	copy(interp[0x800:], "/lib64/ld.so.2\x00")
	for _, tc := range []struct {
		name string
		file []byte
		want *Image
	}{
		{"static", good(), &Image{
			Type: Exec, Entry: 0x400100, PhOff: 64, PhEntSize: 56, PhNum: 2, PhdrVaddr: 0x400040,
			Segments: []Segment{
				{Vaddr: 0x400000, FileSize: 0x1000, MemSize: 0x1000, Prot: unix.PROT_READ | unix.PROT_EXEC},
				{Vaddr: 0x402000, Offset: 0x1000, FileSize: 0x800, MemSize: 0x3000, Prot: unix.PROT_READ | unix.PROT_WRITE},
			},
			MinVaddr: 0x400000, MaxVaddr: 0x405000, Align: 0x1000,
		}},
		{"interpreter and executable stack", interp, &Image{
			Type: Dyn, Entry: 0x100, PhOff: 64, PhEntSize: 56, PhNum: 3, PhdrVaddr: 64,
			Segments: []Segment{{FileSize: 0x1000, MemSize: 0x1000, Prot: unix.PROT_READ | unix.PROT_EXEC}},
			Interp:   "/lib64/ld.so.2", ExecStack: true, MaxVaddr: 0x1000, Align: 0x200000,
		}},
		{"segments out of order, one of zeros with a wild offset", elf(etExec, 0x400100,
			phdr{ptLoad, pfR | pfW, 1 << 63, 0x500123, 0, 5, 3}, text), &Image{
			Type: Exec, Entry: 0x400100, PhOff: 64, PhEntSize: 56, PhNum: 2, PhdrVaddr: 0x400040,
			Segments: []Segment{
				{Vaddr: 0x400000, FileSize: 0x1000, MemSize: 0x1000, Prot: unix.PROT_READ | unix.PROT_EXEC},
				{Vaddr: 0x500123, Offset: 1 << 63, MemSize: 5, Prot: unix.PROT_READ | unix.PROT_WRITE},
			},
			MinVaddr: 0x400000, MaxVaddr: 0x501000, Align: 0x1000,
		}},
		{"headers outside every segment", elf(etExec, 0x401100,
			phdr{ptLoad, pfX, 0x1000, 0x401000, 0x1000, 0x1000, 0}), &Image{
			Type: Exec, Entry: 0x401100, PhOff: 64, PhEntSize: 56, PhNum: 1,
			Segments: []Segment{{Vaddr: 0x401000, Offset: 0x1000, FileSize: 0x1000, MemSize: 0x1000, Prot: unix.PROT_EXEC}},
			MinVaddr: 0x401000, MaxVaddr: 0x402000, Align: 0x1000,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parse(tc.file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseRejects(t *testing.T) {
	one := func(p phdr) []byte { return elf(etExec, 0x400100, text, p) }
	interp := func(s string, n uint64) []byte {
		b := one(phdr{ptInterp, pfR, 0x1800, 0, n, n, 1})
		copy(b[0x1800:], s)
		return b
	}
	for _, tc := range []struct {
		name   string
		file   []byte
		reason string
		offset int64
	}{
		{"empty", nil, "the file is empty", 0},
		{"script", []byte("#!/usr/bin/env python3\nprint()\n"), `this is a script for "/usr/bin/env python3"`, 0},
		{"script without a line end", []byte("#! /bin/sh"), `a script for "/bin/sh"`, 0},
		{"text", []byte("hello"), `it begins with "hell"`, 0},
		{"pe", []byte("MZ\x90\x00"), "Windows (PE)", 0},
		{"mach-o", []byte("\xcf\xfa\xed\xfe\x07"), "Mach-O", 0},
		{"wasm", []byte("\x00asm\x01"), "WebAssembly", 0},
		{"archive", []byte("!<arch>\nx"), "static library", 0},
		{"bitcode", []byte("BC\xc0\xde"), "LLVM bitcode", 0},
		{"header cut", good()[:40], "the file ends at 40, its ELF header needs 64 bytes", 40},
		{"magic only", good()[:4], "the file ends at 4", 4},
		{"32-bit", with(posClass, byte(1)), "32-bit program", 4},
		{"class", with(posClass, byte(9)), "class 9", 4},
		{"big endian", with(posData, byte(2)), "big-endian", 5},
		{"encoding", with(posData, byte(0)), "data encoding 0", 5},
		{"version", with(posVersion, uint32(2)), "unknown ELF version 2", 20},
		{"aarch64", with(posMachine, uint16(183)), "this is an aarch64 program; this machine runs x86-64", 18},
		{"unknown machine", with(posMachine, uint16(9999)), "an ELF machine 9999 program", 18},
		{"freebsd", with(posABI, byte(9)), "FreeBSD", 7},
		{"object file", with(posType, uint16(etRel)), "object file", 16},
		{"core", with(posType, uint16(etCore)), "core dump", 16},
		{"type", with(posType, uint16(0xff00)), "ELF type 65280", 16},
		{"entry size", with(posPhEntSize, uint16(32)), "entries of 32 bytes", 54},
		{"no headers", with(posPhNum, uint16(0)), "no program headers", 56},
		{"too many headers", with(posPhNum, uint16(0xffff)), "65535 program headers, more than the 1170", 56},
		{"headers past the end", with(posPhOff, uint64(0x2000-56)), "the file ends at 8192, its program headers need 112 bytes from 8136", 32},
		{"headers far past the end", with(posPhOff, ^uint64(0)), "truncated", 32},
		{"segment past the end", one(phdr{ptLoad, pfR, 0x1000, 0x500000, 0x1001, 0x1001, 0}), "the file ends at 8192, segment 1 needs 4097 bytes from 4096", 120},
		{"segment offset wraps", one(phdr{ptLoad, pfR, ^uint64(0) &^ 0xfff, 0x500000, 0x2000, 0x2000, 0}), "truncated", 120},
		{"more in file than in memory", one(phdr{ptLoad, pfR, 0x1000, 0x500000, 2, 1, 0}), "2 bytes in the file but only 1 in memory", 120},
		{"address wraps", one(phdr{ptLoad, pfR, 0, ^uint64(0) &^ 0xfff, 0, 0x2000, 0}), "above the user address space", 120},
		{"size wraps", one(phdr{ptLoad, pfR, 0, 0x500000, 0, ^uint64(0), 0}), "above the user address space", 120},
		{"kernel address", one(phdr{ptLoad, pfR, 0, 0xffffffff80000000, 0, 8, 0}), "above the user address space", 120},
		{"null page", one(phdr{ptLoad, pfR, 0, 0xf000, 0, 8, 0}), "below the lowest", 120},
		{"not congruent", one(phdr{ptLoad, pfR, 0x1001, 0x500000, 8, 8, 0}), "differ within a page", 120},
		{"alignment", one(phdr{ptLoad, pfR, 0, 0x500000, 0, 8, 1 << 62}), "alignment of 0x4000000000000000", 120},
		{"overlap", one(phdr{ptLoad, pfR, 0, 0x400fff, 0, 8, 0}), "0x400000-0x401000 and 0x400fff-0x401007", 64},
		{"nothing to load", elf(etExec, 0x400000, phdr{typ: 4}), "no PT_LOAD", 64},
		{"empty segment only", elf(etExec, 0x400000, phdr{typ: ptLoad, vaddr: 0x400000}), "no PT_LOAD", 64},
		{"entry in data", elf(etExec, 0x402000, text, data), "entry point 0x402000", 24},
		{"entry after the end", elf(etExec, 0x401000, text, data), "entry point 0x401000", 24},
		{"shared library", elf(etDyn, 0, phdr{ptLoad, pfR, 0, 0, 0x1000, 0x1000, 0}), "shared library", 24},
		{"interpreter too long", interp("", 5000), "has 5000 bytes", 120},
		{"interpreter empty", interp("\x00\x00", 2), "does not end with its only NUL", 0x1800},
		{"interpreter unterminated", interp("/ld", 3), "does not end with its only NUL", 0x1800},
		{"interpreter past the end", interp("", 0x801), "needs 2049 bytes from 6144", 120},
		{"two interpreters", elf(etExec, 0x400100, text,
			phdr{ptInterp, pfR, 0x40, 0, 2, 2, 1}, phdr{ptInterp, pfR, 0x40, 0, 2, 2, 1}), "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			img, err := parse(tc.file)
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("got %+v, %v; want a FormatError", img, err)
			}
			if tc.reason == "" {
				return
			}
			if !strings.Contains(fe.Reason, tc.reason) || fe.Offset != tc.offset {
				t.Errorf("got %q at %d; want %q at %d", fe.Reason, fe.Offset, tc.reason, tc.offset)
			}
		})
	}
}

var errDisk = errors.New("disk on fire")

type failingReader struct{}

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestParseReadError(t *testing.T) {
	_, err := Parse(failingReader{}, 100)
	var fe *FormatError
	if !errors.Is(err, errDisk) || errors.As(err, &fe) {
		t.Errorf("got %v, want the reader's error and no FormatError", err)
	}
}

// realPrograms returns executables that compilers of this machine made: this
// test's own and, where gcc is installed, C in each way of linking.
func realPrograms(t testing.TB) map[string]string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"go": self}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return paths
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "main.c")
	if err := os.WriteFile(src, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"-static", "-static-pie", "-pie", "-no-pie"} {
		out := filepath.Join(dir, "main"+mode)
		if b, err := exec.Command(gcc, mode, "-o", out, src).CombinedOutput(); err != nil {
			t.Logf("gcc %s: %v\n%s", mode, err, b)
			continue
		}
		paths["gcc"+mode] = out
	}
	return paths
}

func TestParseRealPrograms(t *testing.T) {
	for name, path := range realPrograms(t) {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			img, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			checkInvariants(t, img, int64(len(b)))
			if img.PhdrVaddr == 0 {
				t.Error("program headers are not in memory")
			}
			if dynamic := name == "gcc-pie" || name == "gcc-no-pie"; dynamic != (img.Interp != "") {
				t.Errorf("interpreter %q", img.Interp)
			}
			if pie := name == "gcc-pie" || name == "gcc-static-pie"; pie != (img.Type == Dyn) && name != "go" {
				t.Errorf("type %v", img.Type)
			}
		})
	}
}

// checkInvariants holds Parse to what the doc comments of Image and Segment promise.
func checkInvariants(t *testing.T, m *Image, size int64) {
	t.Helper()
	check := func(ok bool, what string) {
		if !ok {
			t.Errorf("%s: %+v", what, m)
		}
	}
	check(m.Type == Exec || m.Type == Dyn, "type")
	check(len(m.Segments) > 0 && len(m.Segments) <= maxPhdrBytes/phdrSize, "number of segments")
	check(m.Align >= pageSize && m.Align <= maxAlign && m.Align&(m.Align-1) == 0, "alignment")
	check(m.MinVaddr%pageSize == 0 && m.MaxVaddr%pageSize == 0, "page-aligned span")
	check(m.MinVaddr < m.MaxVaddr && m.MaxVaddr <= MaxAddr, "span")
	check(m.Type == Dyn || m.MinVaddr >= MinAddr, "lowest address")
	check(len(m.Interp) < 4096 && !strings.Contains(m.Interp, "\x00"), "interpreter")
	check(inFile(m.PhOff, uint64(m.PhNum)*phdrSize, size), "program headers in file")
	entry, headers, end := false, m.PhdrVaddr == 0, uint64(0)
	for _, s := range m.Segments {
		check(s.MemSize > 0 && s.FileSize <= s.MemSize, "sizes")
		check(s.Vaddr >= end && s.End() > s.Vaddr, "order")
		end = s.End()
		check(s.Vaddr >= m.MinVaddr && end <= m.MaxVaddr, "segment in span")
		check(s.FileSize == 0 || inFile(s.Offset, s.FileSize, size), "segment in file")
		check(s.FileSize == 0 || s.Offset%pageSize == s.Vaddr%pageSize, "congruence")
		check(s.Prot&^(unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC) == 0, "protection")
		entry = entry || s.Prot&unix.PROT_EXEC != 0 && s.Vaddr <= m.Entry && m.Entry < end
		headers = headers || s.Vaddr <= m.PhdrVaddr && m.PhdrVaddr+uint64(m.PhNum)*phdrSize <= s.Vaddr+s.FileSize
	}
	check(entry, "entry")
	check(headers, "program headers in memory")
}

func FuzzParse(f *testing.F) {
	f.Add(good())
	f.Add(elf(etDyn, 0x100, phdr{ptLoad, pfR | pfX, 0, 0, 0x1000, 0x1000, 0x200000}, phdr{ptInterp, pfR, 0x80, 0, 2, 2, 1}))
	for off := range 4 {
		f.Add(with(firstPhd+8+8*off, ^uint64(0)))
		f.Add(with(firstPhd+phdrSize+32+8*(off%2), uint64(1)<<(16*off)))
	}
	f.Add(with(posPhNum, uint16(1170)))
	f.Add(good()[:100])
	// A mutator gains nothing from a program's code: its first page has the headers.
	for _, path := range realPrograms(f) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 4096)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := parse(b)
		if err != nil {
			var fe *FormatError
			if !errors.As(err, &fe) || img != nil {
				t.Fatalf("got %v, %v; want only a FormatError", img, err)
			}
			return
		}
		checkInvariants(t, img, int64(len(b)))
	})
}
