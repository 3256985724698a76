// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

var _ = family("mmap",
	guest{name: "madvise_files"},
	guest{name: "memfd_seals"},
	guest{name: "mmap_shared"},
	guest{name: "mmap_shared_fork"},
	guest{name: "mremap_duplicate"},
	guest{name: "mmap_shared_waits", stdin: []byte("event"), waits: true},
)
