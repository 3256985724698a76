// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"bytes"
	"syscall"

	"kontain.dev/eventing/test/guests/build"
)

// guest is one entry of the table: a program, how to start it, and how it ends.
type guest struct {
	name    string            // of the test
	source  string            // name of its source; the name of the test when empty
	flavour build.Flavour     // build.Glibc when empty
	args    []string          // after argv[0]; {root} is the folder of files
	env     []string          // the whole environment; PATH and HOME alone when nil
	stdin   []byte            // the event
	files   map[string]string // of its root: path to content, or "-> target" for a symbolic link
	memory  uint64            // limit in bytes; guestMemory when 0
	status  int               // exit status
	signal  syscall.Signal    // that ends it
	stderr  bool              // compare what it writes to stderr too
	quiet   bool              // it writes nothing to stdout
}

// megabyte is a large event with lines of different lengths.
var megabyte = func() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 1<<20; i++ {
		b.WriteString("line ")
		b.Write(bytes.Repeat([]byte{byte('a' + i%26)}, i%97))
		b.WriteByte('\n')
	}
	return b.Bytes()
}()

var guests = []guest{
	{name: "hello", stderr: true},
	{name: "hello_pie", source: "hello", flavour: build.PIE, stderr: true},
	{name: "hello_musl", source: "hello", flavour: build.Musl, stderr: true},
	{name: "exit_status", args: []string{"42"}, status: 42},
	{name: "exit_status_wraps", source: "exit_status", args: []string{"511"}, status: 255},
	{name: "exit_thread", status: 7},
	{name: "args_env", args: []string{"one", "", "two words", "\xff\"'\\"}, env: []string{"A=1", "EMPTY=", "LONG=x=y"}, stderr: true},
	{name: "args_none", source: "args_env", env: []string{}, stderr: true},
	{name: "stdin_copy", stdin: []byte("first\nsecond\x00third\nno newline")},
	{name: "stdin_copy_empty", source: "stdin_copy", quiet: true},
	{name: "stdin_copy_large", source: "stdin_copy", stdin: megabyte},
	{name: "output_large", stderr: true},

	// Memory.
	{name: "memory_oracle", args: []string{"1", "25000"}},
	{name: "memory_oracle_musl", source: "memory_oracle", flavour: build.Musl, args: []string{"2", "20000"}},
	{name: "memory_oracle_pie", source: "memory_oracle", flavour: build.PIE, args: []string{"3", "20000"}},
	{name: "malloc_stress"},
	{name: "malloc_stress_musl", source: "malloc_stress", flavour: build.Musl},
	{name: "brk"},
	{name: "mmap_basics"},
	{name: "guard_pages"},
	{name: "stack_growth"},
	{name: "stack_growth_pie", source: "stack_growth", flavour: build.PIE},
	{name: "stack_overflow"},
	{name: "stack_overflow_musl", source: "stack_overflow", flavour: build.Musl},
	{name: "large_bss", memory: 64 << 20},
	{name: "sparse_mmap", memory: 64 << 20},

	// Exceptions and death.
	{name: "segv_longjmp"},
	{name: "segv_longjmp_musl", source: "segv_longjmp", flavour: build.Musl},
	{name: "traps"},
	{name: "bus_error"},
	{name: "die_segv", source: "die", args: []string{"segv"}, signal: syscall.SIGSEGV},
	{name: "die_segv_blocked", source: "die", args: []string{"segv-blocked"}, signal: syscall.SIGSEGV},
	{name: "die_segv_ignored", source: "die", args: []string{"segv-ignored"}, signal: syscall.SIGSEGV},
	{name: "die_segv_thread", source: "die", args: []string{"segv-thread"}, signal: syscall.SIGSEGV},
	{name: "die_segv_stack", source: "die", args: []string{"segv-stack"}, signal: syscall.SIGSEGV},
	{name: "die_abort", source: "die", args: []string{"abort"}, signal: syscall.SIGABRT},
	{name: "die_abort_musl", source: "die", flavour: build.Musl, args: []string{"abort"}, signal: syscall.SIGABRT},
	{name: "die_fpe", source: "die", args: []string{"fpe"}, signal: syscall.SIGFPE},
	{name: "die_ill", source: "die", args: []string{"ill"}, signal: syscall.SIGILL},
	{name: "die_trap", source: "die", args: []string{"trap"}, signal: syscall.SIGTRAP},
	{name: "die_kill", source: "die", args: []string{"kill"}, signal: syscall.SIGKILL},
	{name: "die_term", source: "die", args: []string{"term"}, signal: syscall.SIGTERM},
	{name: "die_usr1_thread", source: "die", args: []string{"usr1-thread"}, signal: syscall.SIGUSR1},
	{name: "die_rt", source: "die", args: []string{"rt"}, signal: syscall.Signal(37)},
	{name: "die_alarm", source: "die", args: []string{"alarm"}, signal: syscall.SIGALRM},
	{name: "die_pipe", source: "die", args: []string{"pipe"}, signal: syscall.SIGPIPE},
}
