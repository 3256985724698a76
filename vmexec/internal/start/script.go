// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package start

import (
	"bytes"
)

// HeadSize is how much of a file is looked at to tell what it is: BINPRM_BUF_SIZE.
const HeadSize = 256

// MaxScripts is how many scripts may follow one another as each other's
// interpreter; execve(2).
const MaxScripts = 5

// Script tells whether a file that begins with head, of HeadSize bytes at most, is a
// script, and returns its interpreter with the one argument that it may have. It is
// none when the interpreter's name is missing or cut off.
func Script(head []byte) (interp, arg string, ok bool) {
	line, found := bytes.CutPrefix(head, []byte("#!"))
	if !found {
		return "", "", false
	}
	line, _, whole := bytes.Cut(line, []byte{'\n'})
	whole = whole || len(head) < HeadSize
	line, _, nul := bytes.Cut(line, []byte{0})
	whole = whole || nul
	const blank = " \t"
	line = bytes.TrimLeft(line, blank)
	if !whole && !bytes.ContainsAny(line, blank) {
		return "", "", false
	}
	name, rest := line, []byte(nil)
	if i := bytes.IndexAny(line, blank); i >= 0 {
		name, rest = line[:i], line[i:]
	}
	return string(name), string(bytes.Trim(rest, blank)), len(name) > 0
}
