// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	goio "io"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/loader"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/start"
	"kontain.dev/eventing/vmexec/internal/strace"
	"kontain.dev/eventing/vmexec/internal/syscalls"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/x86"
	"kontain.dev/eventing/vmexec/talk"
)

// VM is one virtual machine with a program loaded. It runs once. A VM belongs
// to one goroutine at a time.
type VM struct {
	program *Program
	limits  Limits
	mem     *guestmem.Memory
	spaces  *mm.Spaces
	machine platform.Machine
	kernel  *task.Kernel
	fs      *vfs.FS

	// The standard descriptors of a run that ends at the wait point, or of a clone.
	stdin          *fd.EventInput
	stdout, stderr *fd.CaptureOutput

	// Of a clone.
	snapshot   *Snapshot
	generation uint64
	learns     bool // its first event shows which pages an event uses
	again      bool // it ended in a way that Reset can undo

	ready               bool // the program may be frozen: see Line.Done
	starting            bool
	ran                 bool
	create, load, reset time.Duration
	dirty               int // pages that the last Reset copied back
}

// withDefaults returns the limits with defaults in place of zeros, or what is
// wrong with them.
func (l Limits) withDefaults() (Limits, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	def(&l.Output, DefaultOutput)
	def(&l.Threads, DefaultThreads)
	def(&l.Files, DefaultFiles)
	switch {
	case l.Memory < MinMemory || l.Memory > MaxMemory:
		return l, fmt.Errorf("memory limit of %d bytes: must be from %d MiB to %d GiB", l.Memory, MinMemory>>20, MaxMemory>>30)
	case l.Wall < 0 || l.CPU < 0 || l.Output < 0 || l.Threads < 0 || l.Files < 3:
		return l, errors.New("limits must not be negative, and at least 3 files")
	}
	return l, nil
}

// NewVM makes a machine and loads the program. The error is a *ProgramError
// when the program does not fit in the memory limit.
func (h *Host) NewVM(p *Program, l Limits) (*VM, error) {
	l, err := l.withDefaults()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	vm := &VM{program: p, limits: l}
	if err := vm.make(h); err != nil {
		_ = vm.Close()
		return nil, err
	}
	vm.create = time.Since(start)
	start = time.Now()
	if err := vm.loadProgram(); err != nil {
		_ = vm.Close()
		if errors.Is(err, guestmem.ErrLimit) {
			return nil, &ProgramError{Path: p.spec.Path, Reason: fmt.Sprintf("it does not fit in the memory limit of %d MiB; allow more", l.Memory>>20)}
		}
		var long *loader.TooLongError
		if errors.As(err, &long) {
			return nil, &ProgramError{Path: p.spec.Path, Reason: long.Error()}
		}
		return nil, err
	}
	vm.load = time.Since(start)
	return vm, nil
}

func (vm *VM) make(h *Host) error {
	var err error
	newMemory := guestmem.New
	if h.p.Features().SharedMemory {
		newMemory = guestmem.NewShared
	}
	if vm.mem, err = newMemory(vm.limits.Memory); err != nil {
		return err
	}
	space, err := mm.New(vm.mem)
	if err != nil {
		return err
	}
	vm.spaces = space.Spaces()
	if err := vm.makeMachine(h, space.Root()); err != nil {
		return err
	}
	k := task.New(task.Config{
		Table: syscalls.Table(), Memory: vm.mem, MM: space, Machine: vm.machine, Features: h.p.Features(), Rand: rand.Reader,
		Limits: task.Limits{Threads: vm.limits.Threads, Files: vm.limits.Files, Wall: vm.limits.Wall, CPU: vm.limits.CPU},
	})
	vm.kernel = k
	vm.fs, err = vfs.New(vfs.Config{Lower: vm.program.spec.Root.lower, Cred: vfs.Cred(vm.program.spec.User), Budget: budget{vm.mem}, Now: k.Clock.Realtime, Rand: rand.Reader, Proc: k.ProcInfo()})
	k.FS = vm.fs
	if err == nil && vm.program.spec.Outward {
		k.Net.SetOutward(vm.program.spec.HostLoopback)
		if errno := vm.fs.PutFile("/etc/resolv.conf", 0o644, []byte(net.ResolvConf)); errno != 0 {
			err = fmt.Errorf("make /etc/resolv.conf: %w", unix.Errno(errno))
		}
	}
	if err == nil && vm.program.spec.State > 0 {
		if errno := vm.fs.AddState(); errno != 0 {
			return &ProgramError{Path: vm.program.spec.Path, Reason: "its state file " + StatePath + " cannot be made in its root", Err: unix.Errno(errno)}
		}
	}
	return err
}

