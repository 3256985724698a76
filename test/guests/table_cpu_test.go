// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("cpu",
	guest{name: "cpu_features"},
	guest{name: "compute"},
	guest{name: "compute_musl", source: "compute", flavour: build.Musl},
	guest{name: "exceptions", flavour: build.Cxx, stdin: []byte("one\ntwo\n"), status: 3},
)
