// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// Existing is what Open returns for a magic link to an open file that has no
// place in the tree, such as /dev/stdin of a pipe: the description itself. The
// caller takes a reference of its own; flags of the open do not apply to it.
type Existing struct{ *fd.Description }

// describe returns the place of an open file, made up for one that has none.
func (fs *FS) describe(desc *fd.Description) *dentry {
	if l, ok := desc.File.(Located); ok {
		return l.Path().d
	}
	st, _ := desc.File.Stat()
	name := "anon_inode:[file]"
	if n, ok := desc.File.(fd.Namer); ok {
		name = n.Name()
	} else if st.Mode&unix.S_IFMT == unix.S_IFIFO {
		name = fmt.Sprintf("pipe:[%d]", st.Ino)
	}
	return fs.anonymous(name, desc, st.Mode)
}

// anonymous makes up a place for an open file that has none.
func (fs *FS) anonymous(name string, desc *fd.Description, mode uint32) *dentry {
	return fs.newDentry(nil, name, &inode{
		owner: fs.layer, kind: mode & unix.S_IFMT, anon: desc, first: inodeState{mode: mode, nlink: 1},
	})
}

// reopen opens an open file that has no place, by a magic link.
func reopen(desc *fd.Description, flags int) (fd.File, abi.Errno) {
	have := desc.StatusFlags() & unix.O_ACCMODE
	if want := flags & unix.O_ACCMODE; have != unix.O_RDWR && want != have {
		return nil, abi.EACCES
	}
	return Existing{desc}, 0
}

// taskDir is /proc/<pid>/task.
type taskDir int

func (d taskDir) list(fs *FS) []dynEntry {
	p := fs.process(int(d))
	if p == nil {
		return nil
	}
	var out []dynEntry
	for _, tid := range p.Threads() {
		out = append(out, folder(strconv.Itoa(tid), nil))
	}
	return out
}

func (d taskDir) find(fs *FS, name string) (dynEntry, bool) {
	pid, p := int(d), fs.process(int(d))
	tid, ok := number(name)
	if !ok || p == nil || !slices.Contains(p.Threads(), tid) {
		return dynEntry{}, false
	}
	return folder(name, table{
		ofProcess("comm", pid, func(p Process) []byte { return []byte(p.Thread(tid).Name + "\n") }),
		ofProcess("stat", pid, func(p Process) []byte { return procStat(pid, tid, p) }),
		statusFile(pid, func(Process) int { return tid }),
	}), true
}

// nulList ends each string with a NUL.
func nulList(list []string) []byte {
	var b []byte
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	return b
}

// centi shows ns as seconds with two digits.
func centi(ns int64) string { return fmt.Sprintf("%d.%02d", ns/1e9, ns/1e7%100) }

// ticks is a time in units of 1/100 s, as /proc counts.
func ticks(ns int64) int64 { return ns / 1e7 }

func meminfo(s System) string {
	return fmt.Sprintf("MemTotal:       %8d kB\nMemFree:        %8d kB\nMemAvailable:   %8d kB\n"+
		"Buffers:        %8d kB\nCached:         %8d kB\nSwapTotal:      %8d kB\nSwapFree:       %8d kB\n"+
		"HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n",
		s.MemTotal>>10, s.MemFree>>10, s.MemFree>>10, 0, 0, 0, 0)
}

func cpuinfo(s System) string {
	return fmt.Sprintf("processor\t: 0\nmodel name\t: %s\ncpu MHz\t\t: %.3f\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\n"+
		"cpu cores\t: 1\nfpu\t\t: yes\nflags\t\t: %s\nclflush size\t: 64\ncache_alignment\t: 64\n\n", s.CPUModel, s.CPUMHz, s.CPUFlags)
}

func sysStat(s System) string {
	line := fmt.Sprintf(" %d 0 0 %d 0 0 0 0 0 0\n", ticks(s.Busy), ticks(max(s.Uptime-s.Busy, 0)))
	return fmt.Sprintf("cpu %scpu0%sintr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked 0\n",
		line, line, s.BootTime/1e9, s.LastPID, s.Runnable)
}

func (fs *FS) mountsText() []byte {
	var b []byte
	for _, m := range fs.mounts {
		b = fmt.Appendf(b, "%s %s %s %s 0 0\n", m.typ, m.dir, m.typ, m.opts)
	}
	return b
}

func (fs *FS) mountinfoText() []byte {
	var b []byte
	for _, m := range fs.mounts {
		b = fmt.Appendf(b, "%d %d %d:%d / %s %s - %s %s %s\n", m.mntID, m.parent, unix.Major(m.dev), unix.Minor(m.dev), m.dir, m.opts, m.typ, m.typ, m.opts)
	}
	return b
}

// statm is /proc/<pid>/statm, in pages.
func statm(s Status) []byte {
	return fmt.Appendf(nil, "%d %d 0 %d 0 %d 0\n", s.VMSize/pageSize, s.RSS/pageSize, s.Text/pageSize, (s.Data+s.Stack)/pageSize)
}

// procStat is /proc/<pid>/stat; see proc_pid_stat(5).
func procStat(pid, tid int, p Process) []byte {
	s, t := p.Status(), p.Thread(tid)
	// signals are shown as they fit 31 bits
	const low = 1<<31 - 1
	f := []any{
		shownID(pid, tid, p), "(" + t.Name + ")", string(t.State), s.Parent, s.Group, s.Session, 0, -1, 0, // tty_nr tpgid flags
		s.MinorFaults, 0, 0, 0, ticks(t.UTime), ticks(t.STime), 0, 0, 20, 0, len(p.Threads()), 0, ticks(s.Started),
		s.VMSize, s.RSS / pageSize, uint64(1<<64 - 1), s.StartCode, s.EndCode, s.StartStack, 0, 0,
		t.Pending & low, t.Blocked & low, s.Ignored & low, s.Caught & low, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0,
		s.StartData, s.EndData, s.StartBrk, s.ArgStart, s.ArgEnd, s.EnvStart, s.EnvEnd, 0,
	}
	return []byte(strings.TrimSuffix(fmt.Sprintln(f...), "\n") + "\n")
}

