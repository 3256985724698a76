// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package abi

import "golang.org/x/sys/unix"

// Stat is struct stat of stat(2), in the layout the guest sees.
type Stat = unix.Stat_t
