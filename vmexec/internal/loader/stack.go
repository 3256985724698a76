// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// Keys of the auxiliary vector; see getauxval(3) and <linux/auxvec.h>.
const (
	atNull        = 0
	atPhdr        = 3
	atPhent       = 4
	atPhnum       = 5
	atPagesz      = 6
	atBase        = 7
	atFlags       = 8
	atEntry       = 9
	atUID         = 11
	atEUID        = 12
	atGID         = 13
	atEGID        = 14
	atPlatform    = 15
	atHWCap       = 16
	atClkTck      = 17
	atSecure      = 23
	atRandom      = 25
	atHWCap2      = 26
	atExecFn      = 31
	atSysinfoEHDR = 33
	atMinSigStkSz = 51
)

const (
	// platform is AT_PLATFORM, which the dynamic linker puts for $PLATFORM.
	platform = "x86_64"
	// ClockTicks is AT_CLKTCK: the unit of times(2), per second.
	ClockTicks = 100
	// maxArgLen is MAX_ARG_STRLEN of execve(2), the NUL included.
	maxArgLen = 32 * pageSize
)

// StackSpec describes the first stack of a process.
type StackSpec struct {
	Top  uint64 // address after the last byte; a multiple of 16
	Size uint64 // bytes of address space below Top

	Args   []string // argv; an empty list becomes one empty string, as in Linux
	Env    []string
	ExecFn string // AT_EXECFN: the path given to execve

	Phdr  uint64 // AT_PHDR: address of the program headers, base added; 0 when not in memory
	PhEnt uint16
	PhNum uint16
	Base  uint64 // AT_BASE: where the dynamic linker is loaded; 0 when there is none
	Entry uint64 // AT_ENTRY: of the program, base added

	UID, EUID, GID, EGID uint32
	Random               [16]byte // AT_RANDOM: fresh for each process
	HWCap, HWCap2        uint64   // CPUID 1 EDX, and the FSGSBASE and ring-3 MWAIT bits
	MinSigStkSz          uint64   // AT_MINSIGSTKSZ: bytes of the largest signal frame; 0 leaves it out
	VDSO                 uint64   // AT_SYSINFO_EHDR: address of the vDSO; 0 leaves it out
}

// InitialStack is the content of a first stack. Bytes goes to RSP and ends at
// the Top of the StackSpec.
type InitialStack struct {
	Bytes              []byte
	RSP                uint64 // a multiple of 16; argc is here
	ArgStart, ArgEnd   uint64 // the strings of argv, each with its NUL: /proc/self/cmdline
	EnvStart, EnvEnd   uint64 // the strings of the environment: /proc/self/environ
	RandomAddr         uint64 // of the 16 bytes of AT_RANDOM
	AuxvStart, AuxvEnd uint64 // the auxiliary vector with its AT_NULL: /proc/self/auxv
}

// TooLongError says that the arguments and the environment do not fit on the
// stack, or one string is too long by itself: E2BIG of execve(2).
type TooLongError struct {
	Size, Limit uint64 // bytes
	What        string // what is too long
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("%s of %d bytes, more than the %d allowed", e.What, e.Size, e.Limit)
}

