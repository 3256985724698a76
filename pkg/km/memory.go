// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package km

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxProcesses bounds how many descendants are looked at.
const maxProcesses = 256

// resident returns the memory in bytes that a process and its descendants have
// resident; see proc_pid_statm(5). What they share counts for each.
func resident(pid int) uint64 {
	sum := uint64(0)
	for todo, n := []int{pid}, 0; len(todo) > 0 && n < maxProcesses; n++ {
		p := todo[0]
		todo = append(todo[1:], children(p)...)
		text, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/statm")
		if err != nil {
			continue // it has ended
		}
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseUint(fields[1], 10, 50)
			sum += pages * uint64(os.Getpagesize())
		}
	}
	return sum
}

// children returns the children of a process; see proc_tid_children(5). A kernel that
// does not tell has none.
func children(pid int) []int {
	var all []int
	files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}
