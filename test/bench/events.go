// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"kontain.dev/eventing/vmexec"
)

const eventData = `{"text":"one two three four"}`

const eventJSON = `{"specversion":"1.0","id":"1","source":"/bench","type":"bench","datacontenttype":"application/json","data":` + eventData + `}`

// platforms are what machines run on, with what their rows are called.
var platforms = []struct {
	kind vmexec.Kind
	name string
}{{vmexec.KVM, ""}, {vmexec.Ptrace, ", ptrace"}}

// tiers are the ways to give an event a machine.
var tiers = [...]struct {
	name, note string
	spec       map[string]any
	pause      bool   // the next machine is prepared between events
	rate       string // events a second that are wanted of C
}{
	{"started anew", "", map[string]any{"isolation": "VM", "snapshot": map[string]any{"mode": "Never"}}, true, ""},
	{"Reset", "", inMemory("Reset"), false, "6000"},
	{"Process", "apart, so that a worker is prepared", inMemory("Process"), true, "300"},
	{"VM", "apart, so that a clone is prepared", inMemory("VM"), true, "500"},
}

// inMemory is a tier whose snapshot is in no file.
func inMemory(isolation string) map[string]any {
	return map[string]any{"isolation": isolation, "snapshot": map[string]any{"mode": "Ready", "storage": "Memory"}}
}

// endpoint is what events are sent to.
type endpoint struct {
	name, note string // name of the rows, after what is measured
	url        string
	every      int           // of the rounds, one in so many has an event
	clients    int           // events of each of two clients; 0: not measured
	pause      time.Duration // after an event
	stats      *vmexec.Stats // of one event in a machine alone
	wanted     string        // the time of an event; may be empty
	rate       string        // the events a second; may be empty

	language string
	tier     string // empty: a peer
	first    bool   // on the platform that peers are compared with

	samples []float64
}

// events measures one event through HTTP, ours and those of peers in turns, and two
// clients at once.
func (b *bench) events(ctx context.Context) (err error) {
	manifests := filepath.Join(b.dir, "sinks")
	if err := os.Mkdir(manifests, 0o750); err != nil {
		return err
	}
	var measured []*function
	for _, f := range b.functions() {
		if f.err != nil {
			b.report.skip("event over HTTP, "+f.language, f.err)
			continue
		}
		measured = append(measured, f)
		for _, tier := range tiers {
			if err := writeSink(manifests, sinkName(f, tier.name), f.spec(), tier.spec); err != nil {
				return err
			}
		}
	}
	var endpoints []*endpoint
	var closers []func() error
	defer func() { err = errors.Join(err, closeAll(closers)) }()
	first := true
	for _, platform := range platforms {
		if len(measured) == 0 || !b.have(platform.kind, "event over HTTP"+platform.name) {
			continue
		}
		r, err := b.serve(ctx, manifests, platform.kind)
		if err != nil {
			return err
		}
		closers = append(closers, r.stop)
		if err := r.ready(ctx, time.Minute); err != nil {
			return err
		}
		for _, f := range measured {
			if !first && !f.all {
				continue
			}
			stats, err := engineStats(ctx, platform.kind, f)
			if err != nil {
				return err
			}
			for i, tier := range tiers {
				e := &endpoint{
					name: ", " + tier.name + platform.name + ", " + f.language, note: tier.note, url: r.url(sinkName(f, tier.name)),
					every: f.every[i], clients: f.clients[i], stats: &stats[i], wanted: f.wanted[i],
					language: f.language, tier: tier.name, first: first,
				}
				if tier.pause {
					e.pause = f.pause
				}
				if f.language == "C" {
					e.rate = tier.rate
				}
				if platform.kind != vmexec.KVM {
					e.wanted, e.rate = "", ""
				}
				endpoints = append(endpoints, e)
			}
		}
		first = false
	}
	peers, stop, err := b.peers(ctx)
	if err != nil {
		return err
	}
	closers = append(closers, stop)
	return b.event(ctx, endpoints, peers)
}

func sinkName(f *function, tier string) string {
	return strings.ToLower(strings.NewReplacer(" ", "-", ".", "-", "_", "").Replace(f.language + "-" + tier))
}

