// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package x86

// ReadTSC returns the host's time stamp counter.
func ReadTSC() uint64
