// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package km runs programs under an installed Kontain monitor, km, which this project
// does not bring: https://github.com/kontainapp/km
//
// km runs a program in a KVM virtual machine and passes its system calls on to this
// machine's kernel: the program finds the files, the network and the user of who
// started km. It has no time limit of its own, its options come before the program, and
// its exit status is the program's.
package km

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// installed is where km's own installer puts it.
const installed = "/opt/kontain/bin/km"

// MissingError says that there is no monitor.
type MissingError struct{}

func (*MissingError) Error() string {
	return "the Kontain monitor is not installed: there is no km in PATH, nor " + installed +
		"; install it (https://github.com/kontainapp/km), or write platform: Auto"
}

// Find returns the path of the monitor: km in PATH, or where its installer puts it.
// The error is a *MissingError.
func Find() (string, error) {
	for _, name := range []string{"km", installed} {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err == nil {
			return path, nil
		}
	}
	return "", &MissingError{}
}

// versionTime is how long the monitor may take to say its version.
const versionTime = 2 * time.Second

// Version returns what the monitor says of itself, on one line.
func Version(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	out, err := cmd.CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(out), "\uFFFD")), "\n")
	if err == nil && line == "" {
		err = errors.New("it says nothing")
	}
	if err != nil {
		return "", fmt.Errorf("%s --version: %w: %s", path, err, line)
	}
	return line, nil
}

const (
	// grace is how long a program has to end by itself after SIGTERM, which it may
	// ignore.
	grace = 250 * time.Millisecond
	// strayTime is how long output is waited for that processes hold which cannot be
	// found any more.
	strayTime = time.Second
	// sampleTime is how often the memory in use is looked at.
	sampleTime = 20 * time.Millisecond
)

// Config says what runs. Of Limits, Memory, Wall and Output count; a zero field means
// its default as in vmexec, and no Wall means no limit.
type Config struct {
	Monitor string   // path of km
	Program string   // absolute path
	Args    []string // after the program's name
	Env     []string // NAME=value: all that the program finds
	Limits  vmexec.Limits
}

// command returns the arguments of km, its name among them.
func (c *Config) command() []string {
	args := []string{c.Monitor}
	for _, v := range c.Env {
		args = append(args, "--putenv", v)
	}
	return append(append(args, c.Program), c.Args...)
}

// Run runs the program once, with event as its stdin. When it returns, the monitor is
// gone, and so are the processes that it left in its process group. The error is not
// nil only when the monitor could not be started; one that fails ends as the program
// would, with a status and a message on stderr.
//
// Memory is what the monitor and its descendants have resident, looked at now and
// then: a program may be beyond the limit for some milliseconds.
func Run(ctx context.Context, c Config, event []byte) (*vmexec.Result, error) {
	if ctx.Err() != nil {
		return &vmexec.Result{Reason: vmexec.Canceled, Message: messages[vmexec.Canceled](&c.Limits)}, nil
	}
	if c.Limits.Memory == 0 {
		c.Limits.Memory = vmexec.DefaultMemory
	}
	if c.Limits.Output == 0 {
		c.Limits.Output = vmexec.DefaultOutput
	}
	// The kernel kills the monitor when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &run{limits: c.Limits}
	out := &bounded{limit: c.Limits.Output, overflow: func() { r.stop(vmexec.OutputLimit, unix.SIGKILL) }}
	tail := &bounded{limit: c.Limits.Output}
	cmd := &exec.Cmd{
		Path: c.Monitor, Args: c.command(), Env: []string{}, Dir: "/", WaitDelay: strayTime,
		Stdin: bytes.NewReader(event), Stdout: out, Stderr: tail,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL},
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the Kontain monitor %s: %w", c.Monitor, err)
	}
	r.started(cmd.Process.Pid)
	defer context.AfterFunc(ctx, func() { r.stop(vmexec.Canceled, unix.SIGTERM) })()
	if c.Limits.Wall > 0 {
		defer time.AfterFunc(c.Limits.Wall, func() { r.stop(vmexec.WallLimit, unix.SIGTERM) }).Stop()
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { r.watchMemory(done) })
	err := r.wait(cmd)
	close(done)
	watching.Wait()
	if err != nil {
		return nil, fmt.Errorf("wait for the Kontain monitor: %w", err)
	}
	if out.more() { // it may have ended before that was read
		r.why, r.ended = vmexec.OutputLimit, true
	}
	res := r.result(cmd.ProcessState)
	res.Stdout, res.Stderr = out.bytes(), tail.bytes()
	res.Stats.Run = time.Since(began)
	return res, nil
}

