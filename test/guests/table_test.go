// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"bytes"
	"maps"
	"slices"
	"syscall"

	"kontain.dev/eventing/test/guests/build"
)

// guest is one entry of the table: a program, how to start it, and how it ends.
type guest struct {
	family  string            // folder of its source; family sets it
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
	waits   bool              // it reads its event in the middle: no GUEST_WAIT is needed to freeze it
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

// tables holds the guests of each family.
var tables = map[string][]guest{}

// family registers the guests whose sources are in one folder: table_NAME_test.go
// does so for the folder NAME.
func family(name string, guests ...guest) bool {
	if _, twice := tables[name]; twice {
		panic("guests: two tables of family " + name)
	}
	for i := range guests {
		guests[i].family = name
	}
	tables[name] = guests
	return true
}

// table returns the guests of all families, in the order of their names.
func table() []guest {
	var all []guest
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		all = append(all, tables[name]...)
	}
	return all
}
