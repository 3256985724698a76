// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package strace prints the system calls of a program, in the form that strace(1)
// has: one line a call with its arguments decoded, the calls of several threads
// told apart by "[pid N]", and a call that another interrupts in two parts.
//
// What it decodes is the guest's and hostile: nothing that it reads or prints of one
// call is longer than the constants below say.
package strace

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// Bounds of what is printed of one call.
const (
	maxString   = 64   // bytes of a buffer
	maxPath     = 1024 // bytes of a path
	maxElements = 16   // of an array
)

// Tracer prints calls to a writer. It implements task.Tracer.
type Tracer struct {
	w     io.Writer
	err   error // of w; nothing is written after it
	calls map[*task.Thread]*call
	open  *task.Thread // the one whose line has no end yet
	many  bool         // there has been more than one thread
}

// New returns a tracer that writes each line, or part of one, with one Write. After
// the first error of w it writes no more.
func New(w io.Writer) *Tracer { return &Tracer{w: w, calls: map[*task.Thread]*call{}} }

// Err returns the error that ended the output, if any.
func (tr *Tracer) Err() error { return tr.err }

func (tr *Tracer) write(s string) {
	if tr.err == nil {
		_, tr.err = io.WriteString(tr.w, s)
	}
}

// interrupt ends the line that another thread has begun.
func (tr *Tracer) interrupt() {
	if tr.open != nil {
		tr.write(" <unfinished ...>\n")
		tr.open = nil
	}
}

func (tr *Tracer) prefix(t *task.Thread) string {
	if !tr.many {
		return ""
	}
	return fmt.Sprintf("[pid %d] ", t.TID)
}

// Enter implements task.Tracer.
func (tr *Tracer) Enter(t *task.Thread, nr uint64, a task.Args, again bool) {
	if again && tr.calls[t] != nil { // or a clone goes on in a call from before the snapshot
		return
	}
	tr.many = tr.many || t.K.Stats().Threads > 1
	c := newCall(t, nr, a)
	c.text = c.head()
	tr.calls[t] = c
}

// Leave implements task.Tracer.
func (tr *Tracer) Leave(t *task.Thread, ret uint64, errno abi.Errno) {
	c := tr.calls[t]
	if c == nil { // the thread is gone
		return
	}
	if errno == abi.EBLOCK {
		if !c.begun {
			tr.interrupt()
			tr.write(tr.prefix(t) + c.text)
			tr.open, c.begun = t, true
		}
		return
	}
	delete(tr.calls, t)
	var line strings.Builder
	switch {
	case !c.begun:
		tr.interrupt()
		line.WriteString(tr.prefix(t) + c.text)
	case tr.open != t:
		tr.interrupt()
		line.WriteString(tr.prefix(t) + "<... " + c.name + " resumed>")
	}
	tr.open = nil
	line.WriteString(c.tail(ret, errno) + "\n")
	tr.write(line.String())
}

// Gone implements task.Tracer.
func (tr *Tracer) Gone(t *task.Thread) { tr.Leave(t, 0, abi.ENORETURN) }

// Signal implements task.Tracer.
func (tr *Tracer) Signal(t *task.Thread, sig int, info task.SigInfo) {
	tr.interrupt()
	name := signalName(uint64(sig))
	text := fmt.Sprintf("%s--- %s {si_signo=%s, si_code=%s", tr.prefix(t), name, name, codeName(info.Code))
	switch {
	case info.Addr != 0 || info.Code > 0 && info.Code != task.CodeKernel && sig != int(unix.SIGCHLD):
		text += fmt.Sprintf(", si_addr=%#x", info.Addr)
	case info.Code <= 0 || sig == int(unix.SIGCHLD):
		text += fmt.Sprintf(", si_pid=%d, si_uid=%d", info.PID, info.UID)
	}
	tr.write(text + "} ---\n")
}

// End implements task.Tracer.
func (tr *Tracer) End(o task.Outcome) {
	tr.interrupt()
	switch o.Ending {
	case task.Exited:
		tr.write(fmt.Sprintf("+++ exited with %d +++\n", o.Status))
	case task.Signaled:
		tr.write(fmt.Sprintf("+++ killed by %s +++\n", signalName(uint64(o.Death.Signal))))
	default:
		tr.write("+++ stopped +++\n")
	}
}

// codeName is the name of si_code; sigaction(2).
func codeName(code int32) string {
	switch code {
	case task.CodeUser:
		return "SI_USER"
	case task.CodeKernel:
		return "SI_KERNEL"
	case task.CodeQueue:
		return "SI_QUEUE"
	case task.CodeTimer:
		return "SI_TIMER"
	case task.CodeTkill:
		return "SI_TKILL"
	}
	return fmt.Sprint(code)
}

func errnoText(e abi.Errno) string { return fmt.Sprintf("-1 %s (%s)", e, describe(unix.Errno(e))) }

// describe is strerror(3): Go's texts with a capital.
func describe(e unix.Errno) string {
	s := e.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
