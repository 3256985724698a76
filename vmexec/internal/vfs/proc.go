// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// ProcInfo gives the facts that /proc shows. It is asked on each access.
type ProcInfo interface {
	// Self returns the process and thread that make the call being served.
	Self() (pid, tid int)
	// PIDs returns the processes there are.
	PIDs() []int
	// Process returns one of them; nil when there is none of that number.
	Process(pid int) Process
	// System describes the VM as a whole.
	System() System
}

// NetInfo is a ProcInfo of a VM with sockets, for /proc/net.
type NetInfo interface {
	// NetFiles returns the names of the files there.
	NetFiles() []string
	// NetFile returns the text of one of them.
	NetFile(name string) []byte
}

// netDir is /proc/<pid>/net: all processes have the same.
type netDir struct{}

func (netDir) list(fs *FS) []dynEntry {
	info, ok := fs.proc.(NetInfo)
	if !ok {
		return nil
	}
	var out []dynEntry
	for _, name := range info.NetFiles() {
		out = append(out, netFile(name))
	}
	return out
}

func (d netDir) find(fs *FS, name string) (dynEntry, bool) {
	info, ok := fs.proc.(NetInfo)
	if !ok || !slices.Contains(info.NetFiles(), name) {
		return dynEntry{}, false
	}
	return netFile(name), true
}

func netFile(name string) dynEntry {
	return text(name, func(fs *FS) ([]byte, abi.Errno) {
		info, ok := fs.proc.(NetInfo)
		if !ok {
			return nil, abi.ENOENT
		}
		return info.NetFile(name), 0
	})
}

// Process is one process of the guest.
type Process interface {
	Exe() Path         // the program
	Cmdline() []string // argv
	Environ() []string // as the program was started with
	Auxv() []byte      // the auxiliary vector as it lies in memory
	Maps() []byte      // the text of /proc/<pid>/maps
	Cwd() Path         // working directory
	Table() *fd.Table  // open descriptors
	Threads() []int    // thread ids, the first one's first
	Thread(tid int) ThreadStatus
	Status() Status
	Limits() [16]unix.Rlimit // by RLIMIT_*
	// SetComm changes the name of the first thread.
	SetComm(name string)
}

// ThreadStatus describes a thread.
type ThreadStatus struct {
	Name         string // at most 15 bytes
	State        byte   // 'R', 'S', 'T' or 'Z'; see proc_pid_stat(5)
	UTime, STime int64  // processor time in ns
	Pending      uint64 // signals waiting for this thread
	Blocked      uint64
}

// Status describes a process; sizes are bytes.
type Status struct {
	Parent, Group, Session             int
	Umask                              uint32
	VMSize, VMPeak, RSS, RSSPeak       uint64
	Data, Stack, Text                  uint64
	StartCode, EndCode, StartStack     uint64
	StartData, EndData, StartBrk       uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd uint64
	Pending, Ignored, Caught           uint64 // signal sets
	Started                            int64  // ns since the VM's start
	MinorFaults                        uint64
}

// System describes a VM.
type System struct {
	MemTotal, MemFree uint64 // bytes
	Uptime            int64  // ns since the VM's start
	BootTime          int64  // wall clock of the start, ns since 1970
	Busy              int64  // processor time used so far, ns
	Runnable, Threads int
	LastPID           int
	Release, Version  string // as uname(2)
	CPUModel          string
	CPUFlags          string // as in /proc/cpuinfo
	CPUMHz            float64
}

// dynEntry is one name in a directory of /proc or /sys.
type dynEntry struct {
	name string
	mode uint32
	gen  func(*FS) ([]byte, abi.Errno)
	set  func(*FS, []byte) abi.Errno
	link func(*FS) (string, abi.Errno)
	jump func(*FS) (*dentry, abi.Errno)
	dir  dynDir
}

// dynDir is a directory of /proc or /sys. It belongs to no FS: images and clones
// share it, and what it shows comes from the FS that asks.
type dynDir interface {
	list(fs *FS) []dynEntry
	find(fs *FS, name string) (dynEntry, bool)
}

