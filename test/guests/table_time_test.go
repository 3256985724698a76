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
	guest{name: "clock_cpu"},
	guest{name: "clock_errors"},
	guest{name: "clock_sleep"},
	guest{name: "clock_vdso"},
	guest{name: "clock_vdso_musl", source: "clock_vdso", flavour: build.Musl},
	guest{name: "itimers"},
	guest{name: "itimers_musl", source: "itimers", flavour: build.Musl},
	guest{name: "posix_timers"},
	guest{name: "profile_threads"},
	guest{name: "timerfds"},
	guest{name: "timerfds_musl", source: "timerfds", flavour: build.Musl},
)
