// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package dispatcher

import (
	"log/slog"
	"maps"
	"time"

	"kontain.dev/eventing/vmexec"
)

// Cost is what the runs of programs took, in sum.
type Cost struct {
	Runs    uint64        `json:"runs"`      // events whose program ran
	Queue   time.Duration `json:"queueNs"`   // waiting for a slot
	Restore time.Duration `json:"restoreNs"` // from the slot to a machine: taking one that is prepared, or waiting for one, or making and loading one
	Run     time.Duration `json:"runNs"`     // of the program
	Reset   time.Duration `json:"resetNs"`   // resets before the runs; nobody waits for them

	Exits      uint64            `json:"exits"`                // times a machine came back to the monitor
	Answered   uint64            `json:"answered"`             // system calls answered inside a machine, without an exit
	Syscalls   map[string]uint64 `json:"syscalls,omitempty"`   // system calls by name, those answered inside too
	Exceptions map[string]uint64 `json:"exceptions,omitempty"` // exits by exception: page faults and other faults
	Kicks      uint64            `json:"kicks"`                // exits forced by a timer or from outside
	DirtyPages uint64            `json:"dirtyPages"`           // pages that the resets copied back
}

func (c *Cost) clone() Cost {
	n := *c
	n.Syscalls, n.Exceptions = maps.Clone(c.Syscalls), maps.Clone(c.Exceptions)
	return n
}

// faults is the number of exceptions.
func (c *Cost) faults() (n uint64) {
	for _, v := range c.Exceptions {
		n += v
	}
	return n
}

// attributes are the sums for the log.
func (c *Cost) attributes() []any {
	return []any{
		"queue", c.Queue, "restore", c.Restore, "run", c.Run, "reset", c.Reset,
		"exits", c.Exits, "answered", c.Answered, "calls", c.Syscalls, "faults", c.faults(), "kicks", c.Kicks, "dirtyPages", c.DirtyPages,
	}
}

// add adds what another cost.
func (c *Cost) add(o *Cost) {
	c.Runs += o.Runs
	c.Queue += o.Queue
	c.Restore += o.Restore
	c.Run += o.Run
	c.Reset += o.Reset
	c.Exits += o.Exits
	c.Answered += o.Answered
	c.Kicks += o.Kicks
	c.DirtyPages += o.DirtyPages
	c.Syscalls = sum(c.Syscalls, o.Syscalls)
	c.Exceptions = sum(c.Exceptions, o.Exceptions)
}

func sum(to, from map[string]uint64) map[string]uint64 {
	if to == nil && len(from) > 0 {
		to = make(map[string]uint64, len(from))
	}
	for name, n := range from {
		to[name] += n
	}
	return to
}

// charge counts one run and returns its cost.
func (s *sink) charge(queued, restored time.Duration, st *vmexec.Stats) Cost {
	c := Cost{
		Runs: 1, Queue: queued, Restore: restored, Run: st.Run, Reset: st.Reset,
		Exits: st.Exits, Answered: st.Answered, Syscalls: st.Syscalls, Exceptions: st.Exceptions, Kicks: st.Kicks, DirtyPages: uint64(max(0, st.DirtyPages)),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cost.add(&c)
	return c
}

// summarize logs what became of the events of a sink, and what one of them cost
// on average.
func (s *sink) summarize(log *slog.Logger) {
	st := s.stats()
	failed := uint64(0)
	for _, n := range st.Failed {
		failed += n
	}
	args := []any{"sink", st.Sink, "accepted", st.Accepted, "replied", st.Replied, "failed", failed, "runs", st.Cost.Runs}
	if n := st.Cost.Runs; n > 0 {
		mean := func(sum time.Duration) time.Duration { return (sum / time.Duration(n)).Round(100 * time.Nanosecond) }
		each := func(sum uint64) float64 { return float64(sum*10/n) / 10 }
		args = append(args, slog.Group("mean",
			"queue", mean(st.Cost.Queue), "restore", mean(st.Cost.Restore), "run", mean(st.Cost.Run), "reset", mean(st.Cost.Reset),
			"exits", each(st.Cost.Exits), "faults", each(st.Cost.faults()), "dirtyPages", each(st.Cost.DirtyPages)))
	}
	log.Info("sink ended", args...)
}
