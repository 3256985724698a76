// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package loader turns the bytes of a Linux x86-64 executable into a checked
// plan of what to map where, and builds the first stack of a process. It touches
// no guest memory: its caller carries the plan out.
//
// The bytes are hostile. Every offset, size and count is checked before it is
// used, nothing is allocated by a size that the file states beyond
// maxPhdrBytes, and what Parse accepts satisfies the invariants of Image.
//
// Sources: elf(5), the System V gABI chapters 4 and 5, and the x86-64 psABI.
package loader

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096

	// MinAddr is the lowest address a program may occupy: the default of
	// /proc/sys/vm/mmap_min_addr, below which null pointers must fault.
	MinAddr = 64 << 10
	// MaxAddr bounds where a program may be linked: the top of user memory less
	// 4 GiB that are left for the stack, the vDSO and what lies beside them.
	MaxAddr = 0x7fff_0000_0000 - 4<<30
	// maxPhdrBytes bounds the program header table, as Linux does.
	maxPhdrBytes = 64 << 10
	// maxAlign bounds a segment's alignment, so that a place for it can be found.
	maxAlign = 1 << 30

	ehdrSize = 64
	phdrSize = 56
)

// ELF constants used here; see elf(5).
const (
	classELF32, classELF64 = 1, 2
	dataLSB, dataMSB       = 1, 2

	etRel, etExec, etDyn, etCore = 1, 2, 3, 4

	emX86_64 = 62

	ptLoad, ptInterp, ptGNUStack = 1, 3, 0x6474e551

	pfX, pfW, pfR = 1, 2, 4
)

// Type is the kind of an executable.
type Type uint16

const (
	// Exec is ET_EXEC: the addresses are absolute.
	Exec Type = etExec
	// Dyn is ET_DYN, a position-independent program or an interpreter: the
	// addresses are relative to a base that the caller picks.
	Dyn Type = etDyn
)

func (t Type) String() string {
	switch t {
	case Exec:
		return "ET_EXEC"
	case Dyn:
		return "ET_DYN"
	}
	return fmt.Sprintf("ELF type %d", uint16(t))
}

// Segment is one PT_LOAD. When FileSize is not 0, Offset and Vaddr are
// congruent modulo the page size and the file holds Offset+FileSize bytes. The
// bytes from FileSize to MemSize, and those after it in its last page when it is
// writable, are zero.
type Segment struct {
	Vaddr    uint64
	Offset   uint64
	FileSize uint64 // at most MemSize
	MemSize  uint64 // at least 1
	Prot     int    // unix.PROT_* bits
}

// End returns the address after the last byte.
func (s Segment) End() uint64 { return s.Vaddr + s.MemSize }

// Image is a checked executable. Segments has at least one element and is
// sorted by Vaddr; no two overlap by a byte, though two may share a page: as in
// Linux, the mapping of the later one then covers it.
type Image struct {
	Type      Type
	Entry     uint64 // inside an executable segment
	PhOff     uint64 // of the program headers in the file
	PhEntSize uint16
	PhNum     uint16
	PhdrVaddr uint64 // of the program headers in memory; 0 when no segment holds them
	Segments  []Segment
	Interp    string // path of the dynamic linker; empty for a static program
	ExecStack bool   // PT_GNU_STACK asks for an executable stack
	MinVaddr  uint64 // of the first segment, rounded down to a page
	MaxVaddr  uint64 // end of the last segment, rounded up to a page
	Align     uint64 // largest alignment of a segment: a power of two, at least a page
}

// Span returns the bytes of address space from the first page to the last.
func (m *Image) Span() uint64 { return m.MaxVaddr - m.MinVaddr }

// FormatError says why a file is not a program that can run here.
type FormatError struct {
	Reason string
	Offset int64 // in the file, of what is wrong; -1 when it has no place
}

func (e *FormatError) Error() string {
	if e.Offset < 0 {
		return e.Reason
	}
	return fmt.Sprintf("%s (at byte %d of the file)", e.Reason, e.Offset)
}

