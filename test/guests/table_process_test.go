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
	guest{name: "wait_calls"},
	guest{name: "sigchld"},
	guest{name: "groups"},
	guest{name: "pidfd"},
	guest{name: "vforks"},
)
