// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package jail takes from the process that runs guests what it does not need for
// that: whoever breaks out of a guest into its monitor finds system calls, files
// and privileges gone. It goes to work once everything has been opened and before
// the first instruction of a guest.
package jail

import (
	"errors"
	"fmt"
	"os"
	"strings"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// Config says what the process goes on doing in the jail.
type Config struct {
	// Ptrace: guests run in traced processes and not in KVM machines.
	Ptrace bool
	// Freeze: it makes a snapshot, and sends it out.
	Freeze bool
	// Folder is the one whose files are read for guests; empty for none.
	Folder string
	// Files is the most descriptors that may be open.
	Files uint64
}

// Report says what holds of a process in its jail.
type Report struct {
	// Seccomp: only the system calls of the list can be made.
	Seccomp bool `json:"seccomp"`
	// Landlock: the kernel keeps every file from the process, or all but those in
	// its folder. It has it since Linux 5.13, where it is switched on.
	Landlock bool `json:"landlock"`
	// Missing is why something does not hold.
	Missing []string `json:"missing,omitempty"`
}

// String names what holds, and what does not.
func (r Report) String() string {
	var have []string
	if r.Seccomp {
		have = append(have, "seccomp")
	}
	if r.Landlock {
		have = append(have, "landlock")
	}
	s := strings.Join(have, "+")
	if len(r.Missing) > 0 {
		s += " (" + strings.Join(r.Missing, "; ") + ")"
	}
	return s
}

// Enter puts the calling process, with all of its threads, into its jail. There
// is no way out. The error means that it does not hold: the process must not run
// a guest.
func Enter(c Config) (Report, error) {
	var r Report
	if linkedWithC {
		return r, errors.New("this program is linked with the C library, which makes system calls of its own: build it with CGO_ENABLED=0")
	}
	if err := privileges(c); err != nil {
		return r, err
	}
	switch err := files(c.Folder); {
	case err == nil:
		r.Landlock = true
	default:
		r.Missing = append(r.Missing, err.Error())
	}
	if !seccomp.Supported() {
		return r, errors.New("this kernel has no system call filters (seccomp, Linux 3.17)")
	}
	if err := seccomp.LoadFilter(filter(c)); err != nil {
		return r, fmt.Errorf("install the system call filter: %w", err)
	}
	r.Seccomp = true
	return r, nil
}

// privileges gives up what a process has whoever its user is.
func privileges(c Config) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_SET_NO_NEW_PRIVS)", err)
	}
	// Nobody of the same user may look into the memory of guests, and a crash
	// writes no core file.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_SET_DUMPABLE)", err)
	}
	for _, l := range []struct {
		name  string
		which int
		most  uint64
	}{
		{"RLIMIT_CORE", unix.RLIMIT_CORE, 0},
		{"RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK, 0},
		{"RLIMIT_MSGQUEUE", unix.RLIMIT_MSGQUEUE, 0},
		{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, c.Files},
	} {
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return os.NewSyscallError("setrlimit("+l.name+")", err)
		}
	}
	return nil
}

// files has the kernel keep all files from the process but those in folder.
func files(folder string) error {
	var rules []landlock.Rule
	if folder != "" {
		rules = append(rules, landlock.RODirs(folder))
	}
	// The library stops all threads before it asks for a feature that is not there,
	// which takes longer than all of the rest of the jail.
	if _, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); e != 0 {
		return errors.New("files are kept from it by the system call filter only, not by Landlock too: this kernel does not have it, or it is switched off (Linux 5.13, lsm=landlock)")
	}
	// The first version that also covers renaming, truncating and TCP; a newer
	// kernel covers more, which the filter has covered already.
	err := landlock.V4.RestrictPaths(rules...)
	if err == nil {
		return nil
	}
	if older := landlock.V1.RestrictPaths(rules...); older == nil {
		return nil
	}
	return fmt.Errorf("files are kept from it by the system call filter only, not by Landlock too: %s", firstLine(err))
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}
