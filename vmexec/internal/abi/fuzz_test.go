// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package abi

import (
	"bytes"
	"math"
	"testing"
)

// FuzzDecodeTime: a time that is accepted is not negative, and comes back as it
// was unless it was too large.
func FuzzDecodeTime(f *testing.F) {
	for _, w := range [][2]uint64{{0, 0}, {1, 999_999_999}, {math.MaxInt64, 1}, {1 << 63, 0}, {9_223_372_036, 854_775_807}} {
		f.Add(appendWords(nil, w[0], w[1]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < TimespecSize {
			return
		}
		b = b[:TimespecSize]
		if ns, errno := DecodeTimespec(b); errno == OK && (ns < 0 || ns != math.MaxInt64 && !bytes.Equal(AppendTimespec(nil, ns), b)) {
			t.Errorf("timespec %x: %d", b, ns)
		}
		if ns, errno := DecodeTimeval(b); errno == OK && (ns < 0 || ns != math.MaxInt64 && !bytes.Equal(AppendTimeval(nil, ns), b)) {
			t.Errorf("timeval %x: %d", b, ns)
		}
	})
}
