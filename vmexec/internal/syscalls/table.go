// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package syscalls serves the system calls of x86-64 Linux, one file a family.
package syscalls

import (
	"fmt"
	"sync"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// Support says how much of a call there is.
type Support uint8

const (
	// Full: as Linux, for a process with one address space and no devices.
	Full Support = iota
	// Partial: a part of it; Entry.Note says which.
	Partial
	// Stub: succeeds without doing anything, which Entry.Note justifies.
	Stub
	// Refused: always fails, with the error a Linux without the feature gives.
	Refused
)

func (s Support) String() string {
	switch s {
	case Full:
		return "full"
	case Partial:
		return "partial"
	case Stub:
		return "stub"
	case Refused:
		return "refused"
	}
	return fmt.Sprintf("support %d", uint8(s))
}

// Entry is one system call of the table.
type Entry struct {
	Nr      int
	Name    string
	Fn      task.Handler
	Support Support
	Note    string   // what is missing, or why nothing needs to be done
	Guests  []string // golden guests that exercise it; see exercisedBy
}

// families lists the functions that give the entries of each file.
var families = []func() []Entry{
	descriptorCalls,
	dirCalls,
	epollCalls,
	eventfdCalls,
	execCalls,
	idCalls,
	itimerCalls,
	infoCalls,
	inotifyCalls,
	limitCalls,
	lockCalls,
	memoryCalls,
	mempolicyCalls,
	openCalls,
	pathCalls,
	pipeCalls,
	pollCalls,
	prctlCalls,
	processCalls,
	randomCalls,
	readwriteCalls,
	refusedCalls,
	schedCalls,
	signalCalls,
	signalfdCalls,
	socketCalls,
	socketIOCalls,
	statCalls,
	threadCalls,
	timeCalls,
	timerfdCalls,
	waitCalls,
}

var table = sync.OnceValue(func() *task.Table {
	var t task.Table
	var there [task.Calls]bool
	for _, f := range families {
		for _, e := range f() {
			if e.Nr < 0 || e.Nr >= task.Calls || there[e.Nr] {
				panic(fmt.Sprintf("syscalls: entry %d (%s) is there twice or out of range", e.Nr, e.Name))
			}
			t[e.Nr], there[e.Nr] = e.Fn, true
		}
	}
	return &t
})

// Table returns the handlers for the run loop.
func Table() *task.Table { return table() }

// Name returns Linux's name of a call, served or not, or its number in words.
func Name(nr uint64) string {
	if nr < task.Calls {
		if name, ok := abi.SyscallNames[int(nr)]; ok {
			return name
		}
	}
	return fmt.Sprintf("syscall_%d", nr)
}

// Entries returns every entry by number.
func Entries() map[int]Entry {
	entries := map[int]Entry{}
	for _, f := range families {
		for _, e := range f() {
			e.Guests = exercisedBy[e.Name]
			entries[e.Nr] = e
		}
	}
	return entries
}
