// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"strings"
	"testing"

	"kontain.dev/eventing/vmexec"
)

// TestStreamsRefused has descriptors that cannot be streams.
func TestStreamsRefused(t *testing.T) {
	for _, streams := range [][]int{{-1}, {16}, {3, 0}, {3, 3}} {
		_, err := vmexec.NewProgram(vmexec.ProgramSpec{Path: "/x", Streams: streams})
		if err == nil || !strings.Contains(err.Error(), "cannot be streams") {
			t.Errorf("%v: %v", streams, err)
		}
	}
}
