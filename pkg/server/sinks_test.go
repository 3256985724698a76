// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"slices"
	"testing"
)

func TestWithDefaults(t *testing.T) {
	defaults := []string{"PORT=8080", "K_SERVICE=x"}
	for _, tt := range []struct{ env, want []string }{
		{nil, defaults},
		{[]string{"A=1", "PORT=9"}, []string{"K_SERVICE=x", "A=1", "PORT=9"}},
		{[]string{"PORTS=9", "PORT"}, []string{"K_SERVICE=x", "PORTS=9", "PORT"}},
	} {
		if got := withDefaults(tt.env, defaults); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.env, got, tt.want)
		}
	}
}
