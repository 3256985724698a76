// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

var _ = family("ids",
	guest{name: "identity"},
	guest{name: "ids_rules"},
	guest{name: "limits"},
)