// Stack builds the first stack as the x86-64 psABI (section 3.4.1, initial stack
// and register state) and Linux lay it out. The error is a *TooLongError, or an
// ordinary error when a string contains a NUL or the spec is not sensible.
func Stack(s StackSpec) (*InitialStack, error) {
	if s.Top%16 != 0 || s.Size == 0 || s.Size > s.Top {
		return nil, fmt.Errorf("stack of %#x bytes below %#x: not a usable range", s.Size, s.Top)
	}
	args := s.Args
	if len(args) == 0 {
		args = []string{""}
	}
	argBytes, err := stringBytes("argument", args)
	if err != nil {
		return nil, err
	}
	envBytes, err := stringBytes("environment string", s.Env)
	if err != nil {
		return nil, err
	}
	nameBytes, err := stringBytes("program path", []string{s.ExecFn})
	if err != nil {
		return nil, err
	}
	pointers := 8 * (uint64(len(args)) + uint64(len(s.Env)))
	total, limit := argBytes+envBytes+nameBytes+pointers, s.Size/4
	if total > limit || total > math.MaxInt32 {
		return nil, &TooLongError{Size: total, Limit: min(limit, math.MaxInt32), What: "arguments and environment"}
	}

	// From the top: 8 zero bytes, path, environment, arguments, platform and
	// random bytes, then down to the next multiple of 16 the vectors.
	end := s.Top - 8
	execFn := end - nameBytes
	envStart := execFn - envBytes
	argStart := envStart - argBytes
	platformAt := argStart - uint64(len(platform)+1)
	randomAt := (platformAt - uint64(len(s.Random))) &^ 15

	aux := s.auxv(randomAt, platformAt, execFn)
	words := 1 + len(args) + 1 + len(s.Env) + 1 + len(aux)
	rsp := (randomAt - uint64(words)*8) &^ 15
	if s.Top-rsp > s.Size {
		return nil, &TooLongError{Size: s.Top - rsp, Limit: s.Size, What: "initial stack"}
	}

	st := &InitialStack{
		Bytes: make([]byte, s.Top-rsp), RSP: rsp,
		ArgStart: argStart, ArgEnd: envStart,
		EnvStart: envStart, EnvEnd: execFn,
		RandomAddr: randomAt,
	}
	pos := uint64(0)
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(st.Bytes[pos:], v)
		pos += 8
	}
	// putStrings writes the strings from addr and their addresses as a vector.
	putStrings := func(list []string, addr uint64) {
		for _, v := range list {
			put(addr)
			copy(st.Bytes[addr-rsp:], v)
			addr += uint64(len(v)) + 1
		}
		put(0)
	}
	put(uint64(len(args)))
	putStrings(args, argStart)
	putStrings(s.Env, envStart)
	st.AuxvStart = rsp + pos
	for _, v := range aux {
		put(v)
	}
	st.AuxvEnd = rsp + pos
	copy(st.Bytes[randomAt-rsp:], s.Random[:])
	copy(st.Bytes[platformAt-rsp:], platform)
	copy(st.Bytes[execFn-rsp:], s.ExecFn)
	return st, nil
}

// auxv returns the auxiliary vector as pairs of words, AT_NULL last.
func (s *StackSpec) auxv(random, platform, execFn uint64) []uint64 {
	var v []uint64
	if s.VDSO != 0 {
		v = append(v, atSysinfoEHDR, s.VDSO)
	}
	if s.MinSigStkSz != 0 {
		v = append(v, atMinSigStkSz, s.MinSigStkSz)
	}
	return append(v,
		atHWCap, s.HWCap,
		atPagesz, pageSize,
		atClkTck, ClockTicks,
		atPhdr, s.Phdr,
		atPhent, uint64(s.PhEnt),
		atPhnum, uint64(s.PhNum),
		atBase, s.Base,
		atFlags, 0,
		atEntry, s.Entry,
		atUID, uint64(s.UID),
		atEUID, uint64(s.EUID),
		atGID, uint64(s.GID),
		atEGID, uint64(s.EGID),
		atSecure, 0,
		atRandom, random,
		atHWCap2, s.HWCap2,
		atExecFn, execFn,
		atPlatform, platform,
		atNull, 0,
	)
}

// stringBytes returns what the strings take, each with its NUL.
func stringBytes(what string, list []string) (uint64, error) {
	total := uint64(0)
	for i, v := range list {
		if len(v) >= maxArgLen {
			return 0, &TooLongError{Size: uint64(len(v)) + 1, Limit: maxArgLen, What: what}
		}
		if strings.IndexByte(v, 0) >= 0 {
			return 0, fmt.Errorf("%s %d contains a NUL byte", what, i)
		}
		total += uint64(len(v)) + 1
	}
	return total, nil
}
