// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package egress makes the connections to the network outside that programs in virtual
// machines ask for, outside of their jail and as far as the allow list of their sink
// goes.
//
// Who asks is known by where the question comes in: each run of a machine has a Session
// of its sink's Broker, and nothing in a question says anything else. A name is resolved
// here, its addresses are checked and remembered, and a program connects to an address:
// what was checked is what is dialled.
package egress

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kontain.dev/eventing/pkg/egress/policy"
	"kontain.dev/eventing/vmexec/talk"
)

// Bounds of what a program may use.
const (
	// MaxConns is the most connections of one event at once, those that are being made
	// included.
	MaxConns = 64
	// MaxOpened is the most connections of one event, one after the other, and
	// MaxLookups the most names that it may ask for.
	MaxOpened  = 4096
	MaxLookups = 4096
	// DialTimeout is how long making a connection may take, LookupTimeout resolving a
	// name.
	DialTimeout   = 10 * time.Second
	LookupTimeout = 5 * time.Second
	// IdleTimeout is how long nothing may go over a connection in either direction.
	IdleTimeout = 5 * time.Minute
	// LingerTimeout is how long after the end of an event what its program has written
	// may take to be sent.
	LingerTimeout = 2 * time.Second

	// answerTTL is how long a name's addresses are used without asking for them again,
	// here and in programs, and failureTTL how long it is not asked for again after a
	// failure.
	answerTTL  = 5 * time.Second
	failureTTL = time.Second
	// knownTTL is how long a program may connect to an address after its name was
	// resolved: a program that a snapshot was made of may remember it for long.
	knownTTL = 24 * time.Hour
	// maxKnown and maxNames bound what is remembered of a sink, namesPerAddress what is
	// of an address.
	maxKnown        = 4096
	maxNames        = 1024
	namesPerAddress = 8
	// maxLines is how many refusals and failures of one event are logged.
	maxLines = 20
)

// Resolver finds the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options say how a Broker works. A zero field means its default.
type Options struct {
	// Resolver finds addresses. Default: as this machine does.
	Resolver Resolver
	// Logger gets what is refused and what fails, and at level Debug each connection. It
	// is to name the sink.
	Logger *slog.Logger
	// IdleTimeout and DialTimeout replace the constants of these names.
	IdleTimeout, DialTimeout time.Duration
}

// Stats counts what programs of a sink asked for.
type Stats struct {
	Connections uint64 `json:"connections"` // that were made
	Open        int64  `json:"open"`        // of them at present
	Refused     uint64 `json:"refused"`     // that were not allowed, or too many
	Failed      uint64 `json:"failed"`      // that could not be made
	Lookups     uint64 `json:"lookups"`     // names that were asked for
	Unanswered  uint64 `json:"unanswered"`  // of them those that are not allowed, or have no address that is
	Sent        uint64 `json:"sent"`        // bytes
	Received    uint64 `json:"received"`    // bytes
}

// Broker makes the connections of one sink. Its methods may be called from several
// goroutines.
type Broker struct {
	policy  *policy.Policy
	options Options
	running tasks

	mu    sync.Mutex
	names recent[string, *lookup]         // that were asked for
	known recent[netip.Addr, []knownName] // what addresses were found by

	connections, refused, failed, lookups, unanswered, sent, received atomic.Uint64
	open                                                              atomic.Int64
}

// knownName is a name that an address was found by.
type knownName struct {
	name  string
	until time.Time
}

// New makes a Broker that connects to what p allows.
func New(p *policy.Policy, o Options) *Broker {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = IdleTimeout
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = DialTimeout
	}
	return &Broker{policy: p, options: o, names: newRecent[string, *lookup](maxNames), known: newRecent[netip.Addr, []knownName](maxKnown)}
}

// Stats returns a snapshot of the counters.
func (b *Broker) Stats() Stats {
	return Stats{
		Connections: b.connections.Load(), Open: b.open.Load(), Refused: b.refused.Load(), Failed: b.failed.Load(),
		Lookups: b.lookups.Load(), Unanswered: b.unanswered.Load(), Sent: b.sent.Load(), Received: b.received.Load(),
	}
}

// Close waits until nothing of the broker's sessions is under way any more. They must
// have ended.
func (b *Broker) Close() { b.running.wait() }

// tasks counts goroutines. Other than with a sync.WaitGroup more may begin while somebody
// waits.
type tasks struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n becomes 0; nil: nobody waits
}

func (t *tasks) run(f func()) {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
	go func() {
		defer t.done()
		f()
	}()
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

func (t *tasks) wait() {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	<-none
}

// Begin implements the network outside for one run of a machine: an event, or the start
// of a program. end closes what is left of it, but for what the program has written
// before its end, and returns at once.
func (b *Broker) Begin(ctx context.Context) (out talk.Outward, end func()) {
	s := &session{b: b, conns: map[*conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s, s.close
}

// session is the network outside for one run of a machine.
type session struct {
	b      *Broker
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	conns   map[*conn]struct{}
	opened  int // connections so far
	looked  int // names so far
	looking int // names at present
	lines   int // that were logged
	hidden  int // that were not
	closed  bool
}

var _ talk.Outward = (*session)(nil)

// complain logs what became of a question, within bounds: it is programs that say how
// often.
func (s *session) complain(what string, args ...any) {
	s.mu.Lock()
	s.lines++
	over := s.lines > maxLines
	if over {
		s.hidden++
	}
	s.mu.Unlock()
	if !over {
		s.b.options.Logger.Warn(what, args...)
	}
}

// close ends the session.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = map[*conn]struct{}{}
	hidden := s.hidden
	s.mu.Unlock()
	s.cancel()
	for c := range conns {
		c.end()
	}
	if hidden > 0 {
		s.b.options.Logger.Warn("more of what a program asked for outside was refused or failed", "times", hidden)
	}
}
