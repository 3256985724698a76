// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// cgroup makes a cgroup for a test, or skips it where there can be none, unless
// KONTAIN_REQUIRE_CGROUP=1 demands it. Where there are no controllers, as on machines
// that have those in cgroups of the first version, the test goes on without limits.
func cgroup(t *testing.T) (parent string, limits bool) {
	t.Helper()
	skip := t.Skip
	if os.Getenv("KONTAIN_REQUIRE_CGROUP") == "1" {
		skip = t.Fatal
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil || len(mounts) == 0 {
		skip("there are no cgroups of version 2 here: ", err)
	}
	parent, err = os.MkdirTemp(mounts[0].Mountpoint, "test-kontain-")
	if err != nil {
		skip("no cgroup can be made here: ", err)
	}
	t.Cleanup(func() {
		if err := removeGroup(parent); err != nil {
			t.Error(err)
		}
	})
	missing, err := lacks(parent, "cgroup.controllers", controllers)
	if err != nil {
		t.Fatal(err)
	}
	if limits = len(missing) == 0; !limits {
		if os.Getenv("KONTAIN_REQUIRE_CGROUP") == "1" {
			t.Fatalf("cgroups have no controllers of %v here", missing)
		}
		t.Logf("cgroups have no controllers of %v here: nothing is limited", missing)
		all := controllers
		controllers = nil
		t.Cleanup(func() { controllers = all })
	}
	return parent, limits
}

func TestCgroup(t *testing.T) {
	parent, _ := cgroup(t)
	cells := open(t, Config{Cgroup: parent})
	c, err := cells.New(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Args: []string{"deeds", "wait"}, Env: []string{}}
	if err := c.Start(cmd); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	want := fmt.Sprintf("/%s/%d\n", filepath.Join(filepath.Base(parent), filepath.Base(cells.Group())), c.User())
	if err != nil || !c.Bounded() || !strings.HasSuffix(string(b), want) {
		t.Errorf("it is in %s, not in %s; %v", b, want, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	closes(t, c)
	if dirs := folders(parent); len(dirs) != 1 || len(folders(dirs[0])) != 0 {
		t.Errorf("%v is there while no cell is", dirs)
	}
}

// folders are those in dir.
func folders(dir string) []string {
	all, _ := filepath.Glob(dir + "/*/cgroup.procs")
	for i := range all {
		all[i] = filepath.Dir(all[i])
	}
	return all
}

// More than the limits is not to be had.
func TestCgroupLimits(t *testing.T) {
	parent, limits := cgroup(t)
	if !limits {
		t.Skip("no cgroup controllers of memory and pids")
	}
	cells := open(t, Config{Cgroup: parent})
	c := newCell(t, cells, Limits{Memory: 64 << 20, Tasks: 40})
	for _, d := range []struct {
		args []string
		want string
	}{
		{[]string{"memory", "32"}, fmt.Sprintf("has %d bytes\ndid: <nil>", 32<<20)},
		{[]string{"memory", "200"}, "killed by SIGKILL"},
		{[]string{"threads", "10"}, "did: <nil>"},
		{[]string{"threads", "100"}, "runtime: failed to create new OS thread"},
	} {
		if got := do(t, c, nil, d.args...); !strings.HasPrefix(got, d.want) {
			t.Errorf("%v: %.200s, not %s", d.args, got, d.want)
		}
	}
	// Both limits are those of all processes together.
	for range 3 {
		cmd := &exec.Cmd{Args: []string{"deeds", "threads", "5"}, Env: []string{}}
		if err := c.Start(cmd); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	}
	if got := do(t, c, nil, "threads", "20"); !strings.HasPrefix(got, "runtime: ") {
		t.Errorf("with others: %.200s", got)
	}
}

// A receiver that is alone in its cgroup moves into one below it, and back in the end.
func TestCgroupMoves(t *testing.T) {
	if parent := os.Getenv(asReceiver); parent != "" {
		cells, err := Open(Config{Worker: deeds, Cgroup: parent})
		if err != nil {
			t.Fatal(err)
		}
		c, err := cells.New(Limits{Memory: 64 << 20, Tasks: 40})
		if err != nil {
			t.Fatal(err)
		}
		if got := do(t, c, nil, "memory", "200"); got != "killed by SIGKILL" {
			t.Error(got)
		}
		own, err := os.ReadFile(filepath.Join(cells.Group(), receiverGroup, "cgroup.procs"))
		if want := fmt.Sprintln(os.Getpid()); err != nil || string(own) != want {
			t.Errorf("%q in the receiver's cgroup, %v", own, err)
		}
		closes(t, c)
		closes(t, cells)
		if own, err := os.ReadFile(filepath.Join(parent, "cgroup.procs")); err != nil || !strings.Contains(string(own), fmt.Sprint(os.Getpid())) {
			t.Errorf("%q in the cgroup afterwards, %v", own, err)
		}
		return
	}
	parent, limits := cgroup(t)
	if !limits {
		t.Skip("no cgroup controllers of memory and pids")
	}
	_ = open(t, Config{})
	if out, err := receiver(t, parent, "^TestCgroupMoves$").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left := folders(parent); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// receiver is this test as a process alone in a cgroup.
func receiver(t *testing.T, parent, test string) *exec.Cmd {
	f, err := os.Open(parent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, f) })
	cmd := exec.Command(os.Args[0], "-test.run", test)
	cmd.Env = append(os.Environ(), asReceiver+"="+parent)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	return cmd
}

// The cgroups of a receiver that was killed are removed by the next one, and those of
// one that lives are not.
func TestCgroupTidy(t *testing.T) {
	if parent := os.Getenv(asReceiver); parent != "" {
		if os.Getenv(unlimited) != "" {
			controllers = nil
		}
		cells, err := Open(Config{Worker: deeds, Cgroup: parent})
		if err != nil {
			t.Fatal(err)
		}
		c, err := cells.New(Limits{})
		if err != nil {
			t.Fatal(err)
		}
		cmd := &exec.Cmd{Args: []string{"deeds", "wait"}, Env: []string{}}
		if err := c.Start(cmd); err != nil {
			t.Fatal(err)
		}
		fmt.Println("started", cmd.Process.Pid)
		time.Sleep(time.Hour)
	}
	parent, limits := cgroup(t)
	living := open(t, Config{Cgroup: parent})
	_ = newCell(t, living, Limits{})
	cmd := exec.Command(os.Args[0], "-test.run", "^TestCgroupTidy$")
	cmd.Env = append(os.Environ(), asReceiver+"="+parent)
	if !limits {
		cmd.Env = append(cmd.Env, unlimited+"=1")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var pid int
	if _, err := fmt.Fscanf(out, "started %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	tidy(parent)
	if left := folders(parent); len(left) != 2 || unix.Kill(pid, 0) != nil {
		t.Fatalf("with two that live: %v", left)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if left := folders(parent); len(left) != 2 {
		t.Fatalf("with one that was killed: %v", left)
	}
	next := open(t, Config{Cgroup: parent})
	left := folders(parent)
	if len(left) != 2 || left[0] != living.Group() && left[1] != living.Group() || left[0] != next.Group() && left[1] != next.Group() {
		t.Errorf("%v is left; %s and %s live", left, living.Group(), next.Group())
	}
	if n := len(folders(living.Group())); n != 1 {
		t.Errorf("the one that lives has %d cells", n)
	}
}

const unlimited = "KONTAIN_TEST_UNLIMITED"
