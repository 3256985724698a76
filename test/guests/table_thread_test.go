// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("thread",
	guest{name: "exit_thread", status: 7},
	guest{name: "threads"},
	guest{name: "threads_musl", source: "threads", flavour: build.Musl},
	guest{name: "threads_pie", source: "threads", flavour: build.PIE},
	guest{name: "thread_spin"},
	guest{name: "waiting_threads", stdin: []byte("an event"), waits: true},
	guest{name: "thread_cancel"},
	guest{name: "thread_cancel_musl", source: "thread_cancel", flavour: build.Musl},
	guest{name: "thread_mutexes"},
	guest{name: "thread_mutexes_musl", source: "thread_mutexes", flavour: build.Musl},
	guest{name: "thread_fp"},
	guest{name: "futex"},
	guest{name: "clone_tls"},
	guest{name: "clone_errors"},
	guest{name: "futex_errors"},
	guest{name: "futex_pi"},
	guest{name: "futex_requeue_pi"},
	guest{name: "futex_waitv"},
	guest{name: "mutex_kinds"},
	guest{name: "mutex_kinds_musl", source: "mutex_kinds", flavour: build.Musl},
	guest{name: "futex_wake_op"},
	guest{name: "thread_end", status: 7},
	guest{name: "thread_library"},
	guest{name: "thread_library_musl", source: "thread_library", flavour: build.Musl},
	guest{name: "tls"},
	guest{name: "tls_musl", source: "tls", flavour: build.Musl},
)
