// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

var _ = family("signalfd",
	guest{name: "signalfd"},
	guest{name: "signalfd_waits", stdin: []byte("event"), waits: true},
)
