// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("info",
	guest{name: "system_info"},
	guest{name: "system_info_musl", source: "system_info", flavour: build.Musl},
)