// table is a dynDir whose entries are always the same.
type table []dynEntry

func (t table) list(*FS) []dynEntry { return t }

func (t table) find(_ *FS, name string) (dynEntry, bool) {
	if i := slices.IndexFunc(t, func(e dynEntry) bool { return e.name == name }); i >= 0 {
		return t[i], true
	}
	return dynEntry{}, false
}

// text makes a read-only file.
func text(name string, gen func(*FS) ([]byte, abi.Errno)) dynEntry {
	return dynEntry{name: name, mode: unix.S_IFREG | 0o444, gen: gen}
}

// str makes a read-only file that never changes.
func str(name, s string) dynEntry {
	return text(name, func(*FS) ([]byte, abi.Errno) { return []byte(s), 0 })
}

func folder(name string, d dynDir) dynEntry {
	return dynEntry{name: name, mode: unix.S_IFDIR | 0o555, dir: d}
}

func symlink(name string, link func(*FS) (string, abi.Errno)) dynEntry {
	return dynEntry{name: name, mode: unix.S_IFLNK | 0o777, link: link}
}

// dynIno gives a name in a directory the same inode number each time.
func dynIno(dir uint64, name string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s", dir, name)
	return h.Sum64()>>12 | 1
}

// dynInode makes the inode of an entry. It lives as long as someone uses it.
func (fs *FS) dynInode(dir *inode, e dynEntry) *inode {
	t := fs.now()
	in := &inode{
		owner: fs.layer, sb: dir.sb, dev: dir.dev, ino: dynIno(dir.ino, e.name), kind: e.mode & unix.S_IFMT, btime: t,
		origin: origin{dir.origin.root, join(dir.origin.path, e.name)},
		gen:    e.gen, set: e.set, link: e.link, jump: e.jump, dyn: e.dir,
		first: inodeState{mode: e.mode, nlink: 1, atime: t, mtime: t, ctime: t},
	}
	if in.isDir() {
		in.first.nlink = 2
	}
	// What is below the number of a process is that process's.
	if in.origin.root == "proc" && in.origin.path[0] >= '0' && in.origin.path[0] <= '9' {
		in.first.uid, in.first.gid = fs.cred.UID, fs.cred.GID
	}
	return in
}

// filesystems is /proc/filesystems.
const filesystems = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\toverlay\n"

// procDir is /proc.
type procDir struct{ fixed table }

var procRoot = newProcRoot()

