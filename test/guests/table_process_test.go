// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("process",
	guest{name: "fork_memory"},
	guest{name: "fork_memory_musl", source: "fork_memory", flavour: build.Musl},
	guest{name: "fork_chain"},
	guest{name: "fork_many", args: []string{"200"}},
	guest{name: "fork_server", stdin: []byte("an event"), waits: true},
	guest{name: "wait_calls"},
	guest{name: "sigchld"},
	guest{name: "groups"},
	guest{name: "others"},
	guest{name: "pidfd"},
	guest{name: "shared_memory"},
	guest{name: "go_exec", source: "exec", flavour: build.Go},
	guest{name: "vforks"},
	guest{name: "exec_state"},
	guest{name: "exec_state_pie", source: "exec_state", flavour: build.PIE},
	guest{name: "exec_busy"},
	guest{name: "exec_errors"},
	guest{name: "exec_scripts"},
	guest{name: "exec_thread"},
	guest{name: "shared_sync"},
	guest{name: "shared_sync_musl", source: "shared_sync", flavour: build.Musl},
	guest{name: "pipeline"},
	guest{name: "pipeline_musl", source: "pipeline", flavour: build.Musl},
)