// states are the words of /proc/<pid>/status.
var states = map[byte]string{'R': "running", 'S': "sleeping", 'D': "disk sleep", 'T': "stopped", 'Z': "zombie"}

// allCaps is every capability: user 0 is root of its VM.
const allCaps = 1<<41 - 1

// shownID is the number of a thread in its status files: that of the first one is
// the process's. In a clone of a snapshot the process has a new number and threads
// keep theirs.
func shownID(pid, tid int, p Process) int {
	if ids := p.Threads(); len(ids) > 0 && ids[0] == tid {
		return pid
	}
	return tid
}

// statusFile is the status file of a thread of a process.
func statusFile(pid int, tid func(Process) int) dynEntry {
	return text("status", func(fs *FS) ([]byte, abi.Errno) {
		p := fs.process(pid)
		if p == nil {
			return nil, abi.ESRCH
		}
		return procStatus(pid, tid(p), p, &fs.cred), 0
	})
}

// procStatus is /proc/<pid>/status; see proc_pid_status(5).
func procStatus(pid, tid int, p Process, c *Cred) []byte {
	s, t := p.Status(), p.Thread(tid)
	var b strings.Builder
	line := func(name, format string, v ...any) { fmt.Fprintf(&b, name+":\t"+format+"\n", v...) }
	kb := func(name string, v uint64) { line(name, "%8d kB", v>>10) }
	set := func(name string, v uint64) { line(name, "%016x", v) }
	line("Name", "%s", t.Name)
	line("Umask", "%04o", s.Umask)
	line("State", "%c (%s)", t.State, states[t.State])
	line("Tgid", "%d", pid)
	line("Ngid", "0")
	line("Pid", "%d", shownID(pid, tid, p))
	line("PPid", "%d", s.Parent)
	line("TracerPid", "0")
	line("Uid", "%d\t%[1]d\t%[1]d\t%[1]d", c.UID)
	line("Gid", "%d\t%[1]d\t%[1]d\t%[1]d", c.GID)
	line("FDSize", "%d", (len(p.Table().List())+63)/64*64)
	groups := []uint32{0}
	caps := uint64(allCaps)
	if c.UID != 0 {
		groups, caps = c.Groups, 0
	}
	var list strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&list, "%d ", g)
	}
	line("Groups", "%s", list.String())
	line("NStgid", "%d", pid)
	line("NSpid", "%d", tid)
	line("NSpgid", "%d", s.Group)
	line("NSsid", "%d", s.Session)
	kb("VmPeak", s.VMPeak)
	kb("VmSize", s.VMSize)
	kb("VmLck", 0)
	kb("VmPin", 0)
	kb("VmHWM", s.RSSPeak)
	kb("VmRSS", s.RSS)
	kb("VmData", s.Data)
	kb("VmStk", s.Stack)
	kb("VmExe", s.Text)
	kb("VmLib", 0)
	kb("VmPTE", 0)
	kb("VmSwap", 0)
	line("Threads", "%d", len(p.Threads()))
	line("SigQ", "0/32768")
	set("SigPnd", t.Pending)
	set("ShdPnd", s.Pending)
	set("SigBlk", t.Blocked)
	set("SigIgn", s.Ignored)
	set("SigCgt", s.Caught)
	set("CapInh", 0)
	set("CapPrm", caps)
	set("CapEff", caps)
	set("CapBnd", caps)
	set("CapAmb", 0)
	line("NoNewPrivs", "0")
	line("Seccomp", "0")
	line("Cpus_allowed", "1")
	line("Cpus_allowed_list", "0")
	line("Mems_allowed", "1")
	line("Mems_allowed_list", "0")
	line("voluntary_ctxt_switches", "0")
	line("nonvoluntary_ctxt_switches", "0")
	return []byte(b.String())
}

// limitNames are the lines of /proc/<pid>/limits by RLIMIT_*.
var limitNames = [16][2]string{
	{"Max cpu time", "seconds"},
	{"Max file size", "bytes"},
	{"Max data size", "bytes"},
	{"Max stack size", "bytes"},
	{"Max core file size", "bytes"},
	{"Max resident set", "bytes"},
	{"Max processes", "processes"},
	{"Max open files", "files"},
	{"Max locked memory", "bytes"},
	{"Max address space", "bytes"},
	{"Max file locks", "locks"},
	{"Max pending signals", "signals"},
	{"Max msgqueue size", "bytes"},
	{"Max nice priority", ""},
	{"Max realtime priority", ""},
	{"Max realtime timeout", "us"},
}

func limits(ls [16]unix.Rlimit) []byte {
	var b strings.Builder
	show := func(v uint64) string {
		if v == unix.RLIM_INFINITY {
			return "unlimited"
		}
		return strconv.FormatUint(v, 10)
	}
	fmt.Fprintf(&b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	for i, l := range ls {
		fmt.Fprintf(&b, "%-25s %-20s %-20s %-10s\n", limitNames[i][0], show(l.Cur), show(l.Max), limitNames[i][1])
	}
	return []byte(b.String())
}
