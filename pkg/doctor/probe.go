// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// KVM's numbers are those of include/uapi/linux/kvm.h; what they mean is in
// https://docs.kernel.org/virt/kvm/api.html. The monitor has its own set; these
// are kept apart so that the doctor can disagree with it.
const (
	kvmAPIVersion = 12 // the only one there ever was (KVM_GET_API_VERSION)

	kvmGetAPIVersion  = 0xae00 // _IO(0xAE, 0x00)
	kvmCreateVM       = 0xae01 // _IO(0xAE, 0x01)
	kvmCheckExtension = 0xae03 // _IO(0xAE, 0x03)
)

// capability is one KVM_CHECK_EXTENSION answer that the monitor cares about.
type capability struct {
	number  int
	id      string // KVM's name of it
	name    string // what it is, in plain words
	needs   int    // bits of the answer that must be set; 0: any answer above 0
	show    bool   // the answer is a number worth showing
	since   string // Linux version that brought it
	use     string // what it is for
	missing Level  // what its absence means
}

// syncRegsWanted asks for general and special registers (KVM_SYNC_X86_*).
const syncRegsWanted = 1 | 2

var capabilities = []capability{
	{number: 3, id: "KVM_CAP_USER_MEMORY", name: "user memory", since: "2.6.25", use: "the program's memory", missing: Bad},
	{number: 10, id: "KVM_CAP_NR_MEMSLOTS", name: "memory slots", show: true, since: "2.6.26", use: "memory that grows in steps", missing: Bad},
	{number: 55, id: "KVM_CAP_XSAVE", name: "vector registers", since: "2.6.36", use: "vector registers of the program's threads", missing: Bad},
	{number: 208, id: "KVM_CAP_XSAVE2", name: "large vector registers", show: true, since: "5.17", use: "vector state larger than 4 KiB (AMX); not needed without it", missing: Note},
	{number: 56, id: "KVM_CAP_XCRS", name: "extended control registers", since: "2.6.36", use: "AVX in the program", missing: Bad},
	{number: 61, id: "KVM_CAP_GET_TSC_KHZ", name: "time stamp frequency", since: "2.6.39", use: "clocks that the program reads without an exit", missing: Bad},
	{number: 74, id: "KVM_CAP_SYNC_REGS", name: "registers in shared memory", needs: syncRegsWanted, since: "4.17", use: "exits without further calls", missing: Bad},
	{number: 136, id: "KVM_CAP_IMMEDIATE_EXIT", name: "immediate exit", since: "4.11", use: "stopping a running program without losing a wake-up", missing: Bad},
}

// kvmProbe is what a KVM device answered.
type kvmProbe struct {
	openErr    error
	version    int
	versionErr error
	vmErr      error
	caps       map[int]int // answers of KVM_CHECK_EXTENSION by capability number
}

// probeKVM asks the KVM device what it offers and creates an empty machine.
func probeKVM(device string) kvmProbe {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return kvmProbe{openErr: &os.PathError{Op: "open", Path: device, Err: err}}
	}
	defer unix.Close(fd)
	p := kvmProbe{caps: map[int]int{}}
	if p.version, err = unix.IoctlRetInt(fd, kvmGetAPIVersion); err != nil {
		p.versionErr = os.NewSyscallError("KVM_GET_API_VERSION", err)
		return p
	}
	for _, c := range capabilities {
		// A capability that KVM does not know is 0; so is one it cannot be asked for.
		if value, err := ioctlInt(fd, kvmCheckExtension, uintptr(c.number)); err == nil {
			p.caps[c.number] = value
		}
	}
	vm, err := ioctlInt(fd, kvmCreateVM, 0)
	if err != nil {
		p.vmErr = os.NewSyscallError("KVM_CREATE_VM", err)
		return p
	}
	p.vmErr = os.NewSyscallError("close", unix.Close(vm))
	return p
}

// ioctlInt makes an ioctl whose argument and answer are integers. KVM_CREATE_VM
// may be interrupted by a signal, so EINTR is tried again.
func ioctlInt(fd int, request, arg uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
}

// kernelFeature is one thing other than KVM that the monitor asks of Linux.
type kernelFeature struct {
	id      string // the kernel's name of it
	name    string // what it is, in plain words
	since   string // Linux version that brought it
	use     string // what it is for
	missing Level  // what its absence means
	err     error  // nil: it works here
}

// probeKernel tries each feature once.
func probeKernel() []kernelFeature {
	return []kernelFeature{
		{"memfd_create", "sealed memory files", "3.17", "programs held in memory that cannot change", Bad, probeMemfd()},
		{"openat2", "look-ups below a folder", "5.6", "a read-only root from a folder", Bad, probeOpenat2()},
		{"SIGEV_THREAD_ID", "timers of one thread", "2.6", "time limits of running programs", Bad, probeTimer()},
		{"PAGEMAP_SCAN", "changed pages", "6.7", "fast reset of snapshots; page maps are read without it", Note, probePagemapScan()},
	}
}

func probeMemfd() error {
	fd, err := unix.MemfdCreate("kontain-doctor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(fd)
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl F_ADD_SEALS", err)
}

func probeOpenat2() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT,
	})
	if err != nil {
		return os.NewSyscallError("openat2", err)
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

// kernelRelease is the release of uname(2), such as 6.1.0-13-amd64.
func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

func readLimits() (files, processes limit) {
	read := func(which int) limit {
		var l unix.Rlimit
		if err := unix.Getrlimit(which, &l); err != nil {
			return limit{err: os.NewSyscallError("getrlimit", err)}
		}
		return limit{soft: l.Cur, hard: l.Max}
	}
	return read(unix.RLIMIT_NOFILE), read(unix.RLIMIT_NPROC)
}

var errScanWrong = errors.New("PAGEMAP_SCAN did not report the page that was written")
