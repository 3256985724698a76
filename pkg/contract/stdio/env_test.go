// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"slices"
	"testing"
)

func TestWithPath(t *testing.T) {
	for _, tt := range []struct{ env, want []string }{
		{nil, []string{"K_EVENT_PATH=/etc/jobsink-event"}},
		{[]string{"A=1"}, []string{"A=1", "K_EVENT_PATH=/etc/jobsink-event"}},
		{[]string{"K_EVENT_PATH=/mine", "A=1"}, []string{"K_EVENT_PATH=/mine", "A=1"}},
		{[]string{"K_EVENT_PATHS=/mine"}, []string{"K_EVENT_PATHS=/mine", "K_EVENT_PATH=/etc/jobsink-event"}},
	} {
		if got := WithPath(tt.env); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.env, got, tt.want)
		}
	}
}