// have says whether a platform can be used here; if not, the report says so.
func (b *bench) have(kind vmexec.Kind, name string) bool {
	host, err := vmexec.Open(kind)
	if err == nil {
		err = host.Close()
	}
	if err != nil {
		b.report.skip(name, err)
	}
	return err == nil
}

// event measures the endpoints in turns, so that a change of the machine's speed
// meets all of them. After an event of a tier that prepares its next machine there is
// a pause, or that would compete with what is measured next: clients that leave no
// pause are measured apart.
func (b *bench) event(ctx context.Context, ours, peers []*endpoint) error {
	all := append(ours, peers...)
	const warm = 20 // connections, caches and pools
	for i := range warm + b.times(2000) {
		for _, e := range all {
			if i < warm && i%min(e.every, warm) != 0 || i >= warm && (i-warm)%e.every != 0 {
				continue
			}
			took, err := post(ctx, e.url)
			if err != nil {
				return err
			}
			if i >= warm {
				e.samples = append(e.samples, float64(took))
			}
			time.Sleep(e.pause)
		}
	}
	medians := map[string]float64{} // of ours, by tier and language
	for _, e := range ours {
		line := b.report.add("event over HTTP"+e.name, e.samples, nil)
		line.fill(e.stats, 1)
		line.Note, line.Wanted = e.note, e.wanted
		if e.first {
			medians[e.tier+", "+e.language] = line.Median
		}
	}
	for _, e := range peers {
		line := b.report.add("peer over HTTP"+e.name, e.samples, nil)
		line.Note = e.note
		line.compare(medians, e.language)
	}
	for _, e := range all {
		if e.clients == 0 {
			continue
		}
		if err := b.clients(ctx, e, b.times(e.clients)); err != nil {
			return err
		}
	}
	return nil
}

// compare sets how many of our times that of a peer is.
func (r *row) compare(medians map[string]float64, language string) {
	if r.Median == 0 {
		return
	}
	r.Ratios = map[string]float64{}
	for _, tier := range tiers {
		if ours := medians[tier.name+", "+language]; ours > 0 {
			r.Ratios[tier.name] = r.Median / ours
		}
	}
}

// engineStats returns what one event costs in each of tiers.
func engineStats(ctx context.Context, kind vmexec.Kind, f *function) ([len(tiers)]vmexec.Stats, error) {
	var stats [len(tiers)]vmexec.Stats
	l, err := f.load(kind)
	if err != nil {
		return stats, err
	}
	started, _, err := l.run(ctx, []byte(eventJSON))
	if err != nil {
		return stats, errors.Join(err, l.Close())
	}
	e, err := l.engine(ctx)
	if err != nil {
		return stats, errors.Join(err, l.Close())
	}
	for range coldEvery - 1 { // none is started anew: that was done
		if err := e.round(ctx); err != nil {
			return stats, errors.Join(err, e.Close(), l.Close())
		}
	}
	return [...]vmexec.Stats{started.Stats, e.resetStats, e.cloneStats, e.cloneStats}, errors.Join(e.Close(), l.Close())
}

// clients measures two clients at once: the time between two answers, and the 99th
// percentile of what one of them waits.
func (b *bench) clients(ctx context.Context, e *endpoint, each int) error {
	const clients = 2
	var samples [clients][]float64
	start := time.Now()
	errs := make([]error, clients)
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for range each {
				took, err := post(ctx, e.url)
				if err != nil {
					errs[c] = err
					return
				}
				samples[c] = append(samples[c], float64(took))
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	total := time.Since(start)
	line := b.report.add("two clients at once"+e.name, []float64{float64(total) / float64(clients*each)}, nil)
	line.Samples = clients * each
	line.Rate = float64(clients*each) / total.Seconds()
	if e.rate != "" {
		line.Wanted = e.rate + " a second"
	}
	line.Note = fmt.Sprintf("%.0f events/s", line.Rate)
	if 2*each >= 100 {
		line.P99 = quantile(append(samples[0], samples[1]...), 0.99)
	}
	return nil
}
