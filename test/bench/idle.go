// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"kontain.dev/eventing/pkg/manifest"
	"kontain.dev/eventing/vmexec"
)

// idleTime is the idleTimeout of sinks that are measured after it.
const idleTime = 250 * time.Millisecond

// firsts are sinks whose first event is measured.
type firsts struct {
	*function
	tier, wanted string
	samples      []float64
}

func (f *firsts) sink() string { return sinkName(f.function, f.tier) }

// firstSinks writes the manifests of sinks whose snapshots are on disk, of those
// functions and tiers whose first event is measured.
func (b *bench) firstSinks(dir, what string, idle time.Duration) ([]*firsts, error) {
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, err
	}
	var all []*firsts
	for _, language := range []string{"C", "Go", "Python"} {
		f := b.function(language)
		if f.err != nil {
			b.report.skip(what+", "+language, f.err)
			continue
		}
		wanted := "5 ms"
		if language == "Python" {
			wanted = "25 ms"
		}
		for _, tier := range []string{"Process", "VM"} {
			one := &firsts{function: f, tier: tier, wanted: wanted}
			err := writeSink(dir, one.sink(), f.spec(), map[string]any{
				"isolation": tier, "snapshot": map[string]any{"mode": "Ready", "storage": "Disk"}, "idleTimeout": idle.String(),
			})
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// idles measures the first event when nothing waits for one: after the idleTimeout,
// and after a restart of the receiver.
func (b *bench) idles(ctx context.Context) error {
	if !b.have(vmexec.KVM, "first event") {
		return nil
	}
	return errors.Join(b.afterIdle(ctx), b.afterRestart(ctx), b.idleSinks(ctx))
}

func (b *bench) afterIdle(ctx context.Context) (err error) {
	const what = "first event after idle"
	dir := filepath.Join(b.dir, "idle")
	all, err := b.firstSinks(dir, what, idleTime)
	if err != nil || len(all) == 0 {
		return err
	}
	r, err := b.serve(ctx, dir, vmexec.KVM)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.ready(ctx, time.Minute); err != nil {
		return err
	}
	left := 0
	for i := range 2 + b.times(30) {
		for _, f := range all {
			time.Sleep(idleTime)
			n, err := idle(ctx, r, 2*time.Second)
			if err != nil {
				return err
			}
			took, err := post(ctx, r.url(f.sink()))
			if err != nil {
				return err
			}
			if i < 2 { // snapshots are saved, connections made
				continue
			}
			left = max(left, n)
			f.samples = append(f.samples, float64(took))
		}
	}
	for _, f := range all {
		line := b.report.add(fmt.Sprintf("%s, %s, %s", what, f.tier, f.language), f.samples, nil)
		line.Wanted = f.wanted
		line.Note = fmt.Sprintf("idleTimeout %s; at most %d worker processes there before", idleTime, left)
		line.Figures = map[string]float64{"residentBefore": float64(left)}
	}
	return nil
}

// afterRestart has the first event follow at once when the receiver says that it is
// ready, and also measures how long that took.
func (b *bench) afterRestart(ctx context.Context) error {
	const what = "first event after a restart"
	dir := filepath.Join(b.dir, "restart")
	all, err := b.firstSinks(dir, what, time.Minute)
	if err != nil || len(all) == 0 {
		return err
	}
	var ready []float64
	const warm = 3 // the first runs start the programs and save their snapshots
	for i := range warm + len(all)*b.times(10) {
		r, err := b.serve(ctx, dir, vmexec.KVM)
		if err != nil {
			return err
		}
		err = r.ready(ctx, time.Minute)
		took := time.Since(r.started)
		// Each sink in its turn: after one event those of others have had time to
		// prepare.
		f := all[i%len(all)]
		var event time.Duration
		if err == nil {
			event, err = post(ctx, r.url(f.sink()))
		}
		if i < warm {
			for _, f := range all {
				_, postErr := post(ctx, r.url(f.sink()))
				err = errors.Join(err, postErr)
			}
		}
		if err := errors.Join(err, r.stop()); err != nil {
			return err
		}
		if i < warm {
			continue
		}
		if n := bytes.Count(r.log.Bytes(), []byte("loaded from disk")); n < len(all) {
			return fmt.Errorf("of %d snapshots %d were loaded from disk:\n%s", len(all), n, &r.log)
		}
		f.samples = append(f.samples, float64(event))
		ready = append(ready, float64(took))
	}
	for _, f := range all {
		line := b.report.add(fmt.Sprintf("%s, %s, %s", what, f.tier, f.language), f.samples, nil)
		line.Wanted = f.wanted
		line.Note = "snapshot on disk; sent when the receiver is ready"
	}
	line := b.report.add("… from its start until the receiver is ready", ready, nil)
	line.Note = fmt.Sprintf("%d sinks", len(all))
	return nil
}

// idleSinksWanted is how many sinks without events one receiver is to hold.
const idleSinksWanted = 10_000

// idleSinks measures a receiver with many sinks that have no events.
func (b *bench) idleSinks(ctx context.Context) (err error) {
	sinks := min(idleSinksWanted, manifest.MaxSinks)
	if b.repeat < 1 {
		sinks /= 100
	}
	name := fmt.Sprintf("%d sinks without events", sinks)
	f := b.function("C")
	if f.err != nil {
		b.report.skip(name, f.err)
		return nil
	}
	dir := filepath.Join(b.dir, "many")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	const inFile = 100
	for first := 0; first < sinks; first += inFile {
		var items []any
		for i := first; i < min(sinks, first+inFile); i++ {
			items = append(items, manifestOf(fmt.Sprintf("many-%d", i), f.spec(), map[string]any{"idleTimeout": "1s"}))
		}
		text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", first)), text, 0o600); err != nil {
			return err
		}
	}
	r, err := b.serve(ctx, dir, vmexec.KVM)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.ready(ctx, 2*time.Minute); err != nil {
		return err
	}
	took := time.Since(r.started)
	// Ready is said when one sink is: the last one answers when all are there.
	if err := lastSink(ctx, r.url(fmt.Sprintf("many-%d", sinks-1))); err != nil {
		return err
	}
	all := time.Since(r.started)
	time.Sleep(2 * time.Second)
	left, err := idle(ctx, r, 30*time.Second)
	if err != nil {
		return err
	}
	used, err := usageOf([]int{r.pid})
	line := b.report.add(name+", from the start of the receiver until all are served", []float64{float64(all)}, nil)
	line.Figures = map[string]float64{"readySeconds": took.Seconds(), "residentProcesses": float64(left)}
	if err != nil {
		line.Note = "memory not seen: " + err.Error()
		return nil
	}
	line.Figures["rssBytes"] = float64(used.rss)
	line.Note = fmt.Sprintf("ready after %s; then %s RSS (wanted of 10000: 100 MB), %d worker processes", duration(float64(took)), mebibytes(float64(used.rss)), left)
	return nil
}

// lastSink waits until a sink answers with a reply.
func lastSink(ctx context.Context, url string) error {
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := post(ctx, url)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}
