// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"strings"
	"testing"
)

func TestLastLineIsShort(t *testing.T) {
	if got := lastLine([]byte(strings.Repeat("é", 1000))); len(got) > 270 || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
