// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is a thread of this process that is in namespaces of its own, in which there
// is nothing. Processes that it starts are in them too.
type thread struct {
	program *os.File // the only file there, for who wants to know which that is
	work    chan func()
	done    chan struct{}
}

// newThread starts the thread, where worker is the only file.
func newThread(worker string) (*thread, error) {
	t := &thread{work: make(chan func()), done: make(chan struct{})}
	entered := make(chan error)
	go t.run(worker, entered)
	if err := <-entered; err != nil {
		<-t.done
		return nil, err
	}
	return t, nil
}

// run is what the thread does. It ends with the goroutine, which never unlocks it: no
// other one is ever run by it. The runtime starts new threads from another one.
func (t *thread) run(worker string, entered chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// What /proc/self shows is the main thread. While this goroutine holds it,
		// another one gets another.
		go t.run(worker, entered)
		<-t.done
		runtime.UnlockOSThread()
		return
	}
	defer close(t.done)
	err := enter(worker)
	if err == nil {
		if t.program, err = os.OpenFile(program, unix.O_PATH, 0); err != nil {
			err = unavailable("find the worker's program in its place", err)
		}
	}
	entered <- err
	if err != nil {
		return
	}
	for f := range t.work {
		f()
	}
}

// start starts cmd from the thread.
func (t *thread) start(cmd *exec.Cmd) error {
	err := make(chan error, 1)
	t.work <- func() { err <- cmd.Start() }
	return <-err
}

// close ends the thread, and the processes that it started.
func (t *thread) close() {
	close(t.work)
	<-t.done
	_ = t.program.Close()
}

const (
	// mountPoint is any folder that there is everywhere. In the thread's namespace the
	// new root is mounted on it.
	mountPoint = "/proc"
	// program is where the worker is in the new root, and procFolder where it finds
	// itself.
	program    = "/kontain-worker"
	procFolder = "/proc"
)

// enter takes the calling thread into namespaces of its own.
func enter(worker string) error {
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if err := unix.Unshare(namespaces | unix.CLONE_FS); err != nil {
		return unavailable("make namespaces", os.NewSyscallError("unshare", err))
	}
	if err := unix.Sethostname([]byte("kontain")); err != nil {
		return unavailable("hide the name of the host", os.NewSyscallError("sethostname", err))
	}
	if err := newRoot(worker); err != nil {
		return unavailable("make an empty root directory", err)
	}
	return nil
}

// newRoot makes the root directory of the thread's mount namespace one that holds only
// the program, and a /proc that shows a process itself and no other user's: it needs
// /proc/self.
func newRoot(worker string) error {
	const harmless = unix.MS_NOSUID | unix.MS_NODEV
	in := func(name string) string { return filepath.Join(mountPoint, name) }
	// Nothing of what follows reaches other namespaces.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount(MS_PRIVATE)", err)
	}
	if err := unix.Mount("kontain", mountPoint, "tmpfs", harmless|unix.MS_NOEXEC, "mode=0555,size=64k,nr_inodes=8"); err != nil {
		return os.NewSyscallError("mount(tmpfs)", err)
	}
	f, err := os.OpenFile(in(program), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), os.Mkdir(in(procFolder), 0o555)); err != nil { //nolint:gosec // It is for other users.
		return err
	}
	if err := unix.Mount(worker, in(program), "", unix.MS_BIND, ""); err != nil {
		return os.NewSyscallError(fmt.Sprintf("mount(%s)", worker), err)
	}
	if err := unix.Mount("", in(program), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|harmless, ""); err != nil {
		return os.NewSyscallError("mount(MS_RDONLY)", err)
	}
	// Linux 5.8; older ones know no subset, and would hide processes everywhere.
	if err := unix.Mount("kontain", in(procFolder), "proc", harmless|unix.MS_NOEXEC|unix.MS_RDONLY, "subset=pid,hidepid=invisible"); err != nil {
		return os.NewSyscallError("mount(proc)", err)
	}
	if err := unix.Mount("", mountPoint, "", unix.MS_REMOUNT|unix.MS_RDONLY|harmless|unix.MS_NOEXEC, ""); err != nil {
		return os.NewSyscallError("mount(MS_RDONLY)", err)
	}
	if err := unix.Chdir(mountPoint); err != nil {
		return os.NewSyscallError("chdir", err)
	}
	// The old root is put on top of the new one, and taken away with all below it;
	// pivot_root(2).
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}
