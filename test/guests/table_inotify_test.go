// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

var _ = family("inotify",
	guest{name: "inotify_events"},
	guest{name: "inotify_limits"},
	guest{name: "inotify_waits", stdin: []byte("event"), waits: true},
)
