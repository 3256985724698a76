// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package start

import (
	"strings"
	"testing"
)

func TestScript(t *testing.T) {
	long := strings.Repeat("x", HeadSize)
	for _, c := range []struct {
		head, interp, arg string
		ok                bool
	}{
		{"#!/bin/sh\n", "/bin/sh", "", true},
		{"#! \t/bin/sh \t -e  -x \t\nexit", "/bin/sh", "-e  -x", true},
		{"#!/bin/sh", "/bin/sh", "", true},
		{"#!/bin/sh\x00-x\n", "/bin/sh", "", true},
		{"#!\n", "", "", false},
		{"#! \t\n/bin/sh\n", "", "", false},
		{"#!", "", "", false},
		{"# !/bin/sh\n", "", "", false},
		{"\x7fELF", "", "", false},
		{"", "", "", false},
		{("#!/bin/" + long)[:HeadSize], "", "", false},
		{("#!/bin/sh " + long)[:HeadSize], "/bin/sh", ("#!/bin/sh " + long)[10:HeadSize], true},
	} {
		if interp, arg, ok := Script([]byte(c.head)); ok != c.ok || ok && (interp != c.interp || arg != c.arg) {
			t.Errorf("%q: %q, %q, %v; want %q, %q, %v", c.head, interp, arg, ok, c.interp, c.arg, c.ok)
		}
	}
}

func FuzzScript(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		interp, arg, ok := Script(head[:min(len(head), HeadSize)])
		if ok && (interp == "" || strings.ContainsAny(interp, " \t\n\x00") || strings.ContainsAny(arg, "\n\x00") || strings.Trim(arg, " \t") != arg) {
			t.Errorf("%q: %q, %q", head, interp, arg)
		}
	})
}