func newProcRoot() *procDir {
	sys := func(f func(s System) string) func(*FS) ([]byte, abi.Errno) {
		return func(fs *FS) ([]byte, abi.Errno) {
			var s System
			if fs.proc != nil {
				s = fs.proc.System()
			}
			return []byte(f(s)), 0
		}
	}
	self := func(f func(pid, tid int) string) func(*FS) (string, abi.Errno) {
		return func(fs *FS) (string, abi.Errno) {
			if fs.proc == nil {
				return "", abi.ENOENT
			}
			return f(fs.proc.Self()), 0
		}
	}
	return &procDir{table{
		symlink("self", self(func(pid, _ int) string { return strconv.Itoa(pid) })),
		symlink("thread-self", self(func(pid, tid int) string { return fmt.Sprintf("%d/task/%d", pid, tid) })),
		symlink("mounts", func(*FS) (string, abi.Errno) { return "self/mounts", 0 }),
		symlink("net", func(*FS) (string, abi.Errno) { return "self/net", 0 }),
		text("meminfo", sys(meminfo)), text("cpuinfo", sys(cpuinfo)), text("stat", sys(sysStat)),
		text("uptime", sys(func(s System) string {
			return fmt.Sprintf("%s %s\n", centi(s.Uptime), centi(max(s.Uptime-s.Busy, 0)))
		})),
		text("loadavg", sys(func(s System) string {
			return fmt.Sprintf("0.00 0.00 0.00 %d/%d %d\n", s.Runnable, s.Threads, s.LastPID)
		})),
		text("version", sys(func(s System) string { return fmt.Sprintf("Linux version %s %s\n", s.Release, s.Version) })),
		str("filesystems", filesystems),
		folder("sys", sysctls(sys)),
		str("cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"),
		str("cmdline", "kontain\n"), str("devices", "Character devices:\n  1 mem\n  5 /dev/tty\n\nBlock devices:\n"),
		str("partitions", "major minor  #blocks  name\n\n"), str("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
		str("modules", ""), str("diskstats", ""), str("interrupts", "           CPU0       \n"), str("softirqs", "                    CPU0       \n"),
		text("vmstat", sys(func(s System) string { return fmt.Sprintf("nr_free_pages %d\n", s.MemFree/pageSize) })),
	}}
}

func (d *procDir) list(fs *FS) []dynEntry {
	out := slices.Clone(d.fixed)
	if fs.proc != nil {
		for _, pid := range fs.proc.PIDs() {
			out = append(out, folder(strconv.Itoa(pid), nil))
		}
	}
	return out
}

func (d *procDir) find(fs *FS, name string) (dynEntry, bool) {
	if e, ok := d.fixed.find(fs, name); ok {
		return e, true
	}
	pid, ok := number(name)
	if !ok || fs.process(pid) == nil {
		return dynEntry{}, false
	}
	return folder(name, processDir(pid)), true
}

// process returns a process that there is now; nil for none.
func (fs *FS) process(pid int) Process {
	if fs.proc == nil {
		return nil
	}
	return fs.proc.Process(pid)
}

// ProcessFolder returns the number of the process whose folder of /proc a file is.
func ProcessFolder(f fd.File) (pid int, ok bool) {
	d, ok := f.(*dirFile)
	if !ok || d.d.inode.origin.root != "proc" {
		return 0, false
	}
	return number(d.d.inode.origin.path)
}

// number parses a decimal file name with no sign and no leading zero.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(name)
	return n, err == nil && n >= 0 && strconv.Itoa(n) == name
}

// ofProcess makes a file of a process. Once the process is gone, or in a clone
// where it has another number, reading it is ESRCH.
func ofProcess(name string, pid int, f func(p Process) []byte) dynEntry {
	return text(name, func(fs *FS) ([]byte, abi.Errno) {
		p := fs.process(pid)
		if p == nil {
			return nil, abi.ESRCH
		}
		return f(p), 0
	})
}

// firstThread is the thread that speaks for a process.
func firstThread(pid int, p Process) int {
	if ts := p.Threads(); len(ts) > 0 {
		return ts[0]
	}
	return pid
}

