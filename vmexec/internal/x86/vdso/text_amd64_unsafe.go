// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package vdso

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"
)

// maxText bounds the search for the end of a function, well above the longest.
const maxText = 512

// textAddr returns where function n of text_amd64.s lies in this program.
func textAddr(n int) unsafe.Pointer

// text returns a copy of the machine code of function n. It panics when the end
// marker is missing: then the program was built wrongly.
func text(n int) []byte {
	end := binary.LittleEndian.AppendUint64(nil, endMagic)
	end = append(end, end...)
	// Read forwards only, never past the marker: nothing need be mapped there.
	b := unsafe.Slice((*byte)(textAddr(n)), maxText)
	for i := range maxText - len(end) {
		if bytes.HasPrefix(b[i:], end) {
			return bytes.Clone(b[:i])
		}
	}
	panic(fmt.Sprintf("vdso: function %d does not end within %d bytes", n, maxText))
}
