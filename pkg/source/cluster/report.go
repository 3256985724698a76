// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/sinkstatus"
	"kontain.dev/eventing/pkg/source"
	"kontain.dev/eventing/pkg/source/journal/object"
	"kontain.dev/eventing/vmexec"
)

// historyEvery is how often counts are written by themselves; other writes have them too.
const historyEvery = 10 * time.Second

// mostMessage is the most bytes of a message.
const mostMessage = 1024

// findings are what is known of a source beside the statistics of its adapter.
type findings struct {
	image                         string
	resolved, scheduled, isolated v1alpha1.Finding
}

// unknown are those of a source of which nothing is known yet.
var unknown = findings{
	resolved:  v1alpha1.Finding{Reason: sinkstatus.ReasonPending, Message: "the image is being fetched"},
	scheduled: v1alpha1.Finding{Reason: sinkstatus.ReasonPending, Message: "an adapter prepares the source"},
}

// carried is what the adapter before has left, until there is something newer.
type carried struct {
	succeeding, delivering v1alpha1.Finding
}

// clip keeps a message short, whole in UTF-8 and on one line.
func clip(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\n", " "), "?")
	if len(s) > mostMessage {
		s = strings.ToValidUTF8(s[:mostMessage-3], "") + "..."
	}
	return s
}

// claimed notes that the source is this adapter's.
func (l *life) claimed(j *object.Journal) {
	found := j.Found()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal, l.history, l.seen = j, found.History, source.Stats{}
	if l.ready != nil {
		return // what was reported for it so far is of the generation before
	}
	l.found = unknown
	if found.Generation == l.source.Generation {
		l.found.image = found.Image
		l.carried = carried{found.Succeeding, found.Delivering}
	}
}

// released notes that it is no longer.
func (l *life) released() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = l.historyNow()
	l.journal, l.adapter = nil, nil
}

// pinned returns the image that this generation was begun with, if it was.
func (l *life) pinned() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found.image
}

// find changes what was found, and has it reported.
func (l *life) find(change func(*findings)) {
	l.mu.Lock()
	change(&l.found)
	before := l.before
	l.mu.Unlock()
	if before != nil {
		before.tick()
		return
	}
	l.tick()
}

// meanwhile says what goes on until this generation runs.
func (l *life) meanwhile() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.before == nil {
		return ""
	}
	return fmt.Sprintf("; generation %d runs on until then", l.before.source.Generation)
}

// running notes that the source runs.
func (l *life) running(a *source.Adapter, kind vmexec.Kind) {
	l.mu.Lock()
	l.adapter = a
	l.mu.Unlock()
	l.find(func(f *findings) {
		f.isolated = isolated(kind)
		f.scheduled = v1alpha1.Finding{Status: v1alpha1.FindingTrue}
		if l.source.Spec.Suspend {
			f.scheduled.Reason, f.scheduled.Message = "Suspended", "spec.suspend is true: no run is begun"
		}
	})
}

// sinkFailed hears of an attempt that will be followed by another.
func (l *life) sinkFailed(err error, wait time.Duration) {
	l.log.Debug("an event waits for the sink", "error", err, "next", wait)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sinkErr, l.sinkFail = err.Error(), time.Now()
}

// report returns what the controller shall know. It is called without a lock of the journal.
func (l *life) report() v1alpha1.Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats()
	r := v1alpha1.Report{
		Generation: l.source.Generation, Image: l.found.image,
		ImageResolved: l.found.resolved, Scheduled: l.found.scheduled, Isolated: l.found.isolated,
		Succeeding: l.carried.succeeding, Delivering: l.carried.delivering,
		History: l.historyNow(),
	}
	if after := l.after; after != nil {
		// What is asked for now is not what runs. Its image is not named before it runs:
		// an adapter that comes to the source later begins with the image of a report.
		after.mu.Lock()
		r.Generation, r.Image = after.source.Generation, ""
		r.ImageResolved, r.Scheduled = after.found.resolved, after.found.scheduled
		after.mu.Unlock()
	}
	switch {
	case s.LastFailure.After(s.LastSuccess):
		r.Succeeding = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "RunFailed", Message: clip(s.RunError)}
	case !s.LastSuccess.IsZero():
		r.Succeeding = v1alpha1.Finding{Status: v1alpha1.FindingTrue}
	}
	switch {
	case l.sinkFail.After(s.LastSent):
		r.Delivering = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "SinkFails", Message: clip(l.sinkErr)}
	case s.LastLost.After(s.LastSent):
		r.Delivering = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "EventLost", Message: clip(s.LostError)}
	case !s.LastSent.IsZero():
		r.Delivering = v1alpha1.Finding{Status: v1alpha1.FindingTrue}
	}
	return r
}

// stats returns the adapter's statistics. l.mu is held.
func (l *life) stats() source.Stats {
	if l.adapter == nil {
		return source.Stats{}
	}
	return l.adapter.Stats()
}

// historyNow returns the history with what this adapter has done. l.mu is held.
func (l *life) historyNow() v1alpha1.History {
	h := *l.history.DeepCopy()
	if l.adapter == nil {
		return h
	}
	s := l.stats()
	h.Runs += int64(s.Runs)
	h.Failed += int64(s.Failed)
	h.Missed += int64(s.Missed)
	h.Sent += int64(s.Sent)
	h.Lost += int64(s.Lost)
	h.Waiting = int64(s.Waiting)
	for _, t := range []struct {
		to   **metav1.Time
		from time.Time
	}{{&h.LastRun, s.LastRun}, {&h.LastSuccess, s.LastSuccess}, {&h.LastFailure, s.LastFailure}, {&h.LastSent, s.LastSent}} {
		if !t.from.IsZero() {
			*t.to = &metav1.Time{Time: t.from.Truncate(time.Second)}
		}
	}
	h.NextRun = nil
	if !s.NextRun.IsZero() && !l.source.Spec.Suspend {
		h.NextRun = &metav1.Time{Time: s.NextRun.Truncate(time.Second)}
	}
	return h
}

// tick has something reported if there is something: findings at once, counts after a
// while. It makes events of what went wrong since it was called last.
func (l *life) tick() {
	r := l.report()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.journal == nil {
		return
	}
	s := l.stats()
	if l.adapter != nil {
		l.events(&s)
		l.seen = s
	}
	before := l.told
	before.History = r.History
	switch {
	case before != r: // something that people wait for
	case !equality.Semantic.DeepEqual(l.told.History, r.History) && time.Since(l.toldAt) >= historyEvery:
	default:
		return
	}
	l.told, l.toldAt = r, time.Now()
	l.journal.Report(0)
}

// events tells of what went wrong since the last time, at most once of each kind; what
// repeats itself is counted by the recorder. l.mu is held.
func (l *life) events(s *source.Stats) {
	warn := func(reason, format string, args ...any) {
		l.origin.config.Events.Eventf(l.source, corev1.EventTypeWarning, reason, format, args...)
	}
	if n := s.Failed - l.seen.Failed; n > 0 {
		warn("RunFailed", "%s", clip(s.RunError))
	}
	if n := s.Lost - l.seen.Lost; n > 0 {
		warn("EventLost", "%s", clip(s.LostError))
	}
	if n := s.Missed - l.seen.Missed; n > 0 {
		warn("RunsMissed", "runs were due and not begun: the adapter was away, or too much waits for the sink")
	}
}
