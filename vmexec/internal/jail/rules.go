// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package jail

import (
	"os"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
)

// rule allows one system call, if the conditions hold.
type rule struct {
	name string
	when [][]seccomp.Condition // one of them, each with all of its conditions; none: always
	why  string
}

// is and without are conditions on an argument.
func is(arg uint32, v uint64) seccomp.Condition {
	return seccomp.Condition{Argument: arg, Operation: seccomp.Equal, Value: v}
}

func without(arg uint32, bits uint64) seccomp.Condition {
	return seccomp.Condition{Argument: arg, Operation: seccomp.BitsNotSet, Value: bits}
}

// oneOf allows the call for each of the values of an argument.
func oneOf(arg uint32, values ...uint64) [][]seccomp.Condition {
	var all [][]seccomp.Condition
	for _, v := range values {
		all = append(all, []seccomp.Condition{is(arg, v)})
	}
	return all
}

func when(conditions ...seccomp.Condition) [][]seccomp.Condition {
	return [][]seccomp.Condition{conditions}
}

// goThread are the flags by which the Go runtime starts a thread. No other use of
// clone is allowed on KVM, so there are no other processes.
const goThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD | unix.CLONE_SETTLS

// common is what the Go runtime and the monitor need on every platform.
var common = []rule{
	// Of the monitor's work.
	{"read", nil, "events come on a socket"},
	{"write", nil, "answers go to the same socket, a crash report to stderr"},
	{"readv", nil, "an event and its header in one call"},
	{"writev", nil, "an answer and its header in one call"},
	{"pread64", nil, "contents of the program's file and of the root's, opened before"},
	{"close", nil, "machines have descriptors"},
	{"fstat", nil, "files of the root, opened before"},
	{"lseek", nil, "reading a folder of the root from its start"},
	{"munmap", nil, "guest memory is given back"},
	{"madvise", nil, "guest memory is given back or prepared; also the runtime's"},
	{"mincore", nil, "which guest pages were touched"},
	{"getrusage", nil, "page faults of an event"},
	{"clock_gettime", nil, "processor time of an event; other clocks come from the vDSO"},
	{"getrandom", nil, "the guest's random bytes"},
	{"getpid", nil, "a kick is a signal to a thread of this process"},
	{"gettid", nil, "the thread that a machine is bound to"},
	{"tgkill", when(is(0, uint64(os.Getpid()))), "a kick, and the runtime's preemption: threads of this process only"},
	// Of the Go runtime.
	{"ppoll", nil, "notices that the receiver is gone"},
	{"futex", nil, "locks of the runtime"},
	{"nanosleep", nil, "the runtime's monitor thread"},
	{"epoll_pwait", nil, "timers and waits of the runtime"},
	{"epoll_ctl", nil, "descriptors that the runtime waits for"},
	{"eventfd2", nil, "wakes the runtime's poller, which is made when first used"},
	{"epoll_create1", nil, "the runtime's poller, which is made when first used"},
	{"sched_yield", nil, "spinning locks of the runtime"},
	{"sched_getaffinity", nil, "the runtime looks at its processors now and then"},
	{"rt_sigprocmask", nil, "new threads of the runtime"},
	{"rt_sigaction", nil, "the runtime's handlers"},
	{"rt_sigreturn", nil, "the end of the runtime's handlers"},
	{"sigaltstack", nil, "new threads of the runtime"},
	{"restart_syscall", nil, "the kernel makes it after a stop"},
	{"exit", nil, "threads of the runtime end"},
	{"exit_group", nil, "the end"},
	{"prctl", oneOf(0, prSetVMA), "the runtime names its memory"},
	{"fcntl", oneOf(1, unix.F_GETFL, unix.F_GETFD), "Go looks at the flags of a descriptor"},
}

// prSetVMA is PR_SET_VMA of prctl(2).
const prSetVMA = 0x53564d41

// machines is what running KVM machines needs.
var machines = []rule{
	{"ioctl", ioctls(), "KVM, and the page map for a reset"},
	{"mmap", when(without(2, unix.PROT_EXEC)), "guest memory and the runtime's; nothing new is executable in this process"},
	{"mprotect", when(without(2, unix.PROT_EXEC)), "makes KVM drop what it derived from a guest page"},
	{"clone", when(is(0, goThread)), "threads of the runtime, no processes"},
	{"timer_create", nil, "time slices of the guest's threads"},
	{"timer_settime", nil, "time slices of the guest's threads"},
	{"timer_delete", nil, "time slices of the guest's threads"},
	{"arch_prctl", oneOf(0, archSetGS, archSetFS, archGetFS, archGetGS), "no selector of a guest is left in the thread"},
}

