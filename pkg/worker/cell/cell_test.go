// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deeds is the program of testdata/deeds.
var deeds string

// asDeeds names it to the processes that tests start of themselves: these are killed
// and could not remove one of their own.
const asDeeds = "KONTAIN_TEST_DEEDS"

func TestMain(m *testing.M) {
	if deeds = os.Getenv(asDeeds); deeds != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "kontain-cell-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	deeds = filepath.Join(dir, "deeds")
	cmd := exec.Command("go", "build", "-o", deeds, "./testdata/deeds")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, said)
		os.Exit(1)
	}
	if err := os.Setenv(asDeeds, deeds); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// open opens cells, or skips the test where they are not to be had, unless
// KONTAIN_REQUIRE_CELLS=1 demands it.
func open(t *testing.T, c Config) *Cells {
	t.Helper()
	c.Worker = deeds
	cells, err := Open(c)
	if err != nil {
		if os.Getenv("KONTAIN_REQUIRE_CELLS") == "1" {
			t.Fatalf("KONTAIN_REQUIRE_CELLS=1, but %v", err)
		}
		t.Skip("no cells: ", err)
	}
	t.Cleanup(func() { closes(t, cells) })
	return cells
}

func closes(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func newCell(t *testing.T, cells *Cells, l Limits) *Cell {
	t.Helper()
	c, err := cells.New(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, c) })
	return c
}

// do does a deed and returns what came of it. In no cell the test does it itself.
func do(t *testing.T, c *Cell, file *os.File, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: deeds, Args: append([]string{"deeds"}, args...), Env: []string{}, Stdout: &out, Stderr: &out}
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	start := cmd.Start
	if c != nil {
		start = func() error { return c.Start(cmd) }
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	said := strings.TrimSpace(out.String())
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return "killed by " + unix.SignalName(ws.Signal())
	}
	if said == "" {
		said = fmt.Sprint(err)
	}
	return said
}

// What is tried in a cell fails, and works outside of it, where that does no harm.
func TestDeeds(t *testing.T) {
	cells := open(t, Config{})
	c, other := newCell(t, cells, Limits{}), newCell(t, cells, Limits{})

	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, tcp)
	abstract := fmt.Sprintf("@kontain-cell-test-%d", os.Getpid())
	socket, err := net.Listen("unix", abstract)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, socket)
	key := 0x6b000000 + os.Getpid()
	shm, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.SysvShmCtl(shm, unix.IPC_RMID, nil) }()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	// A file of another sink.
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(theirs, int(other.User()), int(other.User()))); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, folder)
	neighbour := &exec.Cmd{Args: []string{"deeds", "wait"}, Env: []string{}}
	if err := other.Start(neighbour); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = neighbour.Process.Kill(); _ = neighbour.Wait() }()
	receiver, neighbourPID := strconv.Itoa(os.Getpid()), strconv.Itoa(neighbour.Process.Pid)

	for name, d := range map[string]struct {
		args    []string
		harmful bool // outside of a cell
	}{
		"read a file of the host":      {args: []string{"open", os.Args[0]}},
		"read the worker's program":    {args: []string{"open", deeds}},
		"see files":                    {args: []string{"list", "/"}},
		"see processes":                {args: []string{"list", "/proc"}},
		"see the receiver":             {args: []string{"open", "/proc/" + receiver + "/status"}},
		"see the neighbour":            {args: []string{"open", "/proc/" + neighbourPID + "/status"}},
		"see the kernel's settings":    {args: []string{"open", "/proc/sys/kernel/ostype"}},
		"write a file":                 {args: []string{"write", "/kontain-cell-test"}, harmful: true},
		"write its program":            {args: []string{"write", "/kontain-worker"}, harmful: true},
		"signal the receiver":          {args: []string{"kill", receiver}},
		"signal the neighbour":         {args: []string{"kill", neighbourPID}},
		"signal everybody":             {args: []string{"kill all"}},
		"connect to the host":          {args: []string{"connect", strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port)}},
		"connect to a socket":          {args: []string{"abstract", abstract}},
		"make a raw socket":            {args: []string{"raw socket"}},
		"find shared memory":           {args: []string{"shared memory", strconv.Itoa(key)}},
		"mount":                        {args: []string{"mount"}, harmful: true},
		"make the root writable":       {args: []string{"remount"}, harmful: true},
		"unmount":                      {args: []string{"unmount"}, harmful: true},
		"chroot":                       {args: []string{"chroot"}},
		"leave the network namespace":  {args: []string{"unshare"}},
		"become root":                  {args: []string{"setuid"}},
		"join root's group":            {args: []string{"setgid"}},
		"join another group":           {args: []string{"setgroups"}},
		"make a device":                {args: []string{"device"}},
		"name the host":                {args: []string{"set name", host}},
		"know the host's name":         {args: []string{"name", host}},
		"have a capability":            {args: []string{"capability"}},
		"run before others":            {args: []string{"nice"}},
		"read a file of another sink":  {args: []string{"file", "theirs"}},
		"write a file of another sink": {args: []string{"change file", "theirs"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := do(t, c, folder, d.args...); !strings.HasPrefix(got, "did: ") || got == "did: <nil>" {
				t.Errorf("in a cell: %s", got)
			} else {
				t.Log(got)
			}
			if d.harmful {
				return
			}
			if got := do(t, nil, folder, d.args...); got != "did: <nil>" {
				t.Errorf("outside: %s; so that it fails in a cell proves nothing", got)
			}
		})
	}
}

