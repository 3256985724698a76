// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package cell starts worker processes where there is nothing: the second level of
// their jail, which needs privileges of the receiver. A process in a cell belongs to a
// user that nobody else is, sees no file but its own program, no network, no process
// and no shared memory but its own, and has no capability. What it may use of memory
// and of threads is bounded where the receiver may make cgroups.
//
// What the cells of a receiver have in common is empty: namespaces of mounts, network,
// IPC and host name, which one thread of the receiver is in. It starts the processes.
// Each gets namespaces of processes and of cgroups of its own. So there is nothing to be tidied up
// when the receiver ends, however it does: the namespaces go with the thread.
package cell

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The default range of users: a part of those that no distribution gives away, between
// the containers of systemd and those that are negative as a signed number
// (https://systemd.io/UIDS-GIDS/).
const (
	DefaultFirstUser = 1_900_000_000
	DefaultUsers     = 65_536
)

// Config says what cells are made of.
type Config struct {
	// Worker is the path of the program that runs in cells. It must be linked
	// statically, and everybody must be allowed to run it.
	Worker string
	// FirstUser and Users are the range of users, and groups of the same numbers, that
	// cells are given. Zero means the defaults.
	FirstUser, Users uint32
	// Cgroup is the folder of a cgroup (version 2) in which there may be made others,
	// one a cell. Empty: that of this process, where it is delegated to it. Where one
	// is named and cannot be used, there are no cells.
	Cgroup string
}

// UnavailableError says why there are no cells.
type UnavailableError struct {
	Reason string // what could not be done
	Hint   string // what the operator can do; may be empty
	Err    error
}

func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Reason, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *UnavailableError) Unwrap() error { return e.Err }

func unavailable(reason string, err error) error {
	u := &UnavailableError{Reason: reason, Err: err}
	switch {
	case errors.Is(err, unix.EPERM):
		u.Hint = "this needs root, or the capabilities SYS_ADMIN, SETUID, SETGID and KILL; in a container it must also be allowed to mount"
	case errors.Is(err, unix.ENOSPC):
		u.Hint = "the kernel's limit of namespaces is reached: see /proc/sys/user"
	}
	return u
}

// Cells are the cells of one receiver. Its methods may be called from several
// goroutines.
type Cells struct {
	thread *thread
	null   *os.File
	group  *group // nil: without cgroups
	// NoCgroup is why there are no cgroups; nil when there are.
	NoCgroup error

	mu    sync.Mutex
	first uint32
	users uint32
	next  uint32          // offset of the user that is tried first
	taken map[uint32]bool // offsets
}

// Open makes what cells need, and tries one out. The error is an *UnavailableError.
func Open(c Config) (_ *Cells, err error) {
	if c.FirstUser == 0 && c.Users == 0 {
		c.FirstUser, c.Users = DefaultFirstUser, DefaultUsers
	}
	if c.FirstUser == 0 || c.Users == 0 || uint64(c.FirstUser)+uint64(c.Users) >= 1<<32 {
		return nil, unavailable("take users for cells", fmt.Errorf("%d users from %d on make no sense: 0 is root, and %d is nobody", c.Users, c.FirstUser, uint32(1<<32-1)))
	}
	cells := &Cells{first: c.FirstUser, users: c.Users, taken: map[uint32]bool{}}
	defer func() {
		if err != nil {
			_ = cells.Close()
		}
	}()
	if cells.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, unavailable("open "+os.DevNull, err)
	}
	if cells.thread, err = newThread(c.Worker); err != nil {
		return nil, err
	}
	if cells.group, err = openGroup(c.Cgroup); err != nil {
		if c.Cgroup != "" {
			return nil, unavailable("make cgroups in "+c.Cgroup, err)
		}
		cells.NoCgroup = err
	}
	if err := cells.tryOut(); err != nil {
		return nil, err
	}
	return cells, nil
}

// Group is the folder in which the cgroups of cells are; empty without.
func (c *Cells) Group() string {
	if c.group == nil {
		return ""
	}
	return c.group.dir
}

// tryTime is how long the process that tries a cell out may take.
const tryTime = 10 * time.Second

// tryOut starts the worker in a cell with nothing to do: it says so and ends.
func (c *Cells) tryOut() error {
	const what = "start a process in namespaces and as a user of its own"
	cell, err := c.New(Limits{})
	if err != nil {
		return err
	}
	defer func() { _ = cell.Close() }()
	cmd := &exec.Cmd{Args: []string{"kontain-worker"}, Env: []string{}}
	if err := cell.Start(cmd); err != nil {
		return unavailable(what, err)
	}
	defer time.AfterFunc(tryTime, func() { _ = cmd.Process.Kill() }).Stop()
	err = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Exited() {
		return unavailable(what, err)
	}
	return nil
}

