// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"syscall"

	"kontain.dev/eventing/test/guests/build"
)

var _ = family("go",
	guest{name: "go_hello", source: "hello", flavour: build.Go, args: []string{"a", "b c"}, status: 11, stderr: true},
	guest{name: "go_goroutines", source: "goroutines", flavour: build.Go},
	guest{name: "go_gc", source: "gc", flavour: build.Go},
	guest{name: "go_timers", source: "timers", flavour: build.Go},
	guest{name: "go_preempt", source: "preempt", flavour: build.Go},
	guest{name: "go_faults", source: "faults", flavour: build.Go},
	guest{name: "go_stacks", source: "stacks", flavour: build.Go},
	guest{name: "go_signals", source: "signals", flavour: build.Go, signal: syscall.SIGTERM},
	guest{name: "go_stdlib", source: "stdlib", flavour: build.Go},
	guest{name: "go_sync", source: "sync", flavour: build.Go},
	guest{name: "go_uniqueness", source: "uniqueness", flavour: build.Go, stdin: []byte("check"), waits: true},
	guest{name: "go_crypto", source: "crypto", flavour: build.Go},
	guest{name: "go_files", source: "files", flavour: build.Go},
	guest{name: "go_pipes", source: "pipes", flavour: build.Go},
	guest{name: "go_stdin", source: "stdin", flavour: build.Go, stdin: megabyte, waits: true},
	guest{name: "go_panics", source: "panics", flavour: build.Go, status: 2},
	guest{name: "go_die_panic", source: "die", flavour: build.Go, args: []string{"panic"}, status: 2},
	guest{name: "go_die_nil", source: "die", flavour: build.Go, args: []string{"nil"}, status: 2},
	guest{name: "go_die_goroutine", source: "die", flavour: build.Go, args: []string{"goroutine"}, status: 2},
	guest{name: "go_die_deadlock", source: "die", flavour: build.Go, args: []string{"deadlock"}, status: 2},
	guest{name: "go_die_stack", source: "die", flavour: build.Go, args: []string{"stack"}, status: 2},
	guest{name: "go_die_term", source: "die", flavour: build.Go, args: []string{"term"}, signal: syscall.SIGTERM},
	guest{name: "go_die_kill", source: "die", flavour: build.Go, args: []string{"kill"}, signal: syscall.SIGKILL},
	guest{name: "go_die_segv", source: "die", flavour: build.Go, args: []string{"segv"}, status: 2},
	guest{name: "go_die_quit", source: "die", flavour: build.Go, args: []string{"quit"}, status: 2},
)
