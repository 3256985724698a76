// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/vmexec"
)

const (
	burstEvents = 1000 // at once
	burstMemory = 16   // MiB, the limit of each guest
	burstRounds = 3
	// burstHold is how long each event takes, and burstLongest how long at most where
	// that is too short for all to be in flight.
	burstHold    = 5 * time.Second
	burstLongest = 40 * time.Second
	// burstIdle is the idleTimeout: machines of one burst are there for the next one
	// if that comes soon, and gone if it does not.
	burstIdle = 3 * time.Second
	// burstSettle is how long after that the last process may take to end.
	burstSettle = 30 * time.Second
)

// answered is what a guest that holds an event answers, in nanoseconds of the wall
// clock.
type answered struct {
	Started int64 `json:"started"`
	Ended   int64 `json:"ended"`
}

// held is what events that come at once had.
type held struct {
	resident int           // processes of the receiver before
	inFlight int           // most events in their programs at one time
	took     time.Duration // from the first request until then
	refused  []error

	// Of all in flight, less what was there before. Zero where it could not be read.
	each    uint64 // proportional set size for one event, bytes
	all     usage
	machine uint64 // of the whole machine, for one event, bytes
	note    string // why there is none
}

// holdAll sends events at once to a function that holds each for a time, and with
// memory looks at the receiver's while all are held.
func holdAll(ctx context.Context, r *receiver, url string, events int, hold time.Duration, memory bool) (*held, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: events}}
	defer client.CloseIdleConnections()
	workers, err := descendants(r.pid)
	if err != nil {
		return nil, err
	}
	h := &held{resident: len(workers)}
	look := func() (used usage, available uint64, err error) {
		list, err := descendants(r.pid)
		if err != nil {
			return used, 0, err
		}
		if available, err = availableMemory(); err != nil {
			return used, 0, err
		}
		used, err = usageOf(append(list, r.pid))
		return used, available, err
	}
	var before, during usage
	var availableBefore, availableDuring uint64
	var memoryErr error
	if memory {
		before, availableBefore, memoryErr = look()
	}

	var mu sync.Mutex
	var answers []answered
	done := make(chan struct{})
	data := fmt.Sprintf(`{"hold":%d}`, hold.Milliseconds())
	start := time.Now()
	var group sync.WaitGroup
	for range events {
		group.Go(func() {
			body, _, err := postTo(ctx, client, url, data)
			var a answered
			if err == nil {
				err = json.Unmarshal(body, &a)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				h.refused = append(h.refused, err)
				return
			}
			answers = append(answers, a)
		})
	}
	go func() { group.Wait(); close(done) }()

	// The answers tell afterwards whether all were in flight then.
	var looked, seen time.Time // when the memory was looked at
	if memory && memoryErr == nil {
		select {
		case <-done:
			memoryErr = errors.New("the events were answered before it was looked at")
		case <-time.After(hold * 3 / 4):
			looked = time.Now()
			during, availableDuring, memoryErr = look()
			seen = time.Now()
		}
	}
	<-done
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(answers) == 0 {
		return nil, fmt.Errorf("none of %d events was answered: %w", events, errors.Join(h.refused[:min(3, len(h.refused))]...))
	}
	var at int64
	h.inFlight, at = mostAtOnce(answers)
	h.took = time.Unix(0, at).Sub(start)
	if h.took < 0 || h.took > time.Since(start) {
		return nil, fmt.Errorf("the guests' wall clock is not ours: %d events were in flight %v after the first was sent", h.inFlight, h.took)
	}
	switch {
	case !memory:
	case memoryErr != nil:
		h.note = "memory not seen: " + memoryErr.Error()
	case inFlightAt(answers, looked) < events || inFlightAt(answers, seen) < events:
		h.note = fmt.Sprintf("memory not seen: only %d events were in flight when it was looked at", min(inFlightAt(answers, looked), inFlightAt(answers, seen)))
	default:
		h.all = during
		h.each = less(during.pss, before.pss) / uint64(events)
		h.machine = less(availableBefore, availableDuring) / uint64(events)
	}
	return h, nil
}

// less is a-b, and 0 when that is negative.
func less(a, b uint64) uint64 { return a - min(a, b) }

// mostAtOnce returns the most events in flight at one time, and the first such time.
func mostAtOnce(answers []answered) (most int, at int64) {
	type change struct {
		at    int64
		delta int
	}
	var changes []change
	for _, a := range answers {
		changes = append(changes, change{a.Started, 1}, change{a.Ended, -1})
	}
	slices.SortFunc(changes, func(a, b change) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.delta - b.delta // one that ends at the moment another begins is not beside it
	})
	n := 0
	for _, c := range changes {
		if n += c.delta; n > most {
			most, at = n, c.at
		}
	}
	return most, at
}

func inFlightAt(answers []answered, t time.Time) (n int) {
	for _, a := range answers {
		if now := t.UnixNano(); a.Started <= now && now < a.Ended {
			n++
		}
	}
	return n
}

