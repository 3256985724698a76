// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

var _ = family("patherr",
	guest{name: "io_errors"},
	guest{name: "modes_owners"},
	guest{name: "openat2_resolve"},
	guest{name: "path_errors"},
	guest{name: "sparse_files"},
	guest{name: "tmpfile_link"},
)