func reject(off int64, format string, args ...any) error {
	return &FormatError{Reason: fmt.Sprintf(format, args...), Offset: off}
}

// Parse reads and checks the executable of size bytes in r. The error is a
// *FormatError when the file is not one that can run here; otherwise it wraps
// what r returned.
func Parse(r io.ReaderAt, size int64) (*Image, error) {
	var ehdr [ehdrSize]byte
	n, err := readUpTo(r, ehdr[:], size)
	if err != nil {
		return nil, fmt.Errorf("read ELF header: %w", err)
	}
	if err := checkHeader(ehdr[:n]); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	img := &Image{
		Type:      Type(le.Uint16(ehdr[16:])),
		Entry:     le.Uint64(ehdr[24:]),
		PhOff:     le.Uint64(ehdr[32:]),
		PhEntSize: le.Uint16(ehdr[54:]),
		PhNum:     le.Uint16(ehdr[56:]),
		Align:     pageSize,
	}
	if img.PhEntSize != phdrSize {
		return nil, reject(54, "program header entries of %d bytes, expected %d", img.PhEntSize, phdrSize)
	}
	if img.PhNum == 0 {
		return nil, reject(56, "no program headers: nothing in the file can be loaded")
	}
	table := int(img.PhNum) * phdrSize
	if table > maxPhdrBytes {
		return nil, reject(56, "%d program headers, more than the %d that fit in %d bytes", img.PhNum, maxPhdrBytes/phdrSize, maxPhdrBytes)
	}
	if !inFile(img.PhOff, uint64(table), size) {
		return nil, reject(32, "truncated: the file ends at %d, its program headers need %d bytes from %d", size, table, img.PhOff)
	}
	phdrs := make([]byte, table)
	if _, err := r.ReadAt(phdrs, int64(img.PhOff)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read program headers: %w", err)
	}
	for i := range int(img.PhNum) {
		p := phdrs[i*phdrSize : (i+1)*phdrSize]
		if err := img.addHeader(r, p, i, size); err != nil {
			return nil, err
		}
	}
	if err := img.finish(); err != nil {
		return nil, err
	}
	return img, nil
}

// addHeader takes program header i, whose bytes are p, into the image.
func (m *Image) addHeader(r io.ReaderAt, p []byte, i int, size int64) error {
	le := binary.LittleEndian
	at := int64(m.PhOff) + int64(i)*phdrSize
	flags := le.Uint32(p[4:])
	s := Segment{
		Offset:   le.Uint64(p[8:]),
		Vaddr:    le.Uint64(p[16:]),
		FileSize: le.Uint64(p[32:]),
		MemSize:  le.Uint64(p[40:]),
	}
	align := le.Uint64(p[48:])
	switch le.Uint32(p) {
	case ptLoad:
		if s.MemSize == 0 && s.FileSize == 0 {
			return nil
		}
		s.Prot = prot(flags)
		if err := m.checkSegment(s, align, i, at, size); err != nil {
			return err
		}
		// Alignments that are no power of two are ignored, as Linux does.
		if align > m.Align && align&(align-1) == 0 {
			m.Align = align
		}
		m.Segments = append(m.Segments, s)
	case ptInterp:
		if m.Interp != "" {
			return reject(at, "two PT_INTERP headers: the dynamic linker is ambiguous")
		}
		path, err := readInterp(r, s, at, size)
		if err != nil {
			return err
		}
		m.Interp = path
	case ptGNUStack:
		m.ExecStack = flags&pfX != 0
	}
	return nil
}

