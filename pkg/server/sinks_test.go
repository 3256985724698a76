// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"slices"
	"testing"

	"kontain.dev/eventing/pkg/contract"
)

// contractWith is a contract that has variables.
type contractWith struct {
	contract.Contract
	env, told []string
}

func (c contractWith) Env() []string  { return c.env }
func (c contractWith) Told() []string { return c.told }

func TestEnvironment(t *testing.T) {
	c := contractWith{env: []string{"K_SERVICE=x", "PORT=1"}, told: []string{"PORT=8080"}}
	for _, tt := range []struct{ env, want []string }{
		{nil, []string{"K_SERVICE=x", "PORT=8080"}},
		{[]string{"A=1", "PORT=9"}, []string{"K_SERVICE=x", "A=1", "PORT=8080"}}, // an image's
		{[]string{"K_SERVICE=y", "PORTS=9"}, []string{"K_SERVICE=y", "PORTS=9", "PORT=8080"}},
		{[]string{"PORT"}, []string{"K_SERVICE=x", "PORT=8080"}},
	} {
		if got := environment(tt.env, c); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.env, got, tt.want)
		}
	}
}
