// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"errors"
	"log/slog"
	"testing"
)

// TestNoEgress holds that where nobody may connect outside, nothing is made for who would.
func TestNoEgress(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, no := range []bool{true, false} {
		w := NewWorkers(nil, Options{NoEgress: no})
		// There is no such program, which is found out behind it.
		_, err := w.New(Spec{Tier: TierVM, Program: "/no/such/program", Egress: []string{"example.com:443"}}, log)
		if err == nil || errors.Is(err, ErrNoEgress) != no {
			t.Errorf("%v: %v", no, err)
		}
		w.Close()
	}
}
