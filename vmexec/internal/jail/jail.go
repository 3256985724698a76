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
	// User is that of the process, and the number of its group, where it was started in
	// a cell: as the first process of a namespace, with an empty root directory. That is
	// checked. 0: it was not.
	User uint32
	// Tasks is the most processes and threads that User may have; 0: as many as others.
	Tasks uint64
}

// Report says what holds of a process in its jail.
type Report struct {
	// Level is 2 for a process in a cell, and 1 for others.
	Level int `json:"level"`
	// Seccomp: only the system calls of the list can be made.
	Seccomp bool `json:"seccomp"`
	// Landlock: the kernel keeps every file from the process, or all but those in
	// its folder. It has it since Linux 5.13, where it is switched on.
	Landlock bool `json:"landlock"`
	// User is that of the process in a cell: no other sink's, nor anybody else's.
	User uint32 `json:"user,omitempty"`
	// Cgroup: the memory and the threads of all processes of the sink are bounded.
	Cgroup bool `json:"cgroup,omitempty"`
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
	if r.User != 0 {
		have = append(have, fmt.Sprintf("user %d", r.User), "namespaces")
	}
	if r.Cgroup {
		have = append(have, "cgroup")
	}
	s := fmt.Sprintf("level %d: %s", r.Level, strings.Join(have, "+"))
	if len(r.Missing) > 0 {
		s += " (" + strings.Join(r.Missing, "; ") + ")"
	}
	return s
}

// Enter puts the calling process, with all of its threads, into its jail. There
// is no way out. The error means that it does not hold: the process must not run
// a guest.
func Enter(c Config) (Report, error) {
	r := Report{Level: 1}
	if linkedWithC {
		return r, errors.New("this program is linked with the C library, which makes system calls of its own: build it with CGO_ENABLED=0")
	}
	if c.User != 0 {
		if err := inCell(c.User); err != nil {
			return r, fmt.Errorf("it is not in a cell: %w", err)
		}
		r.Level, r.User = 2, c.User
	}
	if err := privileges(c); err != nil {
		return r, err
	}
	if err := capabilities(c.Folder != ""); err != nil {
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
	return tasks(c.Tasks)
}

// tasks bounds the processes and threads of the process's user.
func tasks(most uint64) error {
	var have unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NPROC, &have)
	if most > 0 && err == nil {
		most = min(most, have.Max)
		err = unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: most, Max: most})
	}
	return os.NewSyscallError("setrlimit(RLIMIT_NPROC)", err)
}

// inCell checks what a process in a cell can see of that.
func inCell(user uint32) error {
	u := int(user)
	if r, e, s := unix.Getresuid(); r != u || e != u || s != u {
		return fmt.Errorf("its users are %d, %d and %d, not %d", r, e, s, u)
	}
	if r, e, s := unix.Getresgid(); r != u || e != u || s != u {
		return fmt.Errorf("its groups are %d, %d and %d, not %d", r, e, s, u)
	}
	if more, err := unix.Getgroups(); err != nil || len(more) > 0 {
		return fmt.Errorf("it has more groups: %v, %w", more, err)
	}
	if pid := unix.Getpid(); pid != 1 {
		return fmt.Errorf("it is process %d and not the first one of a namespace", pid)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil || st.Type != unix.TMPFS_MAGIC || st.Flags&unix.ST_RDONLY == 0 {
		return errors.New("its root directory is not the empty one")
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
