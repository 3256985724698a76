// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

// Backend runs the events of sinks: it gets their images, makes their machines, and
// changes both while events run. Where the sinks come from is an Origin's affair. Its
// methods may be called from several goroutines.
type Backend struct {
	images     *images
	hosts      *platforms
	machines   func(dispatcher.Sink) (lease.Source, error)
	dispatcher *dispatcher.Dispatcher
}

// newBackend makes a Backend without sinks.
func newBackend(c *Config) (*Backend, error) {
	b := &Backend{
		images:   newImages(c.Images, c.Logger, c.PullBackoff),
		hosts:    &platforms{base: c.Host, open: vmexec.Open, logger: c.Logger},
		machines: c.Source,
	}
	if b.machines == nil {
		if c.Host == nil && c.Origin == nil {
			return nil, errors.New("no platform to run programs on is given")
		}
		if c.Memory == 0 {
			c.Memory = DefaultMemory()
		}
		b.hosts.options = lease.Options{Store: c.Snapshots, Memory: lease.NewMemory(c.Memory), Worker: c.Worker, Cells: c.Jail.Cells, NoCells: c.Jail.NoCells, NoEgress: c.NoEgress}
		b.machines = b.hosts.source(c.Jail, "sink")
	}
	b.dispatcher = dispatcher.New(dispatcher.Options{Source: b.source, Contract: NewContract, Ahead: ahead, Observer: observer(c.Metrics), Logger: c.Logger})
	return b, nil
}

// observer returns what is told of events; nil when nothing is.
func observer(m Metrics) dispatcher.Observer {
	if m == nil {
		return nil
	}
	return m
}

// source returns what makes the machines of sinks on their platforms. what is the log's
// word for one of them.
func (p *platforms) source(jail Jail, what string) func(dispatcher.Sink) (lease.Source, error) {
	return func(s dispatcher.Sink) (lease.Source, error) {
		if jail.Required && s.Platform == platformKM {
			return nil, errors.New("the jail of level 2, which is asked for, is not to be had with platform KM: that program is no worker process of this receiver")
		}
		if s.Platform == platformKM {
			return kmSource(s, p.options.Memory, p.logger)
		}
		if jail.Required && jail.Cells == nil {
			return nil, fmt.Errorf("the jail of level 2, which is asked for, is not to be had: %w", jail.NoCells)
		}
		workers, err := p.workers(s.Platform)
		if err != nil {
			return nil, err
		}
		spec, err := Machines(s)
		if err != nil {
			return nil, err
		}
		return workers.New(spec, p.logger.With(what, s.Key()))
	}
}

// OnImage sets what is told that the images of sinks (NAMESPACE/NAME) were fetched, or
// could not be had.
func (b *Backend) OnImage(changed func(sinks []string)) { b.images.watch(changed) }

// Fetch begins to get the image of a sink, for as long as the sink wants it, and when it is
// there completes s with what it holds. Until then s.Pending says why not. It does not
// wait. Pulls end with ctx.
func (b *Backend) Fetch(ctx context.Context, s *Sink) Fetched {
	b.images.want(ctx, s)
	return b.images.fill(s)
}

// Keep ends the pulls of all sinks but these.
func (b *Backend) Keep(sinks map[string]bool) { b.images.keep(sinks) }

// Update makes sinks the set of sinks; see dispatcher.Dispatcher.
func (b *Backend) Update(sinks []dispatcher.Sink) error { return b.dispatcher.Update(sinks) }

// Apply brings one sink to what s says; see dispatcher.Dispatcher.
func (b *Backend) Apply(s Sink) error { return b.dispatcher.Apply(s.Sink) }

// Remove takes one sink away. Its events are done, new ones get 404.
func (b *Backend) Remove(namespace, name string) {
	b.dispatcher.Remove(namespace, name)
	b.images.forget(namespace + "/" + name)
}

// Withdraw stops a sink that must serve no longer, and says why to its senders: new
// events get 503.
func (b *Backend) Withdraw(s Sink) error {
	b.dispatcher.Remove(s.Namespace, s.Name)
	return b.dispatcher.Apply(s.Sink)
}

// Has says whether there is a sink of that name, ready or not.
func (b *Backend) Has(namespace, name string) bool { return b.dispatcher.Has(namespace, name) }

// Dispatch takes events through a sink; see dispatcher.Dispatcher.
func (b *Backend) Dispatch(ctx context.Context, namespace, name string, events []*event.Event) ([]*event.Event, *reply.Failure) {
	return b.dispatcher.Dispatch(ctx, namespace, name, events)
}

// Stats returns a snapshot of every sink.
func (b *Backend) Stats() []dispatcher.Stats { return b.dispatcher.Stats() }

// SinkStats returns a snapshot of one sink, and whether there is one of that name.
func (b *Backend) SinkStats(namespace, name string) (dispatcher.Stats, bool) {
	return b.dispatcher.SinkStats(namespace, name)
}

// anyReady says whether a sink is served.
func (b *Backend) anyReady() bool {
	for _, st := range b.dispatcher.Stats() {
		if st.Generation > 0 {
			return true
		}
	}
	return false
}

// close ends what is behind the sinks. The dispatcher must be closed before.
func (b *Backend) close() error {
	b.images.close()
	return b.hosts.close()
}