// makeMachine makes the machine, whose first address space begins at root.
func (vm *VM) makeMachine(h *Host, root uint64) error {
	var err error
	if vm.machine, err = h.p.NewMachine(vm.mem, root); err != nil {
		return fmt.Errorf("make a virtual machine: %w", err)
	}
	vm.spaces.OnEnd(vm.machine.DropRoot)
	return nil
}

// budget charges what the overlay holds to the VM's memory limit.
type budget struct{ mem *guestmem.Memory }

func (b budget) Charge(pages int64) bool { return b.mem.Charge(uint64(pages)) }
func (b budget) Release(pages int64)     { b.mem.Release(uint64(pages)) }
func (b budget) Pages() (total, free int64) {
	return int64(b.mem.Limit()), int64(b.mem.Limit() - min(b.mem.Used(), b.mem.Limit()))
}

const pageSize = guestmem.PageSize

// loadProgram puts the program into the first address space and points the first
// thread at its entry.
func (vm *VM) loadProgram() error {
	p, k := vm.program, vm.kernel
	spec := start.Spec{
		Exe: vm.file(false), Args: p.spec.Args, Env: p.spec.Env, ExecFn: p.execFn, StackSize: task.StackSize,
		Features: k.Features(), SignalFrame: k.SignalFrameSize(), Rand: rand.Reader,
		UID: p.spec.User.UID, GID: p.spec.User.GID,
	}
	if p.interp != nil {
		interp := vm.file(true)
		spec.Interp = &interp
	}
	proc := k.Init
	st, err := start.Program(proc.MM, spec)
	var pe *start.PlaceError
	if errors.As(err, &pe) {
		return &ProgramError{Path: p.spec.Path, Reason: pe.Error()}
	}
	if err != nil {
		return err
	}
	cwd, errno := vm.fs.Resolve(vm.fs.Root(), p.spec.Dir, vfs.Directory)
	if errno != 0 {
		return fmt.Errorf("working directory %s: %w", p.spec.Dir, unix.Errno(errno))
	}
	proc.Cwd = cwd
	exe, _ := vm.fs.Resolve(vm.fs.Root(), p.exe.path, 0) // none if it has been removed since
	proc.Threads[0].Begin(task.Image{
		Name: path.Base(p.execFn), Exe: exe, Program: st,
	})
	return nil
}

// prefaultMax is the largest segment of an executable whose pages the host
// prepares before the start.
const prefaultMax = 1 << 20

// file returns the executable, or its dynamic linker. Its segments show the sealed
// memory, so that nothing is read and no page is given by a fault; a page that the
// program drops is read again.
func (vm *VM) file(interp bool) start.File {
	e := vm.program.executable(interp)
	src := &programSource{program: vm.program, interp: interp, size: e.size}
	return start.File{Path: e.path, Image: e.image, Map: func(m *mm.MM, v mm.VMA) error {
		v.Src = src
		n := (v.End - v.Start) / pageSize
		gpa, err := vm.mem.MapFile(int(e.file.Fd()), int64(v.Off), n)
		if err != nil {
			return err
		}
		if err := m.MapPages(v, gpa); err != nil {
			return err
		}
		if n*pageSize <= prefaultMax {
			vm.mem.Prefault(guestmem.Run{Start: gpa, End: gpa + n*pageSize})
		}
		return nil
	}}
}

// flushTime is how long the end of a run waits for slow readers of its output
// when the context does not end the wait before.
const flushTime = 10 * time.Second

