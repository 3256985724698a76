// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import "kontain.dev/eventing/test/guests/build"

var _ = family("lock",
	guest{name: "lock_flock"},
	guest{name: "lock_flock_musl", source: "lock_flock", flavour: build.Musl},
	guest{name: "lock_ofd"},
	guest{name: "lock_posix"},
	guest{name: "lock_processes"},
	guest{name: "lock_waits", stdin: []byte("event"), waits: true},
)
