// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"

	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/vmexec"
)

// Workers make and close the machines of snapshots on one host, away from the
// requests. Machines of one process are made by one goroutine and closed by one,
// because the kernel does either no faster on several threads of it; worker processes
// are started and ended by as many as there are processors. Its methods may be called
// from several goroutines.
type Workers struct {
	host   *vmexec.Host
	store  *snapshots.Store // nil: snapshots stay in memory
	memory *Memory
	worker string // path of kontain-worker; empty: machines are in this process
	makers int    // goroutines that make machines, and as many that close them
	shelf  shelf
	cells  *cell.Cells
	uncell error // why there are no cells
	alone  int   // Options.Alone

	resolver egress.Resolver
	noEgress bool

	mu     sync.Mutex
	woken  *sync.Cond
	queue  []*pool // that may want machines; none is in it twice
	closed bool

	toClose chan closing
	done    sync.WaitGroup
}

type closing struct {
	m   machine
	err chan<- error
}

// Options are what the machines of a host share. A zero field means none.
type Options struct {
	// Memory bounds what all machines use together; other hosts may share it.
	Memory *Memory
	// Worker is the path of kontain-worker, which runs machines in processes of their
	// own. Without it they are in this process, and TierProcess is not to be had.
	Worker string
	// Alone is how many machines of a sink have a worker process each, with tier VM and
	// Reset on KVM. Where a sink has more events at once, its processes have several
	// machines. Default: 16.
	Alone int
	// Cells are where its processes run. Without them they have the first level of the
	// jail only, and NoCells is why, if they were wanted.
	Cells   *cell.Cells
	NoCells error
	// Store keeps the snapshots that may be kept on disk.
	Store *snapshots.Store
	// Resolver finds the addresses of names that programs ask for. Default: as this
	// machine does.
	Resolver egress.Resolver
	// NoEgress: no program reaches the network outside. A Spec with Egress is an error
	// that matches ErrNoEgress.
	NoEgress bool
}

// ErrNoEgress says that the machines of a host may not have what Spec.Egress lists.
var ErrNoEgress = errors.New("egress: no program here connects to the network outside")

// NewWorkers starts the workers of a host, which must stay open until they are
// closed.
func NewWorkers(host *vmexec.Host, o Options) *Workers {
	if o.Memory == nil {
		o.Memory = NewMemory(math.MaxUint64)
	}
	w := &Workers{host: host, store: o.Store, memory: o.Memory, worker: o.Worker, cells: o.Cells, uncell: o.NoCells, alone: o.Alone, resolver: o.Resolver, noEgress: o.NoEgress, toClose: make(chan closing)}
	if w.alone <= 0 {
		w.alone = defaultAlone
	}
	w.woken = sync.NewCond(&w.mu)
	w.shelf.w, w.shelf.items, w.shelf.checked = w, map[string]*item{}, map[string]struct{}{}
	w.makers = 1
	if w.worker != "" {
		w.makers = min(runtime.GOMAXPROCS(0), maxMakers)
	}
	for range w.makers {
		w.done.Go(w.makeAll)
		w.done.Go(w.closeAll)
	}
	return w
}

// defaultAlone is Options.Alone: two machines that give memory back in one process hold
// each other up, so that those of a usual sink have one each.
const defaultAlone = 16

// maxMakers bounds the worker processes that start at once.
const maxMakers = 16

// Close ends the workers. Every Source must be closed before.
func (w *Workers) Close() {
	w.shelf.making.Wait() // for nobody any more: it was told to end
	w.mu.Lock()
	w.closed = true
	w.woken.Broadcast()
	w.mu.Unlock()
	close(w.toClose)
	w.done.Wait()
}

// wake has p asked whether it wants machines.
func (w *Workers) wake(p *pool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.queue, p) {
		w.queue = append(w.queue, p)
		w.woken.Signal()
	}
}

// next takes a pool from the queue, first of all one that events wait for. It
// returns nil at the end.
func (w *Workers) next() *pool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 {
		if w.closed {
			return nil
		}
		w.woken.Wait()
	}
	i := max(0, slices.IndexFunc(w.queue, (*pool).urgent))
	p := w.queue[i]
	w.queue = slices.Delete(w.queue, i, i+1)
	return p
}

// makeAll makes one machine after the other, in turns for the pools that want
// some.
func (w *Workers) makeAll() {
	for p := w.next(); p != nil; p = w.next() {
		if p.makeOne() {
			w.wake(p)
		}
	}
}

// closeAll closes one machine after the other.
func (w *Workers) closeAll() {
	for c := range w.toClose {
		c.err <- c.m.Close()
	}
}

// close closes a machine and returns when that is done.
func (w *Workers) close(m machine) error {
	err := make(chan error, 1)
	w.toClose <- closing{m, err}
	return <-err
}
