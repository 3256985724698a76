// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// What is done here with cgroups is little, and the kernel's interface to them are
// files: https://docs.kernel.org/admin-guide/cgroup-v2.html. The libraries for it also
// manage devices, systemd units and the first version.

// controllers are those that bound what a cell uses.
var controllers = []string{"memory", "pids"}

// groupPrefix begins the name of the folder in which a receiver has the cgroups of its
// cells.
const groupPrefix = "kontain-"

// group is the cgroup in which those of the cells are.
type group struct {
	controllers []string
	parent      string
	dir         string   // kontain-…, in parent
	lock        *os.File // dir, locked for as long as the receiver lives
	moved       bool     // this process was moved from parent into a cgroup of its own
}

// receiverGroup is the cgroup of the receiver itself, where it had to be moved.
const receiverGroup = "receiver"

// openGroup makes a cgroup for those of the cells in parent or, where that is empty, in
// the cgroup of this process.
func openGroup(parent string) (*group, error) {
	if parent == "" {
		var err error
		if parent, err = ownCgroup(); err != nil {
			return nil, err
		}
	}
	g := &group{controllers: controllers, parent: parent}
	if err := g.check(); err != nil {
		return nil, err
	}
	tidy(parent)
	if err := g.open(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// ownCgroup returns the folder of the cgroup of this process, if it was given to it to
// make others in.
func ownCgroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	var path string
	for line := range strings.Lines(string(b)) {
		// cgroups(7): the second version is the hierarchy without a number.
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			path = p
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil {
		return "", err
	}
	if path == "" || len(mounts) == 0 {
		return "", errors.New("there are no cgroups of version 2 here")
	}
	m := mounts[0]
	rel, err := filepath.Rel(m.Root, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", fmt.Errorf("the cgroup of this process, %s, is not to be seen below %s", path, m.Mountpoint)
	}
	dir := filepath.Join(m.Mountpoint, rel)
	if !delegated(dir, path) {
		return "", fmt.Errorf("the cgroup of this process, %s, is not its own to make others in (systemd: Delegate=yes), and --cgroup names none", path)
	}
	return dir, nil
}

// delegated says whether a cgroup was given to this process: systemd marks it, and in a
// container it is the root of all that is to be seen. The root of the whole machine is
// not: it alone has no cgroup.type.
func delegated(dir, path string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		b := make([]byte, 1)
		if n, err := unix.Getxattr(dir, name, b); err == nil && n == 1 && b[0] == '1' {
			return true
		}
	}
	_, err := os.Stat(filepath.Join(dir, "cgroup.type"))
	return path == "/" && err == nil
}

// check says what is missing.
func (g *group) check() error {
	var st unix.Statfs_t
	if err := unix.Statfs(g.parent, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: g.parent, Err: err}
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%s is not the folder of a cgroup of version 2", g.parent)
	}
	if missing, err := lacks(g.parent, "cgroup.controllers", g.controllers); err != nil || len(missing) > 0 {
		return errors.Join(err, fmt.Errorf("the cgroup %s has no controller of %s", g.parent, strings.Join(missing, " and ")))
	}
	if err := unix.Access(g.parent, unix.W_OK); err != nil {
		return &os.PathError{Op: "write to", Path: g.parent, Err: err}
	}
	return nil
}

// lacks returns which of the names are not in a file.
func lacks(dir, name string, names []string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	have := strings.Fields(string(b))
	return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return slices.Contains(have, s) }), nil
}

// open makes the receiver's cgroup, and has the controllers reach into those in it.
func (g *group) open() error {
	for tries := 0; ; tries++ {
		var err error
		if g.dir, err = os.MkdirTemp(g.parent, groupPrefix); err != nil {
			g.dir = ""
			return err
		}
		if g.lock, err = lock(g.dir); err == nil {
			break
		}
		// Another receiver, which tidies up, may have come first.
		if tries == 10 {
			return err
		}
	}
	err := g.pass(g.parent, "+")
	if errors.Is(err, unix.EBUSY) {
		// There may be processes in a cgroup or controllers in those below it, but not both.
		if err = g.move(); err == nil {
			err = g.pass(g.parent, "+")
		}
	}
	if err != nil {
		return err
	}
	return g.pass(g.dir, "+")
}