func (m *Image) checkSegment(s Segment, align uint64, i int, at, size int64) error {
	switch {
	case s.FileSize > s.MemSize:
		return reject(at, "segment %d has %d bytes in the file but only %d in memory", i, s.FileSize, s.MemSize)
	case s.FileSize > 0 && !inFile(s.Offset, s.FileSize, size):
		return reject(at, "truncated: the file ends at %d, segment %d needs %d bytes from %d", size, i, s.FileSize, s.Offset)
	case s.Vaddr > MaxAddr || s.MemSize > MaxAddr-s.Vaddr:
		return reject(at, "segment %d (address %#x, %d bytes) ends above the user address space (%#x)", i, s.Vaddr, s.MemSize, uint64(MaxAddr))
	case m.Type == Exec && s.Vaddr < MinAddr:
		return reject(at, "segment %d is at address %#x, below the lowest that a program may use (%#x)", i, s.Vaddr, uint64(MinAddr))
	case s.FileSize > 0 && s.Offset%pageSize != s.Vaddr%pageSize:
		return reject(at, "segment %d cannot be mapped: file offset %#x and address %#x differ within a page", i, s.Offset, s.Vaddr)
	case align > maxAlign && align&(align-1) == 0:
		return reject(at, "segment %d asks for an alignment of %#x, more than %#x", i, align, uint64(maxAlign))
	}
	return nil
}

// finish checks what concerns the segments together.
func (m *Image) finish() error {
	if len(m.Segments) == 0 {
		return reject(int64(m.PhOff), "no PT_LOAD program header: nothing in the file can be loaded")
	}
	slices.SortStableFunc(m.Segments, func(a, b Segment) int { return cmp.Compare(a.Vaddr, b.Vaddr) })
	for i := 1; i < len(m.Segments); i++ {
		if a, b := m.Segments[i-1], m.Segments[i]; a.End() > b.Vaddr {
			return reject(int64(m.PhOff), "two segments overlap: %#x-%#x and %#x-%#x", a.Vaddr, a.End(), b.Vaddr, b.End())
		}
	}
	m.MinVaddr = m.Segments[0].Vaddr &^ (pageSize - 1)
	m.MaxVaddr = (m.Segments[len(m.Segments)-1].End() + pageSize - 1) &^ (pageSize - 1)

	table := uint64(m.PhNum) * phdrSize
	executable := false
	for _, s := range m.Segments {
		if s.Prot&unix.PROT_EXEC != 0 && s.Vaddr <= m.Entry && m.Entry < s.End() {
			executable = true
		}
		if m.PhdrVaddr == 0 && s.Offset <= m.PhOff && m.PhOff-s.Offset <= s.FileSize && table <= s.FileSize-(m.PhOff-s.Offset) {
			m.PhdrVaddr = s.Vaddr + (m.PhOff - s.Offset)
		}
	}
	switch {
	case executable:
		return nil
	case m.Type == Dyn && m.Entry == 0:
		return reject(24, "this is a shared library, not a program: it has no entry point")
	}
	return reject(24, "the entry point %#x is not inside an executable segment", m.Entry)
}

// checkHeader checks the ELF header, b, which is shorter than ehdrSize when the
// file is.
func checkHeader(b []byte) error {
	if len(b) < 4 || string(b[:4]) != "\x7fELF" {
		return reject(0, "%s", describe(b))
	}
	if len(b) > 5 {
		switch {
		case b[4] == classELF32:
			return reject(4, "this is a 32-bit program; only 64-bit x86-64 programs run here")
		case b[4] != classELF64:
			return reject(4, "not a valid ELF file: class %d", b[4])
		case b[5] == dataMSB:
			return reject(5, "this is a big-endian program; x86-64 is little-endian")
		case b[5] != dataLSB:
			return reject(5, "not a valid ELF file: data encoding %d", b[5])
		}
	}
	if len(b) < ehdrSize {
		return reject(int64(len(b)), "truncated: the file ends at %d, its ELF header needs %d bytes", len(b), ehdrSize)
	}
	le := binary.LittleEndian
	if v := le.Uint32(b[20:]); b[6] != 1 || v != 1 {
		return reject(20, "unknown ELF version %d", v)
	}
	if m := le.Uint16(b[18:]); m != emX86_64 {
		return reject(18, "this is %s program; this machine runs x86-64", machineName(m))
	}
	if name, ok := foreignABI[b[7]]; ok {
		return reject(7, "this is a %s program; only Linux programs run here", name)
	}
	switch t := le.Uint16(b[16:]); t {
	case etExec, etDyn:
		return nil
	case etRel:
		return reject(16, "this is an object file, not a program: link it first")
	case etCore:
		return reject(16, "this is a core dump, not a program")
	default:
		return reject(16, "ELF type %d is not an executable type", t)
	}
}

