// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import "testing"

// A clone that was to learn which pages an event uses, and is closed without an
// event, leaves that to another.
func TestCloseOfLearner(t *testing.T) {
	s := &Snapshot{}
	learner, other := &VM{snapshot: s, learns: true}, &VM{snapshot: s}
	s.learning.Store(true)
	if err := other.Close(); err != nil || !s.learning.Load() {
		t.Errorf("another clone: %v, learning %v", err, s.learning.Load())
	}
	if err := learner.Close(); err != nil || s.learning.Load() {
		t.Errorf("the learner: %v, learning %v", err, s.learning.Load())
	}
	s.learning.Store(true) // the next one learns
	if err := learner.Close(); err != nil || !s.learning.Load() {
		t.Errorf("the learner once more: %v, learning %v", err, s.learning.Load())
	}
}
