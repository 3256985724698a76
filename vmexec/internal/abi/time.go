// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package abi

import (
	"encoding/binary"
	"math"
)

const (
	// TimespecSize is the size of struct timespec and of struct timeval.
	TimespecSize = 16
	// ItimerSize is the size of struct itimerspec and of struct itimerval: the
	// interval, then the value.
	ItimerSize = 2 * TimespecSize

	nanosPerSecond = 1_000_000_000
)

// DecodeTimespec reads a struct timespec as nanoseconds; see timespec(3type).
// Times past the year 2262 become the largest. Errors: EINVAL for a negative
// time and for nanoseconds that are not below a second.
func DecodeTimespec(b []byte) (int64, Errno) {
	return decodeTime(b, 1)
}

// DecodeTimeval reads a struct timeval as nanoseconds, like DecodeTimespec.
func DecodeTimeval(b []byte) (int64, Errno) {
	return decodeTime(b, 1000)
}

func decodeTime(b []byte, unit int64) (int64, Errno) {
	sec := int64(binary.LittleEndian.Uint64(b))
	frac := int64(binary.LittleEndian.Uint64(b[8:]))
	if sec < 0 || frac < 0 || frac >= nanosPerSecond/unit {
		return 0, EINVAL
	}
	if sec >= math.MaxInt64/nanosPerSecond {
		return math.MaxInt64, OK
	}
	return sec*nanosPerSecond + frac*unit, OK
}

// AppendTimespec appends a struct timespec of ns nanoseconds, which must not be negative.
func AppendTimespec(b []byte, ns int64) []byte {
	return appendWords(b, uint64(ns/nanosPerSecond), uint64(ns%nanosPerSecond))
}

// AppendTimeval appends a struct timeval of ns nanoseconds, rounded down to a
// microsecond. ns must not be negative.
func AppendTimeval(b []byte, ns int64) []byte {
	return appendWords(b, uint64(ns/nanosPerSecond), uint64(ns%nanosPerSecond/1000))
}

func appendWords(b []byte, words ...uint64) []byte {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}
