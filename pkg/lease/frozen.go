// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/pkg/worker/wire"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// frozen is what machines are made of: the snapshot of a program or, in worker
// processes, also a program that each event starts.
type frozen interface {
	// machine makes a machine.
	machine() (machine, error)
	// learned says whether it is known which memory an event needs.
	learned() bool
	// took is how long the program ran up to the snapshot.
	took() time.Duration
	// jail is what holds of the processes of machines; nil when they have none, or
	// none was started yet.
	jail() *vmexec.JailReport
	// Save writes the snapshot to a file; see vmexec.Snapshot.Save.
	Save(path, tag string) error
	// Close frees it, once its machines are closed.
	Close() error
}

// engine freezes the program of a sink.
type engine interface {
	// load takes the snapshot from a file; see vmexec.Host.LoadSnapshot.
	load(path string) (frozen, error)
	// start runs the program until it waits for its event, and returns what it wrote
	// meanwhile.
	start(ctx context.Context) (f frozen, stdout, stderr []byte, err error)
	// stop makes those machines fail that are being made.
	stop()
	// Close frees the engine once what it froze is closed.
	Close() error
}

// inside is an engine that has its machines in this process.
type inside struct {
	host    *vmexec.Host
	program *vmexec.Program
	limits  vmexec.Limits
	ready   func(context.Context, *talk.Side) error // Spec.Ready
	outward Outward
	reset   bool // machines are reset for another event
}

// startLimits are those of a program's start.
func startLimits(l vmexec.Limits) vmexec.Limits {
	l.Wall, l.CPU = startTimeout, 0
	return l
}

func (e *inside) stop() {}

// Close does nothing.
func (e *inside) Close() error { return nil }

func (e *inside) load(path string) (frozen, error) {
	s, err := e.host.LoadSnapshot(e.program, e.limits, path)
	if err != nil {
		return nil, err
	}
	return &local{Snapshot: s, engine: e}, nil
}

func (e *inside) start(ctx context.Context) (frozen, []byte, []byte, error) {
	s, err := Start(ctx, e.host, e.program, e.limits, e.ready, e.outward)
	if err != nil {
		return nil, nil, nil, err
	}
	return &local{Snapshot: s, engine: e}, s.Stdout, s.Stderr, nil
}

// local is a snapshot whose machines are in this process.
type local struct {
	*vmexec.Snapshot
	engine *inside
}

func (l *local) machine() (machine, error) {
	clone := l.engine.host.CloneOnce
	if l.engine.reset {
		clone = l.engine.host.Clone
	}
	vm, err := clone(l.Snapshot, l.engine.limits)
	if err != nil {
		return nil, fmt.Errorf("make a virtual machine: %w", err) // and no nil *VM in an interface
	}
	return vm, nil
}

func (l *local) learned() bool            { return l.Learned() }
func (l *local) took() time.Duration      { return l.Took }
func (l *local) jail() *vmexec.JailReport { return nil }

// outside is an engine that has its machines in worker processes.
type outside struct {
	host    *vmexec.Host
	program *vmexec.Program
	limits  vmexec.Limits
	config  worker.Config // of its workers; Program is the program without a snapshot
	alone   int           // Options.Alone
	uncell  error         // why they are in no cell
	ctx     context.Context
	cancel  context.CancelFunc // ends workers that start
}

// newOutside makes the engine of a sink.
func newOutside(w *Workers, f *fresh, spec Spec) (*outside, error) {
	o, err := w.host.HandOver(f.program, nil)
	if err != nil {
		return nil, err
	}
	e := &outside{host: w.host, program: f.program, limits: spec.Limits, uncell: w.uncell}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.config = worker.Config{Worker: w.worker, Program: o, Limits: spec.Limits, Talk: spec.Ready, State: spec.State, Outward: spec.outward}
	if w.cells != nil {
		if err := e.inCell(w, spec); err != nil {
			return nil, errors.Join(fmt.Errorf("make a cell for the worker processes: %w", err), e.Close())
		}
	}
	switch {
	case spec.Tier == TierProcess:
		e.config.Reuse = wire.Once
	case spec.Tier == TierReset && spec.Snapshot:
		e.config.Reuse = wire.Reset
	default:
		e.config.Reuse = wire.Fresh
	}
	if e.config.Reuse != wire.Once && w.host.Kind() == vmexec.KVM && spec.Concurrency > w.alone {
		// A process takes some milliseconds to start, and more than a megabyte: too much
		// for each of a thousand events that wait for something.
		e.config.Seats = min((spec.Concurrency+w.alone-1)/w.alone, worker.MaxSeats)
	}
	e.alone = w.alone
	return e, nil
}

