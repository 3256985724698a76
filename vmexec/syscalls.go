// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"maps"
	"slices"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/syscalls"
)

//go:generate go run kontain.dev/eventing/hack/sysno internal/abi/sysno.go
//go:generate go run kontain.dev/eventing/hack/syscalls ../docs/SYSCALLS.md

// SyscallSupport says how much of one Linux system call there is.
type SyscallSupport struct {
	Number int    `json:"number"` // of x86-64
	Name   string `json:"name"`
	// Level is full, partial, stub (succeeds without doing anything), refused (always
	// fails, as on a Linux without the feature), or none (ENOSYS).
	Level string `json:"level"`
	// Note says what is missing, or why nothing needs to be done.
	Note string `json:"note,omitempty"`
	// Guests are the golden guests of test/guests that prove it.
	Guests []string `json:"guests,omitempty"`
}

// Syscalls returns every system call of x86-64 Linux in order of their numbers.
func Syscalls() []SyscallSupport {
	entries := syscalls.Entries()
	var list []SyscallSupport
	for _, nr := range slices.Sorted(maps.Keys(abi.SyscallNames)) {
		s := SyscallSupport{Number: nr, Name: abi.SyscallNames[nr], Level: "none"}
		if e, ok := entries[nr]; ok {
			s.Level, s.Note, s.Guests = e.Support.String(), e.Note, slices.Clone(e.Guests)
		}
		list = append(list, s)
	}
	return list
}
