// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("time",
	guest{name: "clocks"},
	guest{name: "clocks_musl", source: "clocks", flavour: build.Musl},
	guest{name: "timers"},
	guest{name: "localtime"},
)
