// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// descendants returns the processes that pid started and those that they did, by
// /proc/PID/task/TID/children (proc(5)).
func descendants(pid int) ([]int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, word := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list, err)
			}
			further, err := descendants(child)
			if err != nil {
				return nil, err
			}
			all = append(append(all, child), further...)
		}
	}
	return all, nil
}

// isGone says that a process or a thread ended while it was looked at.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// usage is the memory of processes, in bytes.
type usage struct {
	processes int
	rss       uint64 // with what they share counted for each
	pss       uint64 // with what they share counted in parts
}

// usageOf adds up the memory of processes, by /proc/PID/smaps_rollup. Those that have
// ended are left out. Another user's processes cannot be read without CAP_SYS_PTRACE,
// and nor can workers, which are not to be traced.
func usageOf(pids []int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if isGone(err) {
			continue
		}
		if err != nil {
			return sum, err
		}
		sum.processes++
		sum.rss += kibibytes(text, "Rss:") << 10
		sum.pss += kibibytes(text, "Pss:") << 10
	}
	return sum, nil
}

// kibibytes returns a value of a table of proc(5) such as `Rss:  12 kB`; 0 when it is
// not there.
func kibibytes(text []byte, name string) uint64 {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			n, err := strconv.ParseUint(words[1], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// availableMemory is what the whole machine has left, in bytes: what the kernel keeps
// for processes and virtual machines is not in it.
func availableMemory() (uint64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	n := kibibytes(text, "MemAvailable:")
	if n == 0 {
		return 0, errors.New("/proc/meminfo has no MemAvailable")
	}
	return n << 10, nil
}

// mebibytes prints a number of bytes.
func mebibytes(n float64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%.3g KiB", n/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.3g MiB", n/(1<<20))
	}
	return fmt.Sprintf("%.3g GiB", n/(1<<30))
}
