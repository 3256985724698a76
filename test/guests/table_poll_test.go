// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("poll",
	guest{name: "poll_select"},
	guest{name: "epoll"},
	guest{name: "epoll_edge"},
	guest{name: "epoll_errors"},
	guest{name: "epoll_musl", source: "epoll", flavour: build.Musl},
	guest{name: "epoll_nested"},
	guest{name: "eventfds"},
	guest{name: "poll_errors"},
	guest{name: "poll_select_musl", source: "poll_select", flavour: build.Musl},
	guest{name: "wait_masks"},
)
