// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what the figures were seen on.
type machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu,omitempty"`
	CPUs   int    `json:"cpus"`
	Memory uint64 `json:"memoryBytes,omitempty"`
	PVM    bool   `json:"pvm"` // KVM without hardware help: exits are dear
	Go     string `json:"go"`
	// Load is the mean number of processes that wanted a processor in the minute
	// before the run: more than 1 or so says that something else ran.
	Load     float64           `json:"loadBefore"`
	Versions map[string]string `json:"versions,omitempty"` // of the programs beside ours
}

func thisMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), CPU: cpuModel()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = info.Totalram * uint64(info.Unit)
		m.Load = float64(info.Loads[0]) / (1 << unix.SI_LOAD_SHIFT)
	}
	_, err := os.Stat("/sys/module/kvm_pvm")
	m.PVM = err == nil
	return m
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// versions asks our program and those that it is compared with.
func (b *bench) versions(ctx context.Context) map[string]string {
	found := map[string]string{}
	for _, command := range [][]string{
		{b.kontain(), "version"},
		{"python3", "--version"},
		{"node", "--version"},
		{"bwrap", "--version"},
		{"runc", "--version"},
		{"runsc", "--version"},
	} {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
		cancel()
		if err != nil {
			continue
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if version := versionIn(line); version != "" {
			found[filepath.Base(command[0])] = version
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/tetratelabs/wazero" {
				found["wazero"] = strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return found
}

// versionIn returns the first word of a line that has a digit, as in "runc version
// 1.1.5" and "v20.1.0". The name of a program is no such word, but may be the first of
// the line.
func versionIn(line string) string {
	words := strings.Fields(line)
	for i, word := range words {
		if strings.ContainsAny(word, "0123456789") && !strings.HasPrefix(word, "(") && (i > 0 || len(words) == 1) {
			return strings.TrimPrefix(word, "v")
		}
	}
	return ""
}

// String is one line about the machine.
func (m machine) String() string {
	s := fmt.Sprintf("Linux %s, %d CPUs", m.Kernel, m.CPUs)
	if m.CPU != "" {
		s += " (" + m.CPU + ")"
	}
	if m.Memory > 0 {
		s += fmt.Sprintf(", %.0f GiB", float64(m.Memory)/(1<<30))
	}
	s += ", " + m.Go
	if m.PVM {
		s += ", PVM (nested KVM without hardware help)"
	}
	return s + fmt.Sprintf(", load before %.1f", m.Load)
}