// run is one process group under way.
type run struct {
	limits vmexec.Limits

	mu     sync.Mutex
	pid    int // of the monitor and its group; 0 before it is there and once it is reaped
	why    vmexec.Reason
	ended  bool // why is set
	over   bool // it has ended by itself, or was made to
	killed *time.Timer
}

func (r *run) started(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pid = pid
	// A core of a virtual machine is as large as that.
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	if r.ended { // while it was being started
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// stop ends the program for a reason. After SIGTERM, SIGKILL follows.
func (r *run) stop(why vmexec.Reason, sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.over {
		return
	}
	r.why, r.ended = why, true
	r.signal(sig)
	if sig != unix.SIGKILL {
		r.killed = time.AfterFunc(grace, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.signal(unix.SIGKILL)
		})
	}
}

// signal sends a signal to the group. r.mu is held.
func (r *run) signal(sig syscall.Signal) {
	if r.pid != 0 {
		_ = unix.Kill(-r.pid, sig) // it may have ended
	}
}

// wait returns when the monitor has ended and its output was read.
func (r *run) wait(cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	for {
		// It is not reaped yet, so its number is that of no other group.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	r.mu.Lock()
	r.signal(unix.SIGKILL) // what the program has left behind
	r.pid, r.over = 0, true
	if r.killed != nil {
		r.killed.Stop()
	}
	r.mu.Unlock()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	if cmd.ProcessState != nil {
		return nil // a stream: the program may have closed it, or the output was cut
	}
	return err
}

// watchMemory stops a program that needs too much memory.
func (r *run) watchMemory(done <-chan struct{}) {
	t := time.NewTicker(sampleTime)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
		}
		r.mu.Lock()
		pid := r.pid
		r.mu.Unlock()
		if pid != 0 && resident(pid) > r.limits.Memory {
			r.stop(vmexec.MemoryLimit, unix.SIGKILL)
		}
	}
}

var messages = map[vmexec.Reason]func(l *vmexec.Limits) string{
	vmexec.Canceled: func(*vmexec.Limits) string { return "the program was stopped: the caller gave up" },
	vmexec.WallLimit: func(l *vmexec.Limits) string {
		return fmt.Sprintf("the program was stopped: it ran longer than its time limit of %v", l.Wall)
	},
	vmexec.MemoryLimit: func(l *vmexec.Limits) string {
		return fmt.Sprintf("the program was stopped: it needed more than its memory limit of %d MiB", l.Memory>>20)
	},
	vmexec.OutputLimit: func(l *vmexec.Limits) string {
		return fmt.Sprintf("the program was stopped: it wrote more than the %d bytes of output it may", l.Output)
	},
}

// result says how the run ended.
func (r *run) result(state *os.ProcessState) *vmexec.Result {
	if r.ended {
		return &vmexec.Result{Reason: r.why, Message: messages[r.why](&r.limits)}
	}
	ws, _ := state.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return &vmexec.Result{
			Reason: vmexec.Signaled, Death: &vmexec.Death{Signal: int(ws.Signal()), Vector: -1},
			Message: "the program was killed by " + unix.SignalName(ws.Signal()),
		}
	}
	res := &vmexec.Result{Reason: vmexec.Exited, Status: ws.ExitStatus()}
	if res.Status != 0 {
		res.Message = fmt.Sprintf("the program ended with exit status %d", res.Status)
	}
	return res
}

// bounded keeps what is written to it: the first limit bytes, and calls overflow with
// the first byte beyond them; without overflow, the last limit bytes.
type bounded struct {
	limit    int
	overflow func()

	mu       sync.Mutex
	buf      []byte
	overflew bool
}

var _ io.Writer = (*bounded)(nil)

// Write takes all bytes: a program that is being stopped may go on writing.
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(p)
	if b.overflow == nil {
		// Twice the limit is kept, so that not each write moves all of it.
		b.buf = append(b.buf, p[max(0, n-b.limit):]...)
		if len(b.buf) > 2*b.limit {
			b.buf = append(b.buf[:0], b.buf[len(b.buf)-b.limit:]...)
		}
		return n, nil
	}
	keep := min(n, b.limit-len(b.buf))
	b.buf = append(b.buf, p[:keep]...)
	if keep < n && !b.overflew {
		b.overflew = true
		b.overflow()
	}
	return n, nil
}

// more reports whether more was written than is kept.
func (b *bounded) more() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.overflew
}

func (b *bounded) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf[max(0, len(b.buf)-b.limit):]
}