// What a worker process needs at most beside the memory of its machines, and how many
// threads it has: several times what was seen. On platform ptrace a thread or process of
// a program is one of the host.
const (
	workerMemory = 32 << 20
	workerTasks  = 64
	guestTasks   = 1024
)

// inCell has the workers run in a cell.
func (e *outside) inCell(w *Workers, spec Spec) error {
	// Those that events hold or wait for, those that are prepared, one that makes the
	// snapshot, and one that is about to end. Each may have a second machine prepared.
	workers := max(1, spec.Concurrency) + maxPool + 2
	e.config.Tasks = workers * workerTasks
	if e.host.Kind() == vmexec.Ptrace {
		e.config.Tasks += workers * guestTasks
	}
	// All sinks together reserve no more than there is for them.
	memory := min(uint64(workers)*cmp.Or(spec.Limits.Memory, vmexec.DefaultMemory), w.memory.limit)
	c, err := w.cells.New(cell.Limits{Memory: 2*min(memory, 1<<61) + uint64(workers)*workerMemory, Tasks: e.config.Tasks})
	if err != nil {
		return err
	}
	e.config.Cell = c
	return e.config.Program.ReplaceFolder(c.Folder)
}

func (e *outside) stop() { e.cancel() }

// Close frees the engine.
func (e *outside) Close() error {
	e.cancel()
	err := e.config.Program.Close()
	if e.config.Cell != nil {
		err = errors.Join(err, e.config.Cell.Close())
	}
	return err
}

func (e *outside) load(path string) (frozen, error) {
	o, learned, err := e.host.LoadHandover(e.config.Program, e.program, e.limits, path)
	if err != nil {
		return nil, err
	}
	r := e.frozen(o, 0)
	if len(learned) > 0 {
		r.used.Store(&learned)
	}
	return r, nil
}

func (e *outside) start(ctx context.Context) (frozen, []byte, []byte, error) {
	c := e.config
	c.Limits = startLimits(c.Limits)
	o, f, err := worker.Freeze(ctx, c)
	if err != nil {
		return nil, nil, nil, err
	}
	return e.frozen(o, f.Took), f.Stdout, f.Stderr, nil
}

// unfrozen is the program itself: each event starts it.
func (e *outside) unfrozen() frozen { return &remote{engine: e, config: e.config} }

func (e *outside) frozen(o *vmexec.Handover, took time.Duration) *remote {
	r := &remote{engine: e, config: e.config, start: took, snapshot: o}
	r.config.Program, r.config.Snapshot = o, true
	return r
}

// remote is a program or a snapshot whose machines are in worker processes.
type remote struct {
	engine   *outside
	config   worker.Config
	start    time.Duration
	snapshot *vmexec.Handover // nil: a program
	crew     worker.Crew
	used     atomic.Pointer[[]uint64]
	jailed   atomic.Pointer[vmexec.JailReport]
}

func (r *remote) machine() (machine, error) {
	c := r.config
	if used := r.used.Load(); used != nil {
		c.Used = *used
	}
	p, err := r.crew.Start(r.engine.ctx, c, r.engine.alone)
	if err != nil {
		return nil, fmt.Errorf("make a virtual machine: %w", err)
	}
	report := p.Ready().Jail
	if err := r.engine.uncell; err != nil {
		report.Missing = append(report.Missing, "no level 2: "+err.Error())
	}
	r.jailed.Store(&report)
	return &process{Process: p, of: r}, nil
}

func (r *remote) learned() bool       { return r.snapshot == nil || r.used.Load() != nil }
func (r *remote) took() time.Duration { return r.start }

func (r *remote) jail() *vmexec.JailReport { return r.jailed.Load() }

func (r *remote) Save(path, tag string) error {
	if r.snapshot == nil {
		return errors.New("a program without a snapshot is not saved")
	}
	var learned []uint64
	if used := r.used.Load(); used != nil {
		learned = *used
	}
	return r.engine.host.SaveHandover(r.snapshot, r.engine.program, r.engine.limits, learned, path, tag)
}

func (r *remote) Close() error {
	if r.snapshot == nil {
		return nil
	}
	return r.snapshot.Close()
}

// process is a machine in a worker process.
type process struct {
	*worker.Process
	of *remote
}

// SetEnv sets the environment of the next event, which starts the program; one that
// has a snapshot has its environment already.
func (p *process) SetEnv(env []string) {
	if p.of.snapshot == nil {
		p.Process.SetEnv(env)
	}
}

// Run runs an event. The first one that ends well teaches which memory events need.
func (p *process) Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	r, err := p.Process.Run(ctx, io)
	if used := p.Used(); err == nil && len(used) > 0 && mayRunAgain(r) && p.of.used.Load() == nil {
		p.of.used.Store(&used)
	}
	return r, err
}