// Run runs the program to its end, or until a limit or the context ends it.
// The error is not nil only when the monitor itself failed; what the program
// did is in the Result. A VM cloned from a snapshot takes its input from
// IO.Event, and its output is captured.
func (vm *VM) Run(ctx context.Context, io IO) (*Result, error) {
	if vm.ran {
		return nil, errors.New("vmexec: the VM has run")
	}
	vm.ran = true
	vm.kernel.SetTracer(nil) // of the run before
	if io.Trace != nil {
		vm.kernel.SetTracer(strace.New(io.Trace))
	}
	if io.Talk != nil || io.Outward != nil {
		var f func(context.Context, *talk.Side) bool
		if io.Talk != nil {
			f = func(ctx context.Context, s *talk.Side) bool {
				io.Talk(ctx, s)
				return true
			}
		}
		c := converse(ctx, vm.snapshot == nil, io.Outward, f)
		defer c.end()
		c.begin()
		io.Line = c.line
	}
	if vm.program.spec.State > 0 { // before the event, for which the program may wait
		vm.fs.SetState(io.State)
	}
	if vm.snapshot != nil {
		if io.Stdin != nil || io.Stdout != nil || io.Stderr != nil {
			return nil, errors.New("vmexec: a clone takes an event and has its output captured")
		}
		if vm.stdin != nil {
			vm.stdin.Deliver(io.Event)
		}
		return vm.runOn(ctx, io.Line)
	}
	k := vm.kernel
	var in fd.File = fd.NewEventInput(io.Event)
	if io.Stdin != nil {
		in = fd.NewStreamInput(io.Stdin, k.Post)
	}
	var streams []*fd.StreamOutput
	output := func(w goio.Writer, capture **fd.CaptureOutput, overflow func()) fd.File {
		if w == nil {
			if io.Line.talks() { // the answer comes another way
				overflow = nil
			}
			*capture = fd.NewCaptureOutput(vm.limits.Output, overflow)
			return *capture
		}
		s := fd.NewStreamOutput(w, k.Post)
		streams = append(streams, s)
		return s
	}
	out := output(io.Stdout, &vm.stdout, vm.overflow)
	errOut := output(io.Stderr, &vm.stderr, nil)
	k.SetExternal(io.Stdin != nil || len(streams) > 0)
	if err := vm.install(in, out, errOut); err != nil {
		return nil, err
	}
	if event, ok := in.(*fd.EventInput); ok && !io.Line.talks() {
		if err := vm.addEvent(event); err != nil {
			return nil, err
		}
	}
	return vm.runOn(ctx, io.Line, streams...)
}

// runOn runs the program, with a line when there is one.
func (vm *VM) runOn(ctx context.Context, l *Line, streams ...*fd.StreamOutput) (*Result, error) {
	if vm.snapshot != nil && vm.kernel.Net.Outward() {
		// Whoever a connection of the snapshot leads to knows nothing of this machine.
		vm.kernel.Post(vm.kernel.Net.Sever)
	}
	if l != nil {
		l.attach(vm)
		defer l.detach(vm)
	}
	r, err := vm.run(ctx, streams...)
	if l.talks() && err == nil && r.Reason != Answered && r.Reason != waiting {
		vm.kernel.Net.LastWords()
	}
	return r, err
}

// lineDone is what Line.Done does; it belongs to the run loop.
func (vm *VM) lineDone() {
	if vm.starting {
		vm.ready = true
		return
	}
	vm.kernel.End(task.Answered)
}

// overflow ends a program that wrote too much to stdout.
func (vm *VM) overflow() { vm.kernel.End(task.OutputLimit) }

// install gives the program its standard descriptors.
func (vm *VM) install(files ...fd.File) error {
	for i, f := range files {
		if _, errno := vm.kernel.Init.FDs.Install(f, false, int32(i)); errno != 0 {
			return fmt.Errorf("install standard descriptor %d: %w", i, unix.Errno(errno))
		}
	}
	return vm.installStreams()
}

