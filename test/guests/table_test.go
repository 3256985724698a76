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
	waits   bool              // it reads its event in the middle: no GUEST_WAIT is needed to freeze it
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
	{name: "stdin_copy", stdin: []byte("first\nsecond\x00third\nno newline"), waits: true},
	{name: "stdin_copy_empty", source: "stdin_copy", quiet: true},
	{name: "stdin_copy_large", source: "stdin_copy", stdin: megabyte, waits: true},
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

	// Signals.
	{name: "signal_basics"},
	{name: "signal_basics_musl", source: "signal_basics", flavour: build.Musl},
	{name: "signal_queue"},
	{name: "signal_restart"},
	{name: "signal_registers"},
	{name: "signal_context"},
	{name: "setjmp"},
	{name: "setjmp_musl", source: "setjmp", flavour: build.Musl},

	// Threads.
	{name: "threads"},
	{name: "threads_musl", source: "threads", flavour: build.Musl},
	{name: "threads_pie", source: "threads", flavour: build.PIE},
	{name: "thread_spin"},
	{name: "waiting_threads", stdin: []byte("an event"), waits: true},
	{name: "thread_cancel"},
	{name: "thread_cancel_musl", source: "thread_cancel", flavour: build.Musl},
	{name: "thread_mutexes"},
	{name: "thread_mutexes_musl", source: "thread_mutexes", flavour: build.Musl},
	{name: "thread_fp"},
	{name: "futex"},
	{name: "clone_tls"},

	// Time and readiness.
	{name: "clocks"},
	{name: "clocks_musl", source: "clocks", flavour: build.Musl},
	{name: "timers"},
	{name: "poll_select"},
	{name: "epoll"},
	{name: "pipes"},

	// Files.
	{name: "files"},
	{name: "files_musl", source: "files", flavour: build.Musl},
	{name: "folders"},
	{name: "descriptors"},
	{name: "file_attributes"},
	{name: "transfer"},
	{name: "mmap_file"},
	{name: "dev_files"},
	{name: "proc_self", args: []string{"second", "third one"}},
	{name: "root_files", args: []string{"{root}"}, files: map[string]string{
		"data/a.txt":           "a text",
		"data/b.txt":           "b text, longer",
		"data/c.txt":           "",
		"data/link":            "-> a.txt",
		"data/broken":          "-> /nowhere/at/all",
		"data/sub/up":          "-> ../b.txt",
		"data/sub/deeper/x":    "moved about",
		"data/sub/.hidden":     "not listed",
		"data/sub/plain space": "a name with a space",
	}},
	{name: "bad_pointers"},
	{name: "leak_state", stdin: []byte("quiet"), waits: true},
	{name: "event_mix", stdin: []byte("{\"some\": \"event\"}"), waits: true},
	{name: "uniqueness", stdin: []byte("check"), waits: true},
	{name: "uniqueness_musl", source: "uniqueness", flavour: build.Musl, stdin: []byte("check"), waits: true},

	// The process and the processor.
	{name: "system"},
	{name: "identity"},
	{name: "auxv"},
	{name: "auxv_pie", source: "auxv", flavour: build.PIE},
	{name: "cpu_features"},
	{name: "localtime"},
	{name: "compute"},
	{name: "compute_musl", source: "compute", flavour: build.Musl},
	{name: "exceptions", flavour: build.Cxx, stdin: []byte("one\ntwo\n"), status: 3},

	// Go.
	{name: "go_hello", source: "hello", flavour: build.Go, args: []string{"a", "b c"}, status: 11, stderr: true},
	{name: "go_goroutines", source: "goroutines", flavour: build.Go},
	{name: "go_gc", source: "gc", flavour: build.Go},
	{name: "go_timers", source: "timers", flavour: build.Go},
	{name: "go_preempt", source: "preempt", flavour: build.Go},
	{name: "go_faults", source: "faults", flavour: build.Go},
	{name: "go_stacks", source: "stacks", flavour: build.Go},
	{name: "go_signals", source: "signals", flavour: build.Go, signal: syscall.SIGTERM},
	{name: "go_stdlib", source: "stdlib", flavour: build.Go},
	{name: "go_sync", source: "sync", flavour: build.Go},
	{name: "go_uniqueness", source: "uniqueness", flavour: build.Go, stdin: []byte("check"), waits: true},
	{name: "go_crypto", source: "crypto", flavour: build.Go},
	{name: "go_files", source: "files", flavour: build.Go},
	{name: "go_pipes", source: "pipes", flavour: build.Go},
	{name: "go_stdin", source: "stdin", flavour: build.Go, stdin: megabyte, waits: true},
	{name: "go_panics", source: "panics", flavour: build.Go, status: 2},
	{name: "go_die_panic", source: "die", flavour: build.Go, args: []string{"panic"}, status: 2},
	{name: "go_die_nil", source: "die", flavour: build.Go, args: []string{"nil"}, status: 2},
	{name: "go_die_goroutine", source: "die", flavour: build.Go, args: []string{"goroutine"}, status: 2},
	{name: "go_die_deadlock", source: "die", flavour: build.Go, args: []string{"deadlock"}, status: 2},
	{name: "go_die_stack", source: "die", flavour: build.Go, args: []string{"stack"}, status: 2},
	{name: "go_die_term", source: "die", flavour: build.Go, args: []string{"term"}, signal: syscall.SIGTERM},
	{name: "go_die_kill", source: "die", flavour: build.Go, args: []string{"kill"}, signal: syscall.SIGKILL},
	{name: "go_die_segv", source: "die", flavour: build.Go, args: []string{"segv"}, status: 2},
	{name: "go_die_quit", source: "die", flavour: build.Go, args: []string{"quit"}, status: 2},
}