// idle waits until a receiver has no processes, and says how many it has kept at the
// end of the time that it may take.
func idle(ctx context.Context, r *receiver, most time.Duration) (int, error) {
	for deadline := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
		list, err := descendants(r.pid)
		if err != nil || len(list) == 0 || time.Now().After(deadline) {
			return len(list), err
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}

// bursts measures how soon many events that come at once are all in their machines:
// with nothing there before, and with what the burst before left, or what is prepared.
func (b *bench) bursts(ctx context.Context) (err error) {
	const name = "all at once"
	if b.guests.c == "" {
		b.report.skip(name, b.guests.cErr)
		return nil
	}
	if !b.have(vmexec.KVM, name) {
		return nil
	}
	events, rounds := burstEvents, burstRounds
	if b.repeat < 1 {
		events, rounds = events/10, 1
	}
	events = min(events, int(v1alpha1.MaxConcurrency))
	dir := filepath.Join(b.dir, "burst")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	spec := map[string]any{
		"program": b.guests.c, "args": []string{"hold"}, "contract": map[string]any{"type": "stdio"},
		"reply":     map[string]any{"type": "bench.reply", "source": "/bench"},
		"resources": map[string]any{"limits": map[string]any{"memory": fmt.Sprintf("%dMi", burstMemory)}},
		"timeout":   "2m", "concurrency": events, "idleTimeout": burstIdle.String(),
		"queue": map[string]any{"length": events, "timeout": "1m"},
	}
	for _, tier := range tiers[1:] {
		if err := writeSink(dir, strings.ToLower(tier.name), spec, tier.spec); err != nil {
			return err
		}
	}
	// Room for all of them and for what is prepared beside them.
	reserved := uint64(events+64) * burstMemory << 20
	total := b.report.Memory
	if total == 0 {
		total = reserved
	}
	r, err := b.serve(ctx, dir, vmexec.KVM, "--memory", fmt.Sprint(reserved))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.ready(ctx, time.Minute); err != nil {
		return err
	}
	type kind struct {
		what, tier, wanted string
		warm               bool
		most               float64 // bytes for one event
		all                []*held
	}
	var kinds []*kind
	for _, tier := range tiers[1:] {
		most := 1e6
		if tier.name == "Process" {
			most = 3e6
		}
		kinds = append(kinds,
			&kind{"nothing there before", tier.name, "3 s", false, most, nil},
			&kind{"machines there before", tier.name, "1.5 s", true, most, nil})
	}
	for range rounds {
		for _, k := range kinds {
			h, err := burst(ctx, r, k.tier, k.warm, events)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", k.tier, k.what, err)
			}
			k.all = append(k.all, h)
		}
	}
	for _, k := range kinds {
		var took []float64
		inFlight, refused := events, 0
		last := k.all[len(k.all)-1]
		for _, h := range k.all {
			took = append(took, float64(h.took))
			inFlight = min(inFlight, h.inFlight)
			refused += len(h.refused)
		}
		line := b.report.add(fmt.Sprintf("%d events at once, %s, %s", events, k.tier, k.what), took, nil)
		line.Wanted = k.wanted
		line.Figures = map[string]float64{
			"inFlight": float64(inFlight), "refused": float64(refused), "residentBefore": float64(last.resident),
			"guestMemoryMiB": burstMemory, "overcommit": float64(reserved) / float64(total),
		}
		notes := []string{fmt.Sprintf("in flight %d, refused %d, processes before %d", inFlight, refused, last.resident)}
		switch {
		case k.warm: // what it takes is there before
		case last.note != "":
			notes = append(notes, last.note)
		default:
			line.Figures["eventBytes"], line.Figures["eventMachineBytes"] = float64(last.each), float64(last.machine)
			notes = append(notes, fmt.Sprintf("%s each (PSS; wanted %s), %s of the machine's with what the kernel keeps",
				mebibytes(float64(last.each)), mebibytes(k.most), mebibytes(float64(last.machine))))
		}
		notes = append(notes, fmt.Sprintf("guests of %d MiB, %.2f of this machine's memory reserved", burstMemory, float64(reserved)/float64(total)))
		line.Note = strings.Join(notes, "; ")
	}
	return err
}

// burst has events come at once. Where they end before all of them are in flight, or
// before the memory was looked at, it does so again with events that take longer.
func burst(ctx context.Context, r *receiver, tier string, warm bool, events int) (*held, error) {
	for hold := burstHold; ; hold *= 2 {
		if !warm { // what another one left is gone
			time.Sleep(burstIdle)
			if left, err := idle(ctx, r, burstSettle); err != nil {
				return nil, err
			} else if left > 0 {
				return nil, fmt.Errorf("%d worker processes are left %v after the last event", left, burstIdle+burstSettle)
			}
		} else if _, err := postHold(ctx, r, tier); err != nil { // the pool of Process is filled again
			return nil, err
		}
		h, err := holdAll(ctx, r, r.url(strings.ToLower(tier)), events, hold, !warm)
		if err != nil || hold >= burstLongest || h.note == "" && h.inFlight+len(h.refused) >= events {
			return h, err
		}
	}
}

// postHold sends an event that is not held, and waits until machines are prepared
// again.
func postHold(ctx context.Context, r *receiver, tier string) (time.Duration, error) {
	_, took, err := postTo(ctx, http.DefaultClient, r.url(strings.ToLower(tier)), `{"hold":0}`)
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(burstIdle / 6):
	case <-ctx.Done():
		err = ctx.Err()
	}
	return took, err
}
