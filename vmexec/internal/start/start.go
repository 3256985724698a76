// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package start carries out what loader plans: it puts an executable into an
// address space, with its dynamic linker and its first stack.
package start

import (
	"bytes"
	"fmt"
	"io"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/loader"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

const pageSize = guestmem.PageSize

// File is an executable.
type File struct {
	Path  string // in the guest's tree
	Image *loader.Image
	// Map makes a private mapping of the file, from v.Off to as far as v goes. The
	// error is guestmem.ErrLimit or a failure of the host.
	Map func(m *mm.MM, v mm.VMA) error
}

// Spec says what to start.
type Spec struct {
	Exe       File
	Interp    *File // the dynamic linker, when the program names one
	Args, Env []string
	ExecFn    string // AT_EXECFN: the path given to execve
	StackSize uint64
	Features  platform.Features
	// SignalFrame is AT_MINSIGSTKSZ.
	SignalFrame uint64
	Rand        io.Reader // of AT_RANDOM
	UID, GID    uint32    // whose it is
}

// Started is a program that is ready to run.
type Started struct {
	Entry, Stack uint64 // of the first thread
	Random       uint64 // where AT_RANDOM points
	Auxv         []byte
	// Where the strings are, each with its NUL: the arguments, and the environment,
	// which begins where they end.
	ArgStart, ArgEnd, EnvEnd uint64
}

// PlaceError says that there is no room in the address space for an executable.
type PlaceError struct {
	Path string
	Span uint64 // bytes
}

func (e *PlaceError) Error() string {
	return fmt.Sprintf("%s spans %d MiB, for which there is no room in the address space", e.Path, e.Span>>20)
}

// Program loads a program into an empty address space. The error is a *PlaceError,
// a *loader.TooLongError, guestmem.ErrLimit, or a failure of the host.
func Program(m *mm.MM, s Spec) (Started, error) {
	exe := s.Exe.Image
	base, err := place(&s.Exe, mm.PIEBase)
	if err != nil {
		return Started{}, err
	}
	end, err := s.Exe.load(m, base)
	if err != nil {
		return Started{}, err
	}
	m.SetBrkStart(end)
	entry, interpBase := base+exe.Entry, uint64(0)
	if s.Interp != nil {
		in := s.Interp.Image
		// The alignment may take as much again, before and after.
		if interpBase, err = place(s.Interp, m.FindHole(0, in.Span()+2*in.Align)); err != nil {
			return Started{}, err
		}
		if _, err := s.Interp.load(m, interpBase); err != nil {
			return Started{}, err
		}
		entry = interpBase + in.Entry
	}

	prot := mm.Read | mm.Write
	if exe.ExecStack {
		prot |= mm.Exec
	}
	if errno := m.Map(mm.VMA{Start: mm.StackTop - s.StackSize, End: mm.StackTop, Prot: prot, Name: "[stack]", Stack: true}); errno != 0 {
		return Started{}, guestmem.ErrLimit
	}
	m.Prepare(mm.StackTop-prefaultStack, mm.StackTop)
	spec := loader.StackSpec{
		Top: mm.StackTop, Size: s.StackSize, Args: s.Args, Env: s.Env, ExecFn: s.ExecFn,
		PhEnt: exe.PhEntSize, PhNum: exe.PhNum, Base: interpBase, Entry: base + exe.Entry,
		HWCap: s.Features.HWCAP, HWCap2: s.Features.HWCAP2, MinSigStkSz: s.SignalFrame, VDSO: x86.VDSOVA,
		UID: s.UID, EUID: s.UID, GID: s.GID, EGID: s.GID,
	}
	if exe.PhdrVaddr != 0 {
		spec.Phdr = base + exe.PhdrVaddr
	}
	if _, err := io.ReadFull(s.Rand, spec.Random[:]); err != nil {
		return Started{}, err
	}
	stack, err := loader.Stack(spec)
	if err != nil {
		return Started{}, err
	}
	if err := m.Poke(stack.RSP, stack.Bytes); err != nil {
		return Started{}, err
	}
	if err := m.Err(); err != nil {
		return Started{}, err
	}
	auxv := bytes.Clone(stack.Bytes[stack.AuxvStart-stack.RSP : stack.AuxvEnd-stack.RSP])
	return Started{Entry: entry, Stack: stack.RSP, Random: stack.RandomAddr, Auxv: auxv, ArgStart: stack.ArgStart, ArgEnd: stack.ArgEnd, EnvEnd: stack.EnvEnd}, nil
}

// place returns what is added to the addresses of an executable: for a
// position-independent one what brings its first page to at, or as far above it as
// the alignment asks for, whatever address it is linked at. The error is a
// *PlaceError when it would not end below the stack there: above that are the
// monitor's own pages in the guest, which no segment may replace.
func place(f *File, at uint64) (base uint64, err error) {
	img, first := f.Image, f.Image.MinVaddr
	if img.Type == loader.Dyn {
		low := img.MinVaddr &^ (img.Align - 1)
		start := (at + img.Align - 1) &^ (img.Align - 1)
		base, first = start-low, start // the sum may pass 2⁶⁴ and comes back
	}
	if at == 0 || first > mm.MmapTop || img.Span()+img.Align > mm.MmapTop-first {
		return 0, &PlaceError{Path: f.Path, Span: img.Span()}
	}
	return base, nil
}

// prefaultStack is the part of the stack that the host prepares before the start.
const prefaultStack = 32 << 10

// load maps the segments of an executable at base and returns the end of the
// last, on a page boundary.
func (f *File) load(m *mm.MM, base uint64) (end uint64, err error) {
	for _, s := range f.Image.Segments {
		start := (base + s.Vaddr) &^ (pageSize - 1)
		fileEnd := base + s.Vaddr + s.FileSize
		memEnd := base + s.End()
		prot := mm.Prot(s.Prot)
		if prot&mm.Write != 0 {
			prot |= mm.Read
		}
		anon := start
		if s.FileSize > 0 {
			anon = pageUp(fileEnd)
			if err := f.Map(m, mm.VMA{Start: start, End: anon, Prot: prot, Name: f.Path, Off: s.Offset &^ (pageSize - 1)}); err != nil {
				return 0, err
			}
			// What follows in the last page is the file's; the program's zeros begin
			// there. (A read-only segment keeps it, as in Linux.)
			if tail := anon - fileEnd; tail > 0 && s.MemSize > s.FileSize {
				if err := m.Poke(fileEnd, make([]byte, tail)); err != nil {
					return 0, err
				}
			}
		}
		if memEnd > anon {
			if errno := m.Map(mm.VMA{Start: anon, End: pageUp(memEnd), Prot: prot}); errno != 0 {
				return 0, guestmem.ErrLimit
			}
		}
		end = max(end, pageUp(memEnd))
	}
	return end, nil
}

func pageUp(v uint64) uint64 { return (v + pageSize - 1) &^ (pageSize - 1) }
