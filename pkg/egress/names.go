// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"kontain.dev/eventing/vmexec/talk"
)

// lookup is what is known of a name, once done is closed.
type lookup struct {
	done      chan struct{}
	until     time.Time
	addresses []netip.Addr // that may be used
	err       error
}

// Resolve implements talk.Outward.
func (s *session) Resolve(q *talk.Query) {
	s.b.lookups.Add(1)
	fail := func(code uint16, why string) {
		s.b.unanswered.Add(1)
		s.complain("a name was not resolved for a program", "name", quoted(q.Name), "why", why)
		q.Answer(code, nil, failureTTL)
	}
	if !s.b.policy.Name(q.Name) {
		fail(talk.NameError, "it is not listed")
		return
	}
	s.mu.Lock()
	tooMany := s.looked >= MaxLookups || s.looking >= MaxConns
	closed := s.closed
	if !closed && !tooMany {
		s.looked++
		s.looking++
	}
	s.mu.Unlock()
	switch {
	case closed:
		return
	case tooMany:
		fail(talk.ServerFailure, "one event has asked for too many")
		return
	}
	s.b.running.run(func() {
		addresses, err := s.b.lookup(s.ctx, q.Name)
		s.mu.Lock()
		s.looking--
		s.mu.Unlock()
		var none *net.DNSError
		switch {
		case err == nil:
			q.Answer(talk.Success, addresses, answerTTL)
		case s.ctx.Err() != nil:
		case errors.As(err, &none) && none.IsNotFound, errors.Is(err, errRefused):
			fail(talk.NameError, err.Error())
		default:
			fail(talk.ServerFailure, err.Error())
		}
	})
}

// quoted is a name for the log: a program can ask for anything.
func quoted(name string) string {
	q := strconv.Quote(name)
	return q[1 : len(q)-1]
}

// errRefused says that a name has addresses, but none that may be connected to.
var errRefused = errors.New("none of its addresses may be used")

// lookup returns those addresses of a name that may be connected to, and remembers what
// they were found by. Programs that ask at the same time, as for both families, get the
// same answer.
func (b *Broker) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	name = strings.ToLower(name)
	b.mu.Lock()
	l, ok := b.names.get(name)
	if ok {
		select {
		case <-l.done:
			ok = time.Now().Before(l.until)
		default:
		}
	}
	if !ok {
		l = &lookup{done: make(chan struct{})}
		b.names.set(name, l)
		b.running.run(func() { b.resolve(name, l) })
	}
	b.mu.Unlock()
	select {
	case <-l.done:
		return l.addresses, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// resolve asks for a name.
func (b *Broker) resolve(name string, l *lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), LookupTimeout)
	defer cancel()
	found, err := b.options.Resolver.LookupNetIP(ctx, "ip", name)
	defer close(l.done)
	if err != nil {
		l.err, l.until = err, time.Now().Add(failureTTL)
		return
	}
	l.until = time.Now().Add(answerTTL)
	for _, a := range found {
		a = a.Unmap()
		if err := b.policy.Usable(a, name); err != nil {
			l.err = fmt.Errorf("%w: %s: %w", errRefused, a, err)
			continue
		}
		if len(l.addresses) < talk.MaxAddresses && !slices.Contains(l.addresses, a) {
			l.addresses = append(l.addresses, a)
		}
	}
	switch {
	case len(l.addresses) > 0:
		l.err = nil
	case l.err == nil:
		l.err = &net.DNSError{Err: "no address", Name: name, IsNotFound: true}
	}
	b.remember(name, l.addresses)
}

// remember notes what addresses were found by.
func (b *Broker) remember(name string, addresses []netip.Addr) {
	until := time.Now().Add(knownTTL)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range addresses {
		old, _ := b.known.get(a)
		names := []knownName{{name, until}}
		for _, n := range old {
			if n.name != name && len(names) < namesPerAddress {
				names = append(names, n)
			}
		}
		b.known.set(a, names)
	}
}

// namesOf returns the names that an address was found by.
func (b *Broker) namesOf(a netip.Addr) []string {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	known, _ := b.known.get(a)
	var names []string
	for _, n := range known {
		if now.Before(n.until) {
			names = append(names, n.name)
		}
	}
	return names
}