// Of arch_prctl(2).
const (
	archSetGS, archSetFS = 0x1001, 0x1002
	archGetFS, archGetGS = 0x1003, 0x1004
)

// ioctls are the requests of a machine's life, the most frequent first.
func ioctls() [][]seccomp.Condition {
	var all [][]seccomp.Condition
	for _, r := range slices.Concat(kvm.Requests(), guestmem.Requests()) {
		all = append(all, []seccomp.Condition{is(1, uint64(r))})
	}
	return all
}

// traced is what running guests in traced processes needs. It is more: those
// processes are made from this one, and inherit its filter.
var traced = []rule{
	{"ptrace", nil, "the guest's processes"},
	{"wait4", nil, "stops of the guest's processes"},
	{"kill", nil, "the end of the guest's processes"},
	{"tgkill", nil, "kicks of the guest's processes, and the runtime's preemption"},
	{"mmap", nil, "guest memory; that of a guest's process is executable"},
	{"mprotect", nil, "guest memory; that of a guest's process is executable"},
	{"memfd_create", nil, "memory that is shared with the guest's process"},
	{"ftruncate", nil, "the size of that memory"},
	{"fallocate", nil, "gives pages of that memory back"},
	{"pwrite64", nil, "fills that memory"},
	{"clone", nil, "threads of the runtime, and the guest's processes"},
	{"clone3", nil, "the guest's processes"},
	{"execve", nil, "a guest's process begins as a small program in memory"},
	{"pipe2", nil, "the result of starting a process"},
	{"dup3", nil, "descriptors of a new process"},
	{"fcntl", nil, "descriptors of a new process"},
	{"setsid", nil, "a guest's process"},
	{"chdir", nil, "a guest's process"},
	{"close_range", nil, "a guest's process"},
	{"prctl", nil, "a guest's process"},
	{"setrlimit", nil, "a guest's process"},
	{"prlimit64", nil, "the limits that Go restores in a new process"},
	{"seccomp", nil, "the filter of a guest's process"},
	{"getppid", nil, "a new process looks whether its parent lives"},
	{"waitid", nil, "the end of the guest's processes"},
	{"pidfd_open", nil, "the end of the guest's processes"},
	{"pidfd_send_signal", nil, "the end of the guest's processes"},
}

// freeze is what making a snapshot and sending it out needs.
var freeze = []rule{
	{"memfd_create", nil, "the memory of the snapshot, and its state"},
	{"ftruncate", nil, "the size of the snapshot's memory"},
	{"pwrite64", nil, "fills the snapshot's memory"},
	{"fcntl", oneOf(1, unix.F_GETFL, unix.F_GETFD, unix.F_ADD_SEALS, unix.F_DUPFD_CLOEXEC), "nobody can write the snapshot any more"},
	{"sendmsg", nil, "the snapshot's files go out on the socket"},
}

// folder is what reading the files of a root's folder needs.
var folder = []rule{
	{"openat2", nil, "files of the root; its flags lie in memory, where no filter sees them: Landlock sees to it that they are read only"},
	{"readlinkat", nil, "symbolic links of the root"},
	{"getdents64", nil, "folders of the root"},
	{"fstatfs", nil, "the file system of the root"},
}

// rules returns what c allows. The first rule for a call counts.
func rules(c Config) []rule {
	lists := [][]rule{machines, common}
	if c.Ptrace {
		lists = [][]rule{traced, common}
	}
	if c.Folder != "" {
		lists = append(lists, folder)
	}
	if c.Freeze {
		lists = slices.Insert(lists, 0, freeze)
	}
	var all []rule
	for _, r := range slices.Concat(lists...) { // the wider rules come first
		if !slices.ContainsFunc(all, func(x rule) bool { return x.name == r.name }) {
			all = append(all, r)
		}
	}
	return all
}

// filter is the program of seccomp(2). What is not allowed ends the process: the
// monitor never asks for it, so whoever does is not the monitor any more.
func filter(c Config) seccomp.Filter {
	g := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, r := range rules(c) {
		if len(r.when) == 0 {
			g.Names = append(g.Names, r.name)
		}
		for _, w := range r.when {
			g.NamesWithCondtions = append(g.NamesWithCondtions, seccomp.NameWithConditions{Name: r.name, Conditions: w})
		}
	}
	return seccomp.Filter{
		NoNewPrivs: true, Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionKillProcess, Syscalls: []seccomp.SyscallGroup{g}},
	}
}
