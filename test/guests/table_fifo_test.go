// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

var _ = family("fifo",
	guest{name: "fifo"},
	guest{name: "fifo_processes"},
	guest{name: "fifo_waits", stdin: []byte("event"), waits: true},
)