// installStreams gives the program the descriptors that are pipes to the host. Those
// below are installed.
func (vm *VM) installStreams() error {
	p := vm.kernel.Init
	for _, n := range vm.program.spec.Streams {
		r, w := fd.NewPipe(p.FDs.System(), 0)
		var end fd.File = w
		if n == 0 {
			end = r
			vm.kernel.Net.AddWriter(talk.StreamID(n), w)
		} else {
			vm.kernel.Net.AddReader(talk.StreamID(n), r)
		}
		d := fd.NewDescription(end)
		errno := p.FDs.InstallAt(d, false, int32(n))
		d.Unref()
		if errno != 0 {
			return fmt.Errorf("install descriptor %d: %w", n, unix.Errno(errno))
		}
	}
	return nil
}

// EventFolder is a folder that programs with an event find, with that event in a file
// named event. To open it is to wait for the event, as to read stdin is.
const EventFolder = vfs.EventFolder

// addEvent shows the event as a file.
func (vm *VM) addEvent(in *fd.EventInput) error {
	if errno := vm.fs.AddEvent(in); errno != 0 {
		return fmt.Errorf("make %s: %w", EventFolder, unix.Errno(errno))
	}
	return nil
}

// runToWait runs the program until it waits for its event: on stdin, or with a line
// until that is done.
func (vm *VM) runToWait(ctx context.Context, l *Line) (*Result, error) {
	vm.ran = true
	overflow := vm.overflow
	vm.stdin = fd.NewWaitingInput()
	vm.kernel.WaitPoint = vm.stdin.Asked
	if l.talks() {
		overflow = nil
		vm.stdin = fd.NewEventInput(nil)
		vm.starting = true
		vm.kernel.WaitPoint = func() bool { return vm.ready }
	}
	if vm.program.spec.Outward { // what is asked for outside comes first
		asked, net := vm.kernel.WaitPoint, vm.kernel.Net
		vm.kernel.WaitPoint = func() bool { return asked() && !net.OutwardBusy() }
	}
	vm.stdout, vm.stderr = fd.NewCaptureOutput(vm.limits.Output, overflow), fd.NewCaptureTail(vm.limits.Output)
	if err := vm.install(vm.stdin, vm.stdout, vm.stderr); err != nil {
		return nil, err
	}
	if !l.talks() {
		if err := vm.addEvent(vm.stdin); err != nil {
			return nil, err
		}
	}
	return vm.runOn(ctx, l)
}

func (vm *VM) run(ctx context.Context, streams ...*fd.StreamOutput) (*Result, error) {
	k := vm.kernel
	start := time.Now()
	o, err := k.Run(ctx)
	took := time.Since(start)
	for _, s := range streams {
		fctx, cancel := context.WithTimeout(ctx, flushTime)
		_ = s.Flush(fctx) // the reader's trouble, not the program's
		cancel()
	}
	if err != nil {
		k.CloseFiles()
		return nil, fmt.Errorf("run %s: %w", vm.program.spec.Path, err)
	}
	if o.Ending != task.Waiting { // a snapshot keeps its files
		k.CloseFiles()
	}
	r := &Result{Reason: reasons[o.Ending], Status: o.Status}
	if vm.stdout != nil {
		r.Stdout = vm.stdout.Bytes()
	}
	if vm.stderr != nil {
		r.Stderr = vm.stderr.Bytes()
	}
	if o.Ending == task.Signaled {
		d := Death(o.Death)
		r.Death = &d
	}
	r.Message = vm.message(r, o)
	if n := vm.program.spec.State; n > 0 && (r.Reason == Exited || r.Reason == Answered) {
		r.State, r.BadState = vm.fs.State(n)
	}
	r.Stats = vm.stats(took)
	vm.again = vm.snapshot != nil && (o.Ending == task.Exited || o.Ending == task.Answered)
	if vm.learns {
		vm.learned(vm.again)
	}
	return r, nil
}

var reasons = [...]Reason{
	task.Exited: Exited, task.Signaled: Signaled, task.WallLimit: WallLimit, task.CPULimit: CPULimit,
	task.MemoryLimit: MemoryLimit, task.OutputLimit: OutputLimit, task.Canceled: Canceled, task.Deadlock: Deadlock,
	task.Answered: Answered, task.Waiting: waiting,
}

