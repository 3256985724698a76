// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

var _ = family("stdio",
	guest{name: "stdio_calls", stdin: []byte("an event of some length\n"), waits: true},
)