// Of a folder that a cell is shown every file can be read, and nothing else reached.
func TestFolder(t *testing.T) {
	cells := open(t, Config{})
	c := newCell(t, cells, Limits{})
	dir := t.TempDir()
	sub := filepath.Join(dir, "shown")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{filepath.Join(dir, "beside"), filepath.Join(sub, "inside")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(sub, "open"), nil, 0o600), os.Chmod(filepath.Join(sub, "open"), 0o666)); err != nil {
		t.Fatal(err)
	}
	plain, err := os.Open(sub)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, plain)
	folder, err := c.Folder(plain)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, folder)
	for name, d := range map[string]struct {
		args []string
		want string
	}{
		"read":             {[]string{"file", "inside"}, "did: <nil>"},
		"write":            {[]string{"change file", "inside"}, "did: permission denied"},
		"write for all":    {[]string{"change file", "open"}, "did: read-only file system"},
		"make a device":    {[]string{"device"}, "did: read-only file system"},
		"leave":            {[]string{"file", "../beside"}, "did: no such file or directory"},
		"leave for good":   {[]string{"file", "../../../../../../etc/passwd"}, "did: no such file or directory"},
		"other capability": {[]string{"setuid"}, "did: operation not permitted"},
	} {
		if got := do(t, c, folder, d.args...); got != d.want {
			t.Errorf("%s: %s, not %s", name, got, d.want)
		}
	}
	if got := do(t, c, plain, "file", "../beside"); got != "did: <nil>" {
		t.Errorf("the folder as it is: %s; so that a cell's cannot be left proves nothing", got)
	}
}

// Each cell has a user of its own for as long as it is open, and there is an end of them.
func TestUsers(t *testing.T) {
	cells := open(t, Config{FirstUser: 1_950_000_000, Users: 2})
	a, err := cells.New(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := newCell(t, cells, Limits{})
	if a.User() == b.User() {
		t.Errorf("both are %d", a.User())
	}
	if _, err := cells.New(Limits{}); err == nil || !strings.Contains(err.Error(), "all 2 users from 1950000000 on are in use") {
		t.Errorf("a third: %v", err)
	}
	closes(t, a)
	c := newCell(t, cells, Limits{})
	if c.User() != a.User() {
		t.Errorf("the user of a closed cell, %d, is not given again but %d", a.User(), c.User())
	}
}

func TestOpenFails(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not run by root")
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]struct {
		config Config
		want   string
	}{
		"no program":      {Config{Worker: "/no/such"}, "make an empty root directory: mount(/no/such): no such file or directory"},
		"no such users":   {Config{Worker: deeds, FirstUser: 1<<32 - 10, Users: 100}, "make no sense"},
		"root":            {Config{Worker: deeds, Users: 100}, "make no sense"},
		"no such cgroup":  {Config{Worker: deeds, Cgroup: "/no/such"}, "make cgroups in /no/such: statfs /no/such: no such file or directory"},
		"no cgroup":       {Config{Worker: deeds, Cgroup: t.TempDir()}, "is not the folder of a cgroup"},
		"no program text": {Config{Worker: text}, "start a process in namespaces and as a user of its own: fork/exec /kontain-worker: permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv("KONTAIN_REQUIRE_CELLS") != "1" {
				_ = open(t, Config{})
			}
			c, err := Open(d.config)
			var u *UnavailableError
			if !errors.As(err, &u) || !strings.Contains(err.Error(), d.want) {
				t.Errorf("%v", err)
			}
			if err == nil {
				closes(t, c)
			}
		})
	}
}

// Processes end with their receiver, however that ends, and leave no namespace.
func TestReceiverKilled(t *testing.T) {
	if os.Getenv(asReceiver) != "" {
		cells, err := Open(Config{Worker: deeds})
		if err != nil {
			t.Fatal(err)
		}
		c, err := cells.New(Limits{})
		if err != nil {
			t.Fatal(err)
		}
		cmd := &exec.Cmd{Args: []string{"deeds", "say"}, Env: []string{}}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		fmt.Println("started", cmd.Process.Pid)
		time.Sleep(time.Hour)
	}
	_ = open(t, Config{})
	cmd := exec.Command(os.Args[0], "-test.run", "^TestReceiverKilled$")
	cmd.Env = append(os.Environ(), asReceiver+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "started %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	before, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil || own == before {
		t.Fatalf("namespaces %s and %s, %v", own, before, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		err := unix.Kill(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("process %d lives on: %v", pid, err)
		}
	}
	all, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	for _, l := range all {
		if to, _ := os.Readlink(l); to == before {
			t.Errorf("%s is still %s", l, to)
		}
	}
}

const asReceiver = "KONTAIN_TEST_RECEIVER"

// What the thread is in does not show in the rest of the process.
func TestThreadAlone(t *testing.T) {
	_ = open(t, Config{})
	done := make(chan error)
	for range 50 {
		go func() {
			_, err := os.Stat(deeds)
			done <- err
		}()
	}
	for range 50 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat("/proc/self/root" + deeds); err != nil {
		t.Errorf("the root of the main thread: %v", err)
	}
}