// describe says what a file that begins with b is, when it is not ELF.
func describe(b []byte) string {
	switch {
	case len(b) == 0:
		return "the file is empty"
	case bytes.HasPrefix(b, []byte("#!")):
		line, _, _ := bytes.Cut(b[2:], []byte("\n"))
		return fmt.Sprintf("not an ELF program: this is a script for %q; run its interpreter with the script as argument", strings.TrimSpace(string(line)))
	case bytes.HasPrefix(b, []byte("MZ")):
		return "not an ELF program: this is a Windows (PE) program"
	case bytes.HasPrefix(b, []byte("!<arch>\n")):
		return "not an ELF program: this is a static library (ar archive)"
	case bytes.HasPrefix(b, []byte("\x00asm")):
		return "not an ELF program: this is a WebAssembly module"
	case bytes.HasPrefix(b, []byte("BC\xc0\xde")):
		return "not an ELF program: this is LLVM bitcode"
	case bytes.HasPrefix(b, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(b, []byte("\xce\xfa\xed\xfe")), bytes.HasPrefix(b, []byte("\xca\xfe\xba\xbe")):
		return "not an ELF program: this is a macOS (Mach-O) program"
	}
	return fmt.Sprintf("not an ELF program: it begins with %q", b[:min(len(b), 4)])
}

// machineNames are the values of e_machine that people meet, with article.
var machineNames = map[uint16]string{
	2: "a SPARC", 3: "an x86 (32-bit)", 8: "a MIPS", 20: "a PowerPC", 21: "a ppc64", 22: "an s390x",
	40: "an arm (32-bit)", 43: "a sparc64", 50: "an IA-64", 183: "an aarch64", 243: "a RISC-V",
	247: "a BPF", 258: "a LoongArch",
}

func machineName(m uint16) string {
	if n, ok := machineNames[m]; ok {
		return n
	}
	return fmt.Sprintf("an ELF machine %d", m)
}

// foreignABI are the values of EI_OSABI whose programs make another system's calls.
var foreignABI = map[byte]string{2: "NetBSD", 6: "Solaris", 9: "FreeBSD", 12: "OpenBSD"}

// readInterp returns the path that a PT_INTERP header, s, points at.
func readInterp(r io.ReaderAt, s Segment, at, size int64) (string, error) {
	if s.FileSize < 2 || s.FileSize > unix.PathMax {
		return "", reject(at, "the path of the dynamic linker has %d bytes; 2 to %d are allowed", s.FileSize, unix.PathMax)
	}
	if !inFile(s.Offset, s.FileSize, size) {
		return "", reject(at, "truncated: the file ends at %d, the path of the dynamic linker needs %d bytes from %d", size, s.FileSize, s.Offset)
	}
	b := make([]byte, s.FileSize)
	if _, err := r.ReadAt(b, int64(s.Offset)); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read path of dynamic linker: %w", err)
	}
	path, rest, ok := bytes.Cut(b, []byte{0})
	if !ok || len(rest) != 0 || len(path) == 0 {
		return "", reject(int64(s.Offset), "the path of the dynamic linker does not end with its only NUL")
	}
	return string(path), nil
}

func prot(flags uint32) int {
	p := 0
	if flags&pfR != 0 {
		p |= unix.PROT_READ
	}
	if flags&pfW != 0 {
		p |= unix.PROT_WRITE
	}
	if flags&pfX != 0 {
		p |= unix.PROT_EXEC
	}
	return p
}

// inFile reports whether a file of size bytes holds n bytes from off.
func inFile(off, n uint64, size int64) bool {
	return size >= 0 && off <= uint64(size) && n <= uint64(size)-off
}

// readUpTo fills b from the start of r, or as much as the file has.
func readUpTo(r io.ReaderAt, b []byte, size int64) (int, error) {
	b = b[:max(0, min(int64(len(b)), size))]
	if len(b) == 0 {
		return 0, nil
	}
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return n, nil
}
