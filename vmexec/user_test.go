// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// Users of TestUser: me is 4711 of groups 4712 (its own) and 4713.
var me = vmexec.User{UID: 4711, GID: 4712, Groups: []uint32{4713}}

// userTree makes the files that testdata/user/user.c asks for. It needs root.
func userTree(t *testing.T, program []byte) string {
	t.Helper()
	root := t.TempDir()
	for dir := root; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) { // t.TempDir's are for their owner alone
		if err := os.Chmod(dir, 0o755); err != nil {
			break
		}
	}
	for _, f := range []struct {
		path     string
		mode     uint32 // with the type
		uid, gid int
		body     string
	}{
		{"dev", unix.S_IFDIR | 0o755, 0, 0, ""},
		{"proc", unix.S_IFDIR | 0o555, 0, 0, ""},
		{"t", unix.S_IFDIR | 0o755, 0, 0, ""},
		{"t/all", 0o666, 0, 0, "all"},
		{"t/root", 0o600, 0, 0, "root"},
		{"t/rootread", 0o644, 0, 0, "root"},
		{"t/mine", 0o600, 4711, 4712, "mine"},
		{"t/mine0", 0o077, 4711, 0, "mine"},
		{"t/group", 0o640, 0, 4712, "group"},
		{"t/group2", 0o640, 0, 4713, "group"},
		{"t/notgroup", 0o604, 0, 4713, "others"},
		{"t/foreign", 0o644, 4711, 99, "of a foreign group"},
		{"t/closed", unix.S_IFDIR | 0o700, 0, 0, ""},
		{"t/closed/x", 0o666, 0, 0, "x"},
		{"t/listed", unix.S_IFDIR | 0o744, 0, 0, ""},
		{"t/listed/x", 0o666, 0, 0, "x"},
		{"t/through", unix.S_IFDIR | 0o711, 0, 0, ""},
		{"t/through/x", 0o666, 0, 0, "x"},
		{"t/home", unix.S_IFDIR | 0o700, 4711, 4712, ""},
		{"t/open", unix.S_IFDIR | 0o777, 0, 0, ""},
		{"t/open/rootdir", unix.S_IFDIR | 0o755, 0, 0, ""},
		{"t/open/roots", 0o600, 0, 0, "x"},
		{"t/sticky", unix.S_IFDIR | 0o1777, 0, 0, ""},
		{"t/sticky/roots", 0o666, 0, 0, "x"},
		{"t/sticky/mine", 0o644, 4711, 4712, "x"},
		{"t/setgid", unix.S_IFDIR | 0o2777, 0, 4713, ""},
		{"t/program", 0o755, 0, 0, string(program)},
		{"t/executeonly", 0o711, 0, 0, string(program)},
		{"t/rootprogram", 0o700, 0, 0, string(program)},
		{"t/link", unix.S_IFLNK, 0, 0, "closed/x"},
	} {
		path := filepath.Join(root, f.path)
		var err error
		switch f.mode & unix.S_IFMT {
		case unix.S_IFDIR:
			err = os.Mkdir(path, 0o700)
		case unix.S_IFLNK:
			err = os.Symlink(f.body, path)
		default:
			err = os.WriteFile(path, []byte(f.body), 0o600)
		}
		if err == nil {
			err = os.Lchown(path, f.uid, f.gid)
		}
		if err == nil && f.mode&unix.S_IFMT != unix.S_IFLNK {
			err = unix.Chmod(path, f.mode&0o7777)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// nativeUser runs the program as the user in the root, with /proc and /dev of a mount
// namespace of its own.
func nativeUser(t *testing.T, root string) string {
	t.Helper()
	groups := append([]uint32(nil), me.Groups...)
	script := `mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot --userspec=4711:4712 --groups=4713 "$1" /t/program`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", root)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin = strings.NewReader("x")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Credential: &syscall.Credential{Groups: groups}}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("the native run, which needs a mount namespace: %v, %s", err, stderr.String())
	}
	return string(out)
}

// TestUser holds that a program of a user other than 0 is told whose it is, and that
// each call on files ends as it does natively.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of several users")
	}
	elf := buildFrom(t, "testdata", "user", build.Glibc)
	want := nativeUser(t, userTree(t, elf))
	root := userTree(t, elf)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		r, err := vmexec.DirRoot(root)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, r)
		p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: r, Path: "/t/program", User: me})
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, p)
		compare := func(how string, vm *vmexec.VM) {
			t.Helper()
			res, err := vm.Run(t.Context(), vmexec.IO{Event: []byte("x")})
			if err != nil || res.ExitStatus() != 0 {
				t.Fatalf("%s: %v, %+v", how, err, res)
			}
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(res.Stdout), "\n")); diff != "" {
				t.Errorf("%s (-native +machine):\n%s", how, diff)
			}
		}
		vm, err := h.NewVM(p, vmexec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, vm)
		compare("started", vm)

		s, err := h.NewSnapshot(t.Context(), p, vmexec.Limits{}, vmexec.Wait{})
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, s)
		clone, err := h.Clone(s, vmexec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, clone)
		compare("cloned", clone)
		if err := clone.Reset(); err != nil {
			t.Fatal(err)
		}
		compare("reset", clone)

		var pe *vmexec.ProgramError
		if _, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: r, Path: "/t/rootprogram", User: me}); !errors.As(err, &pe) || !strings.Contains(pe.Reason, "user 4711 may not execute it") {
			t.Errorf("a program of user 0: %v", err)
		}
		if _, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: r, Path: "/t/program", Dir: "/t/closed", User: me}); !errors.As(err, &pe) || !strings.Contains(pe.Reason, "may not enter") {
			t.Errorf("a folder of user 0: %v", err)
		}
	})
}

