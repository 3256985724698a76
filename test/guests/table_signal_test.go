// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"syscall"

	"kontain.dev/eventing/test/guests/build"
)

var _ = family("signal",
	guest{name: "segv_longjmp"},
	guest{name: "segv_longjmp_musl", source: "segv_longjmp", flavour: build.Musl},
	guest{name: "traps"},
	guest{name: "bus_error"},
	guest{name: "die_segv", source: "die", args: []string{"segv"}, signal: syscall.SIGSEGV},
	guest{name: "die_segv_blocked", source: "die", args: []string{"segv-blocked"}, signal: syscall.SIGSEGV},
	guest{name: "die_segv_ignored", source: "die", args: []string{"segv-ignored"}, signal: syscall.SIGSEGV},
	guest{name: "die_segv_thread", source: "die", args: []string{"segv-thread"}, signal: syscall.SIGSEGV},
	guest{name: "die_segv_stack", source: "die", args: []string{"segv-stack"}, signal: syscall.SIGSEGV},
	guest{name: "die_abort", source: "die", args: []string{"abort"}, signal: syscall.SIGABRT},
	guest{name: "die_abort_musl", source: "die", flavour: build.Musl, args: []string{"abort"}, signal: syscall.SIGABRT},
	guest{name: "die_fpe", source: "die", args: []string{"fpe"}, signal: syscall.SIGFPE},
	guest{name: "die_ill", source: "die", args: []string{"ill"}, signal: syscall.SIGILL},
	guest{name: "die_trap", source: "die", args: []string{"trap"}, signal: syscall.SIGTRAP},
	guest{name: "die_kill", source: "die", args: []string{"kill"}, signal: syscall.SIGKILL},
	guest{name: "die_term", source: "die", args: []string{"term"}, signal: syscall.SIGTERM},
	guest{name: "die_usr1_thread", source: "die", args: []string{"usr1-thread"}, signal: syscall.SIGUSR1},
	guest{name: "die_rt", source: "die", args: []string{"rt"}, signal: syscall.Signal(37)},
	guest{name: "die_alarm", source: "die", args: []string{"alarm"}, signal: syscall.SIGALRM},
	guest{name: "die_pipe", source: "die", args: []string{"pipe"}, signal: syscall.SIGPIPE},
	guest{name: "signal_basics"},
	guest{name: "signal_basics_musl", source: "signal_basics", flavour: build.Musl},
	guest{name: "signal_queue"},
	guest{name: "signal_restart"},
	guest{name: "signal_registers"},
	guest{name: "signal_context"},
	guest{name: "setjmp"},
	guest{name: "setjmp_musl", source: "setjmp", flavour: build.Musl},
	guest{name: "signal_altstack"},
	guest{name: "signal_errors"},
	guest{name: "signal_flags"},
	guest{name: "signal_frame"},
	guest{name: "signal_info"},
	guest{name: "signal_limit"},
	guest{name: "signal_restart_table"},
	guest{name: "signal_threads"},
	guest{name: "signal_vector"},
	guest{name: "signal_wait"},
	guest{name: "signal_flags_musl", source: "signal_flags", flavour: build.Musl},
	guest{name: "signal_altstack_musl", source: "signal_altstack", flavour: build.Musl},
)
