// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("sched",
	guest{name: "barriers"},
	guest{name: "sched_affinity"},
	guest{name: "sched_affinity_musl", source: "sched_affinity", flavour: build.Musl},
	guest{name: "sched_policy"},
)