// TestImageRoot holds that a root shows the owners and modes that a file tells, in
// this process and in one that takes the program over, and refuses what it cannot read.
func TestImageRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of several users")
	}
	elf := buildFrom(t, "testdata", "user", build.Glibc)
	native := userTree(t, elf)
	want := nativeUser(t, native)
	root := userTree(t, elf)
	// As a user without privilege would have unpacked it.
	const unprivileged = 5555
	list := `{"uid":5555,"gid":5555,"files":[`
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err != nil {
			return err
		}
		if rel, _ := filepath.Rel(root, path); rel != "." && (st.Uid != 0 || st.Gid != 0 || st.Mode&0o600 != 0o600) {
			list += ownerJSON(rel, st.Uid, st.Gid, st.Mode&0o7777) + ","
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			if err := os.Chmod(path, os.FileMode(st.Mode&0o777|0o600)); err != nil {
				return err
			}
		}
		return os.Lchown(path, unprivileged, unprivileged)
	})
	if err != nil {
		t.Fatal(err)
	}
	list += ownerJSON("t/sticky", 0, 0, 0o1777) + "]}"
	owners := filepath.Join(t.TempDir(), "owners.json")
	if err := os.WriteFile(owners, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		r, err := vmexec.ImageRoot(root, owners)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, r)
		p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: r, Path: "/t/program", User: me})
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, p)
		o, err := h.HandOver(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, o) // who takes over uses the files and does not hold them
		taken, program, _, err := vmexec.TakeOver(o.Text, o.Files, false)
		if err != nil {
			t.Fatal(err)
		}
		for how, on := range map[string]struct {
			h *vmexec.Host
			p *vmexec.Program
		}{"here": {h, p}, "taken over": {taken, program}} {
			vm, err := on.h.NewVM(on.p, vmexec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, vm)
			res, err := vm.Run(t.Context(), vmexec.IO{Event: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(res.Stdout), "\n")); diff != "" {
				t.Errorf("%s (-native +machine):\n%s", how, diff)
			}
		}
	})
	if err := os.WriteFile(owners, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := vmexec.ImageRoot(root, owners)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, r)
	if _, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: r, Path: "/t/program"}); err == nil {
		t.Error("a root whose owners cannot be read is used")
	}
}

func ownerJSON(path string, uid, gid, mode uint32) string {
	return fmt.Sprintf(`{"path":%q,"uid":%d,"gid":%d,"mode":%d}`, path, uid, gid, mode)
}

func closes(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