// lock locks a folder until it is closed. The error is EWOULDBLOCK when another process
// has done it.
func lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "flock", Path: dir, Err: err}
	}
	return f, nil
}

// pass has the controllers of dir reach into the cgroups in it, or not any more.
func (g *group) pass(dir, sign string) error {
	missing, err := lacks(dir, "cgroup.subtree_control", g.controllers)
	if err != nil || sign == "+" && len(missing) == 0 || len(g.controllers) == 0 {
		return err
	}
	return write(dir, "cgroup.subtree_control", sign+strings.Join(g.controllers, " "+sign))
}

func write(dir, name, value string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(value), 0)
}

// move moves this process out of the parent, if it is the only one in it.
func (g *group) move() error {
	b, err := os.ReadFile(filepath.Join(g.parent, "cgroup.procs"))
	if err != nil {
		return err
	}
	self := strconv.Itoa(os.Getpid())
	if procs := strings.Fields(string(b)); len(procs) != 1 || procs[0] != self {
		return fmt.Errorf("the cgroup %s has %d processes in it, of which this may be one; with others it cannot be divided (systemd: DelegateSubgroup=)", g.parent, len(procs))
	}
	own := filepath.Join(g.dir, receiverGroup)
	if err := os.Mkdir(own, 0o700); err != nil {
		return err
	}
	if err := write(own, "cgroup.procs", self); err != nil {
		return errors.Join(err, os.Remove(own))
	}
	g.moved = true
	return nil
}

// close removes the receiver's cgroup, and leaves the parent as it was.
func (g *group) close() error {
	if g.dir == "" {
		return nil
	}
	var errs []error
	if g.moved {
		errs = append(errs, g.pass(g.dir, "-"), g.pass(g.parent, "-"),
			write(g.parent, "cgroup.procs", strconv.Itoa(os.Getpid())), os.Remove(filepath.Join(g.dir, receiverGroup)))
	}
	errs = append(errs, os.Remove(g.dir))
	if g.lock != nil {
		errs = append(errs, g.lock.Close())
	}
	return errors.Join(errs...)
}

// make makes the cgroup of a cell and returns its folder.
func (g *group) make(user uint32, l Limits) (*os.File, error) {
	dir := filepath.Join(g.dir, strconv.FormatUint(uint64(user), 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	err := limit(dir, l)
	var f *os.File
	if err == nil {
		f, err = os.Open(dir)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return f, nil
}

func limit(dir string, l Limits) error {
	if l.Memory > 0 {
		if err := write(dir, "memory.max", strconv.FormatUint(l.Memory, 10)); err != nil {
			return err
		}
		// Without swap there is no such file.
		if err := write(dir, "memory.swap.max", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if l.Tasks > 0 {
		return write(dir, "pids.max", strconv.Itoa(l.Tasks))
	}
	return nil
}

// remove removes the cgroup of a cell, whose processes have ended.
func (g *group) remove(f *os.File) error { return errors.Join(f.Close(), removeGroup(f.Name())) }

// goneTime is how long the processes of a cgroup may take to be gone.
const goneTime = 2 * time.Second

// removeGroup ends what is still in a cgroup, such as the processes of a guest on
// platform ptrace, which end after their worker, and removes it.
func removeGroup(dir string) error {
	_ = write(dir, "cgroup.kill", "1") // Linux 5.14; without it they end all the same
	for end := time.Now().Add(goneTime); ; time.Sleep(time.Millisecond) {
		err := os.Remove(dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

// tidy removes the cgroups of receivers that are gone.
func tidy(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, groupPrefix+"*"))
	for _, dir := range dirs {
		f, err := lock(dir)
		if err != nil {
			continue // it lives, or another receiver is at it
		}
		// Of what cannot be removed the next receiver tries to.
		cells, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, c := range cells {
			if st, err := os.Stat(c); err == nil && st.IsDir() {
				_ = removeGroup(c)
			}
		}
		_ = removeGroup(dir)
		_ = f.Close()
	}
}
