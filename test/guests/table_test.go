// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"bytes"
	"syscall"

	"kontain.dev/eventing/test/guests/build"
)

// guest is one entry of the table: a program, how to start it, and how it ends.
type guest struct {
	name    string            // of the test
	source  string            // name of its source; the name of the test when empty
	flavour build.Flavour     // build.Glibc when empty
	args    []string          // after argv[0]; {root} is the folder of files
	env     []string          // the whole environment; PATH and HOME alone when nil
	stdin   []byte            // the event
	files   map[string]string // of its root: path to content, or "-> target" for a symbolic link
	memory  uint64            // limit in bytes; guestMemory when 0
	status  int               // exit status
	signal  syscall.Signal    // that ends it
	stderr  bool              // compare what it writes to stderr too
	quiet   bool              // it writes nothing to stdout
}

// megabyte is a large event with lines of different lengths.
var megabyte = func() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 1<<20; i++ {
		b.WriteString("line ")
		b.Write(bytes.Repeat([]byte{byte('a' + i%26)}, i%97))
		b.WriteByte('\n')
	}
	return b.Bytes()
}()

var guests = []guest{
	{name: "hello", stderr: true},
	{name: "hello_pie", source: "hello", flavour: build.PIE, stderr: true},
	{name: "hello_musl", source: "hello", flavour: build.Musl, stderr: true},
	{name: "exit_status", args: []string{"42"}, status: 42},
	{name: "exit_status_wraps", source: "exit_status", args: []string{"511"}, status: 255},
	{name: "exit_thread", status: 7},
	{name: "args_env", args: []string{"one", "", "two words", "\xff\"'\\"}, env: []string{"A=1", "EMPTY=", "LONG=x=y"}, stderr: true},
	{name: "args_none", source: "args_env", env: []string{}, stderr: true},
	{name: "stdin_copy", stdin: []byte("first\nsecond\x00third\nno newline")},
	{name: "stdin_copy_empty", source: "stdin_copy", quiet: true},
	{name: "stdin_copy_large", source: "stdin_copy", stdin: megabyte},
	{name: "output_large", stderr: true},
}
