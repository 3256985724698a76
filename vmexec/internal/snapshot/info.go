// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package snapshot is the file of a frozen program: a header that people can read,
// the state of its kernel objects, and its memory, which clones map straight from
// the file. docs/snapshots.md describes the format.
//
// A file is for the very build of the monitor that wrote it. It is trusted as far
// as its owner is: it must belong to this user and nobody else may read or write
// it. Beyond that everything in it is checked, so that a file that was cut off,
// changed or made for something else is refused, with the reason.
package snapshot

import (
	"fmt"
	"time"
)

// Info is the header of a file, as JSON.
type Info struct {
	Created  time.Time     `json:"created"`
	Key      string        `json:"key"`           // what the file is found by: a digest of all below that the program depends on
	Tag      string        `json:"tag,omitempty"` // what the key covers beside that
	Program  Program       `json:"program"`
	Root     Root          `json:"root"`
	Limits   Limits        `json:"limits"`
	Monitor  Monitor       `json:"monitor"`
	Platform string        `json:"platform"`
	CPU      CPU           `json:"cpu"`
	Clock    Clock         `json:"clock"`
	Start    time.Duration `json:"startNs"` // how long the program ran up to its wait point
	Threads  int           `json:"threads"`
	Learned  Pages         `json:"learned,omitempty"` // those that an event uses, once one has shown that

	Pages  Section `json:"pages"`  // the index of the memory
	State  Section `json:"state"`  // kernel objects
	Memory Section `json:"memory"` // of which Data are no zeros
	Data   uint64  `json:"memoryDataBytes"`
	Used   uint64  `json:"memoryUsedBytes"` // what the program is charged for
}

// Section is a part of the file.
type Section struct {
	Bytes  uint64 `json:"bytes"`
	SHA256 string `json:"sha256"` // hexadecimal; of Memory without its zeros
}

// Program is what runs.
type Program struct {
	Path              string   `json:"path"` // in its root
	Args              []string `json:"args"`
	Env               []string `json:"env"`
	Dir               string   `json:"dir"`
	User              User     `json:"user"`
	State             bool     `json:"state,omitempty"` // it has a state file
	SHA256            string   `json:"sha256"`
	Interpreter       string   `json:"interpreter,omitempty"` // its dynamic linker
	InterpreterSHA256 string   `json:"interpreterSha256,omitempty"`
}

// User is whose the program is.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Root says where the program's files are from.
type Root struct {
	Kind string `json:"kind"` // program: the program alone; folder: Path
	Path string `json:"path"` // on the host
	// Owners is the file on the host that says whose the files of a folder are.
	Owners string `json:"owners,omitempty"`
}

// Limits are those that shape the state.
type Limits struct {
	Memory  uint64 `json:"memoryBytes"`
	Output  int    `json:"outputBytes"`
	Threads int    `json:"threads"`
	Files   int    `json:"files"`
}

// Monitor is what wrote the file.
type Monitor struct {
	Build string `json:"build"` // the identity of the build
	Types string `json:"types"` // the layout of what State holds
}

// CPU is what the program has seen of the processor.
type CPU struct {
	XCR0      string `json:"xcr0"` // hexadecimal
	XSaveSize uint32 `json:"xsaveBytes"`
	HWCAP     string `json:"hwcap"`
	HWCAP2    string `json:"hwcap2"`
	CPUID     string `json:"cpuid"` // a digest of the leaves that tell features
}

// Clock is what the program may have learned of the time stamp counter.
type Clock struct {
	Guest bool   `json:"guest"` // clocks are read without leaving the machine
	Tick  uint64 `json:"tick"`  // ns, 32.32 fixed point; 0 when not known
}

// Reason is the kind of an Error.
type Reason string

// Reasons why a file is not used or not written.
const (
	Missing   Reason = "missing"   // there is none
	Unsafe    Reason = "unsafe"    // it is not this user's alone, or no regular file
	Busy      Reason = "busy"      // it is being removed
	Damaged   Reason = "damaged"   // it is cut off or changed, or was never a snapshot
	Format    Reason = "format"    // it has another format
	Build     Reason = "build"     // another build of the monitor wrote it
	Processor Reason = "processor" // the processor, or the platform, offers something else
	Counter   Reason = "clock"     // the time stamp counter has another rate
	Changed   Reason = "program"   // program, arguments, environment, limits or root are others
	Files     Reason = "files"     // files of the root have changed
	Full      Reason = "full"      // there is no room to write it
	Secret    Reason = "secret"    // it may not be written
	Failed    Reason = "failed"    // the host failed
)

// Error says why a file is not used or could not be written.
type Error struct {
	Path   string
	Reason Reason
	Detail string // what differs
	Todo   string // what to do; may be empty
	Err    error  // the cause; may be nil
}

func (e *Error) Error() string {
	s := fmt.Sprintf("snapshot %s: %s", e.Path, e.Detail)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Todo != "" {
		s += "; " + e.Todo
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
