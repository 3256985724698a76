// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package vmexec runs one ordinary Linux program in a virtual machine that has
// no guest kernel. The program runs in user mode inside the machine; its system
// calls leave the machine and are served by this package from memory that the
// machine owns. No path, descriptor or ioctl of the program reaches the host.
//
// The order of use is Open (a host platform), NewRoot and NewProgram (what to
// run), Host.NewVM (a machine with the program loaded), VM.Run, VM.Close.
//
// vmexec imports nothing of Kubernetes, CloudEvents or this project's pkg.
package vmexec

import (
	"context"
	"fmt"
	"io"
	"time"

	"kontain.dev/eventing/vmexec/talk"
)

// Kind names a platform: the mechanism that separates the program from the host.
type Kind string

const (
	// Auto picks KVM where it works. It never falls back to a weaker platform.
	Auto Kind = "auto"
	// KVM runs the program at privilege level 3 of a KVM virtual machine.
	KVM Kind = "kvm"
	// Ptrace serves the same system calls to a traced process.
	Ptrace Kind = "ptrace"
)

// UnavailableError says why a platform cannot be used on this machine.
type UnavailableError struct {
	Platform Kind
	Reason   string // what is missing
	Hint     string // what the operator can do; may be empty
	Err      error  // the cause; may be nil
}

func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("platform %s is not available: %s", e.Platform, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// ProgramError says why a file cannot be run as a program.
type ProgramError struct {
	Path   string // path as the caller gave it
	Reason string // what is wrong, with offsets and values where they help
	Err    error  // the cause; may be nil
}

func (e *ProgramError) Error() string {
	s := fmt.Sprintf("cannot run %s: %s", e.Path, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ProgramError) Unwrap() error { return e.Err }

// Limits bound one run of a program. A zero field means its default.
type Limits struct {
	// Memory is the most guest memory in bytes, page tables and the overlay's
	// file contents included. Default DefaultMemory; at least MinMemory.
	Memory uint64
	// Wall is the most wall-clock time from Run to the end. Zero means none.
	Wall time.Duration
	// CPU is the most processor time of the machine and its monitor. Zero means none.
	CPU time.Duration
	// Output is the most bytes kept of each of stdout and stderr when they are
	// captured. More on stdout ends the program with OutputLimit; of stderr the
	// last Output bytes are kept. Default DefaultOutput.
	Output int
	// Threads is the most guest threads at once. Default DefaultThreads.
	Threads int
	// Files is the most open descriptors. Default DefaultFiles.
	Files int
}

// Defaults and bounds of Limits.
const (
	DefaultMemory  = 128 << 20
	MinMemory      = 4 << 20
	MaxMemory      = 64 << 30
	DefaultOutput  = 1 << 20
	DefaultThreads = 1024
	DefaultFiles   = 1024
)

// IO is what a program's standard descriptors are connected to.
type IO struct {
	// Event is the whole of stdin when Stdin is nil.
	Event []byte
	// Stdin, when set, is read as the program asks for it.
	Stdin io.Reader
	// Stdout and Stderr, when nil, are captured into the Result within
	// Limits.Output. A Writer that blocks holds back the program.
	Stdout, Stderr io.Writer
	// State is what the program finds in its state file; see ProgramSpec.State.
	State []byte
	// Talk, when set, talks with the program over connections while that runs, on a
	// goroutine of its own; when it returns, the run ends with the Reason Answered.
	// Run returns after it.
	Talk func(context.Context, *talk.Side)
	// Outward, when set, makes the connections to the network outside that a program
	// with ProgramSpec.Outward asks for.
	Outward talk.Outward
	// Line, when set, does the same for one who talks from another process.
	Line *Line
	// Trace, when set, gets what the program does in the form of strace(1), a line or
	// a part of one with each Write. It slows the program down, and reading what calls
	// point to can bring in pages a little earlier.
	Trace io.Writer
}

// Reason says how a run ended.
type Reason uint8

const (
	// Exited: the program ended by itself; see Result.Status.
	Exited Reason = iota
	// Signaled: a signal ended the program; see Result.Death.
	Signaled
	// WallLimit: Limits.Wall passed.
	WallLimit
	// CPULimit: Limits.CPU was used up.
	CPULimit
	// MemoryLimit: the program needed more than Limits.Memory.
	MemoryLimit
	// OutputLimit: the program wrote more than Limits.Output to stdout.
	OutputLimit
	// Canceled: the context of Run was done.
	Canceled
	// Deadlock: every thread waits for something that can no longer happen.
	Deadlock
	// Answered: the one who talked with the program needs no more of it.
	Answered
)

var reasonNames = [...]string{"exited", "signaled", "wall-clock limit", "CPU-time limit", "memory limit", "output limit", "canceled", "deadlock", "answered"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Death describes the signal that ended a program.
type Death struct {
	Signal    int    // Linux signal number
	Vector    int    // x86 exception vector, or -1 when no exception caused it
	ErrorCode uint64 // of the exception
	RIP       uint64 // instruction pointer of the thread
	Addr      uint64 // fault address (CR2) of a page fault, otherwise 0
}

// Result is how a run ended and what it left.
type Result struct {
	Reason  Reason
	Status  int    // exit status, 0 to 255, when Reason is Exited
	Death   *Death // set when Reason is Signaled
	Message string // one line for an operator; empty when the status is 0
	Stdout  []byte // captured output, when IO.Stdout was nil
	Stderr  []byte // captured output, when IO.Stderr was nil; its tail when it was too long
	// State is what the program left in its state file, when it has exited or answered;
	// nil when it has removed it. BadState is why it cannot be kept, if so: it has more
	// bytes than it may, or is no file.
	State    []byte
	BadState string
	Stats    Stats
}

// ExitStatus returns the status a shell would show: the exit status, 128+n for
// a signal n, and 137 (128+SIGKILL) when a limit ended the program.
func (r *Result) ExitStatus() int {
	switch {
	case r.Reason == Exited:
		return r.Status
	case r.Reason == Signaled && r.Death != nil:
		return 128 + r.Death.Signal
	}
	return 128 + 9
}

// Stats counts what one run cost.
type Stats struct {
	Exits       uint64            `json:"exits"`       // times the vCPU came back to the monitor
	Answered    uint64            `json:"answered"`    // system calls answered inside the machine, without an exit
	Syscalls    map[string]uint64 `json:"syscalls"`    // system calls by name, those answered inside too
	Unsupported map[string]uint64 `json:"unsupported"` // calls answered with ENOSYS
	Exceptions  map[string]uint64 `json:"exceptions"`  // exits by exception
	Kicks       uint64            `json:"kicks"`       // exits forced by a timer or from outside
	PageFaults  uint64            `json:"pageFaults"`  // page faults that the monitor served by mapping memory
	Signals     uint64            `json:"signals"`     // signals delivered to guest handlers
	Switches    uint64            `json:"switches"`    // changes of the running guest thread
	Threads     int               `json:"threads"`     // most guest threads at once
	PeakPages   uint64            `json:"peakPages"`   // most 4 KiB guest pages in use
	DirtyPages  int               `json:"dirtyPages"`  // pages copied back by the reset before this run
	Create      time.Duration     `json:"createNs"`    // making the machine, or the clone
	Reset       time.Duration     `json:"resetNs"`     // the reset before this run
	Load        time.Duration     `json:"loadNs"`      // loading the program
	Run         time.Duration     `json:"runNs"`       // from the first instruction to the end
}