// waiting is the end of a run at the wait point; it never leaves this package.
const waiting Reason = 255

func (vm *VM) message(r *Result, o task.Outcome) string {
	switch r.Reason {
	case waiting, Answered:
		return ""
	case Exited:
		if r.Status == 0 {
			return ""
		}
		return fmt.Sprintf("the program ended with exit status %d", r.Status)
	case Signaled:
		d := r.Death
		s := fmt.Sprintf("the program was killed by %s", unix.SignalName(unix.Signal(d.Signal)))
		switch {
		case o.Detail != "":
			s += ": its processor state was beyond repair (" + o.Detail + ")"
		case d.Vector == x86.VecPageFault:
			s += fmt.Sprintf(": %s at address %#x, instruction %#x, error code %#x", x86.VectorName(d.Vector), d.Addr, d.RIP, d.ErrorCode)
		case d.Vector >= 0:
			s += fmt.Sprintf(": %s, instruction %#x, error code %#x", x86.VectorName(d.Vector), d.RIP, d.ErrorCode)
		}
		return s
	case WallLimit:
		return fmt.Sprintf("the program was stopped: it ran longer than its time limit of %v", vm.limits.Wall)
	case CPULimit:
		return fmt.Sprintf("the program was stopped: it used more processor time than its limit of %v", vm.limits.CPU)
	case MemoryLimit:
		return fmt.Sprintf("the program was stopped: it needed more than its memory limit of %d MiB", vm.limits.Memory>>20)
	case OutputLimit:
		return fmt.Sprintf("the program was stopped: it wrote more than the %d bytes of output it may", vm.limits.Output)
	case Canceled:
		return "the program was stopped: the caller gave up"
	case Deadlock:
		return "the program was stopped: all of its threads wait for something that can no longer happen (" + waits(o.Blocked) + ")"
	}
	return r.Reason.String()
}

// maxWaits is how many threads a message tells of.
const maxWaits = 4

// waits says what threads wait in.
func waits(threads []task.Blocked) string {
	var parts []string
	for _, b := range threads[:min(len(threads), maxWaits)] {
		if b.Stopped {
			parts = append(parts, fmt.Sprintf("thread %d is stopped by a signal", b.TID))
		} else {
			parts = append(parts, fmt.Sprintf("thread %d in %s", b.TID, syscalls.Name(b.Call)))
		}
	}
	if n := len(threads) - maxWaits; n > 0 {
		parts = append(parts, fmt.Sprintf("%d more", n))
	}
	return strings.Join(parts, ", ")
}

func (vm *VM) stats(run time.Duration) Stats {
	s := vm.kernel.Stats()
	out := Stats{
		Exits: s.Exits, Answered: s.Answered, Kicks: s.Kicks, Signals: s.Signals, Switches: s.Switches, Threads: s.Threads,
		Syscalls: map[string]uint64{}, Unsupported: map[string]uint64{}, Exceptions: map[string]uint64{},
		PageFaults: vm.spaces.Faults(), PeakPages: vm.mem.Peak(), DirtyPages: vm.dirty, Create: vm.create, Load: vm.load, Reset: vm.reset, Run: run,
	}
	for nr, n := range s.Syscalls {
		if n > 0 {
			out.Syscalls[syscalls.Name(uint64(nr))] = n
		}
	}
	for nr, n := range s.Unsupported {
		out.Unsupported[syscalls.Name(nr)] = n
	}
	for v, n := range s.Exceptions {
		if n > 0 {
			out.Exceptions[x86.VectorName(v)] += n
		}
	}
	return out
}

// Close destroys the machine and frees all of its memory.
func (vm *VM) Close() error {
	var errs []error
	if vm.learns { // it never came to tell: another clone is to learn
		vm.learns = false
		vm.snapshot.learning.Store(false)
	}
	if vm.fs != nil {
		vm.fs.Close()
	}
	if vm.machine != nil {
		errs = append(errs, vm.machine.Close())
	}
	if vm.mem != nil {
		errs = append(errs, vm.mem.Close())
	}
	vm.fs, vm.machine, vm.mem = nil, nil, nil
	return errors.Join(errs...)
}