// processDir is /proc/<pid>.
func processDir(pid int) table {
	data := func(name string, f func(p Process) []byte) dynEntry { return ofProcess(name, pid, f) }
	// magic makes a link that leads to a place whatever its text says.
	magic := func(name string, text func(p Process) string, to func(fs *FS, p Process) (*dentry, abi.Errno)) dynEntry {
		e := symlink(name, func(fs *FS) (string, abi.Errno) {
			p := fs.process(pid)
			if p == nil {
				return "", abi.ENOENT
			}
			s := text(p)
			if s == "" {
				return "", abi.ENOENT
			}
			return s, 0
		})
		e.jump = func(fs *FS) (*dentry, abi.Errno) {
			p := fs.process(pid)
			if p == nil {
				return nil, abi.ENOENT
			}
			return to(fs, p)
		}
		return e
	}
	comm := data("comm", func(p Process) []byte { return []byte(p.Thread(firstThread(pid, p)).Name + "\n") })
	comm.mode |= 0o200
	comm.set = func(fs *FS, b []byte) abi.Errno {
		p := fs.process(pid)
		if p == nil {
			return abi.ESRCH
		}
		name, _, _ := bytes.Cut(b, []byte{'\n'})
		name, _, _ = bytes.Cut(name, []byte{0})
		p.SetComm(string(name[:min(len(name), 15)]))
		return 0
	}
	return table{
		data("auxv", Process.Auxv),
		data("cmdline", func(p Process) []byte { return nulList(p.Cmdline()) }),
		data("environ", func(p Process) []byte { return nulList(p.Environ()) }),
		data("maps", Process.Maps),
		data("limits", func(p Process) []byte { return limits(p.Limits()) }),
		data("stat", func(p Process) []byte { return procStat(pid, firstThread(pid, p), p) }),
		data("statm", func(p Process) []byte { return statm(p.Status()) }),
		statusFile(pid, func(p Process) int { return firstThread(pid, p) }),
		text("mounts", func(fs *FS) ([]byte, abi.Errno) { return fs.mountsText(), 0 }),
		text("mountinfo", func(fs *FS) ([]byte, abi.Errno) { return fs.mountinfoText(), 0 }),
		str("cgroup", "0::/\n"),
		sink("oom_score_adj", "0\n"), sink("oom_adj", "0\n"), str("oom_score", "0\n"),
		sink("coredump_filter", "00000033\n"), str("loginuid", "4294967295"), str("sessionid", "4294967295"),
		str("personality", "00000000\n"), str("wchan", "0"), str("setgroups", "allow\n"),
		str("uid_map", "         0          0 4294967295\n"), str("gid_map", "         0          0 4294967295\n"),
		data("smaps_rollup", func(p Process) []byte { return smapsRollup(p.Status()) }),
		folder("ns", namespaces()),
		comm,
		magic("cwd", func(p Process) string { return p.Cwd().String() }, func(_ *FS, p Process) (*dentry, abi.Errno) { return p.Cwd().d, 0 }),
		magic("root", func(Process) string { return "/" }, func(fs *FS, _ Process) (*dentry, abi.Errno) { return fs.root, 0 }),
		magic("exe", func(p Process) string { return p.Exe().String() }, func(_ *FS, p Process) (*dentry, abi.Errno) {
			if to := p.Exe().d; to != nil {
				return to, 0
			}
			return nil, abi.ENOENT
		}),
		folder("fd", fdDir(pid)),
		folder("fdinfo", fdInfoDir(pid)),
		folder("net", netDir{}),
		folder("task", taskDir(pid)),
	}
}

// fdDir is /proc/<pid>/fd.
type fdDir int

func (d fdDir) list(fs *FS) []dynEntry {
	p := fs.process(int(d))
	if p == nil {
		return nil
	}
	var out []dynEntry
	for _, v := range p.Table().List() {
		out = append(out, symlink(strconv.Itoa(int(v.FD)), nil))
	}
	return out
}

// open returns an open descriptor of the process.
func (d fdDir) open(fs *FS, n int32) (*fd.Description, abi.Errno) {
	p := fs.process(int(d))
	if p == nil {
		return nil, abi.ENOENT
	}
	desc, errno := p.Table().Description(n)
	if errno != 0 {
		return nil, abi.ENOENT
	}
	return desc, 0
}

func (d fdDir) find(fs *FS, name string) (dynEntry, bool) {
	n, ok := number(name)
	if !ok || n > 1<<30 {
		return dynEntry{}, false
	}
	desc, errno := d.open(fs, int32(n))
	if errno != 0 {
		return dynEntry{}, false
	}
	jump := func(fs *FS) (*dentry, abi.Errno) {
		desc, errno := d.open(fs, int32(n))
		if errno != 0 {
			return nil, errno
		}
		return fs.describe(desc), 0
	}
	e := symlink(name, func(fs *FS) (string, abi.Errno) {
		to, errno := jump(fs)
		return Path{fs, to}.String(), errno
	})
	e.jump = jump
	e.mode = unix.S_IFLNK | 0o100
	if m := desc.StatusFlags() & unix.O_ACCMODE; m != unix.O_WRONLY {
		e.mode |= 0o400
	}
	if m := desc.StatusFlags() & unix.O_ACCMODE; m != unix.O_RDONLY {
		e.mode |= 0o200
	}
	return e, true
}