// Close ends what cells need. Every Cell must be closed before.
func (c *Cells) Close() error {
	var errs []error
	if c.thread != nil {
		c.thread.close()
	}
	if c.group != nil {
		errs = append(errs, c.group.close())
	}
	if c.null != nil {
		errs = append(errs, c.null.Close())
	}
	return errors.Join(errs...)
}

// Limits bound what all processes of a cell use together, where there are cgroups. Zero
// means no limit.
type Limits struct {
	Memory uint64 // bytes
	Tasks  int    // processes and threads
}

// Cell is where the processes of one sink run. Its methods may be called from several
// goroutines.
type Cell struct {
	cells *Cells
	user  uint32
	group *os.File // the folder of its cgroup; nil without
	reads bool     // every file that it is given a way to
}

// New makes a cell, whose user no other open cell of the receiver has.
func (c *Cells) New(l Limits) (*Cell, error) {
	cell := &Cell{cells: c}
	var err error
	if cell.user, err = c.takeUser(); err != nil {
		return nil, err
	}
	if c.group != nil {
		if cell.group, err = c.group.make(cell.user, l); err != nil {
			c.giveUser(cell.user)
			return nil, fmt.Errorf("make a cgroup: %w", err)
		}
	}
	return cell, nil
}

func (c *Cells) takeUser() (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range c.users {
		n := c.next
		c.next = (c.next + 1) % c.users // one that was given back is taken last
		if !c.taken[n] {
			c.taken[n] = true
			return c.first + n, nil
		}
	}
	return 0, fmt.Errorf("all %d users from %d on are in use, one a sink: give a larger range", c.users, c.first)
}

func (c *Cells) giveUser(user uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, user-c.first)
}

// User is the number of the cell's user and of its group.
func (c *Cell) User() uint32 { return c.user }

// Program is a path of the program that runs in the cell: that of Config.Worker may be
// another file by now.
func (c *Cell) Program() string { return fmt.Sprintf("/proc/self/fd/%d", c.cells.thread.program.Fd()) }

// Bounded says whether a cgroup bounds what the cell uses.
func (c *Cell) Bounded() bool { return c.group != nil }

// Unbounded is why no cgroup bounds what the cell uses; nil when one does.
func (c *Cell) Unbounded() error { return c.cells.NoCgroup }

// Folder returns another descriptor of a folder, for processes in the cell: whoever
// holds it can neither write below it nor leave it. The processes of this cell are then
// allowed to read every file in it, whosever it is (CAP_DAC_READ_SEARCH), as the
// receiver is: other files they have no way to. It is for before the first Start.
func (c *Cell) Folder(folder *os.File) (*os.File, error) {
	fail := func(call string, err error) (*os.File, error) {
		return nil, fmt.Errorf("show a cell the folder %s: %w", folder.Name(), os.NewSyscallError(call, err))
	}
	fd, err := unix.OpenTree(int(folder.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fail("open_tree", err)
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
		unix.Close(fd)
		return fail("mount_setattr", err)
	}
	c.reads = true
	return os.NewFile(uintptr(fd), folder.Name()), nil
}

// Start is that of cmd, in the cell: of cmd count Args, Env, the streams, ExtraFiles
// and SysProcAttr. It ends with the receiver.
func (c *Cell) Start(cmd *exec.Cmd) error {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	// In a cgroup namespace of its own the thread could not start it in another cgroup.
	attr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP
	attr.Credential = &syscall.Credential{Uid: c.user, Gid: c.user}
	attr.Pdeathsig = unix.SIGKILL // the thread lives as long as the receiver
	if c.reads {
		attr.AmbientCaps = []uintptr{unix.CAP_DAC_READ_SEARCH}
	}
	if c.group != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(c.group.Fd())
	}
	cmd.SysProcAttr, cmd.Path, cmd.Dir = &attr, program, "/"
	// There is no /dev/null where it is started.
	if cmd.Stdin == nil {
		cmd.Stdin = c.cells.null
	}
	if cmd.Stdout == nil {
		cmd.Stdout = c.cells.null
	}
	if cmd.Stderr == nil {
		cmd.Stderr = c.cells.null
	}
	return c.cells.thread.start(cmd)
}

// Close removes what the cell had. Its processes must have ended.
func (c *Cell) Close() error {
	var err error
	if c.group != nil {
		err = c.cells.group.remove(c.group)
	}
	c.cells.giveUser(c.user)
	return err
}
