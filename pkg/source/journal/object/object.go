// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package object keeps the journal of a source in an object of a Kubernetes API server,
// a KontainSourceState, for adapters whose pods have no volume and may go on elsewhere.
//
// The object is also the fence between two adapters that both think they have the
// source: whoever claims it writes its name there, and every write names the version
// that it is made to, so that the other one's next write is refused. A run is in the
// object before the first of its events is sent; what was delivered is noted a little
// later, with the next write, so that a run costs one write and not two.
package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/source/journal"
)

// Bounds of a journal. etcd takes objects of 1.5 MiB, in which these are written with a
// third more.
const (
	// MaxBytes is the most bytes of one run, and how many may wait before another run is
	// begun.
	MaxBytes = 384 << 10
	// MaxRuns is the most runs that may wait.
	MaxRuns = 1000
)

// How long after a change that may be made again it is written, and how failed writes
// are tried again.
const (
	deliveredDelay = 2 * time.Second
	passedDelay    = 10 * time.Second
	callTime       = 15 * time.Second
	firstRetry     = 100 * time.Millisecond
	mostRetry      = 10 * time.Second
	closeTime      = 5 * time.Second
)

// version is that of the text in the object.
const version = 1

// Errors of every method once the object is another's, or is gone.
var (
	ErrTaken = errors.New("another adapter has taken the source over")
	ErrGone  = errors.New("the state of the source is gone, and so is the source")
)

// Client writes the objects of one namespace.
type Client interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*v1alpha1.KontainSourceState, error)
	Create(ctx context.Context, s *v1alpha1.KontainSourceState, opts metav1.CreateOptions) (*v1alpha1.KontainSourceState, error)
	Update(ctx context.Context, s *v1alpha1.KontainSourceState, opts metav1.UpdateOptions) (*v1alpha1.KontainSourceState, error)
}

// content is what Journal of the object holds.
type content struct {
	Version int             `json:"version"`
	Reached journal.Reached `json:"reached"`
	Runs    []journal.Run   `json:"runs,omitempty"` // that wait, in their order
}

// decode reads it. An empty one is that of a source that is new.
func decode(b []byte) (*content, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var c content
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("the state is damaged (%w); delete the KontainSourceState, and what waits in it is lost", err)
	}
	if c.Version != version {
		return nil, fmt.Errorf("the state has the format %d; this release reads %d", c.Version, version)
	}
	last := c.Reached.Run
	for _, r := range c.Runs {
		if r.Number <= last {
			return nil, fmt.Errorf("the state is damaged (run %d comes after run %d); delete the KontainSourceState, and what waits in it is lost", r.Number, last)
		}
		last = r.Number
	}
	return &c, nil
}

// Journal is one source's. Its methods may be called from several goroutines.
type Journal struct {
	client Client
	report func() v1alpha1.Report
	log    *slog.Logger
	ctx    context.Context // of all calls but the last
	cancel context.CancelFunc
	wake   chan struct{} // due changed
	done   sync.WaitGroup
	over   chan struct{} // closed with lost

	write sync.Mutex // held while the object is written

	mu      sync.Mutex
	object  *v1alpha1.KontainSourceState // as it was written last, without its journal
	begin   v1alpha1.Report              // as it was found
	reached journal.Reached
	waiting []entry
	size    int64 // of waiting
	next    uint64
	dealt   time.Time
	due     time.Time // when what changed is written; zero: nothing did
	lost    error     // why nothing is written any more
}

type entry struct {
	journal.Run
	size int64
	safe bool // it is in the object
}

// Config says whose journal it is.
type Config struct {
	Client Client
	Source *v1alpha1.KontainSource
	// Identity is the name of the adapter's pod.
	Identity string
	// Report is asked for what the controller shall know, each time that something is
	// written. Nil: what was reported before.
	Report func() v1alpha1.Report
	Logger *slog.Logger
}

// Claim takes the journal of a source over, from whoever has it, or makes it. It ends with
// ctx, after which nothing is written but by Close.
func Claim(ctx context.Context, c Config) (*Journal, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	holder := c.Identity + "/" + string(uuid.NewUUID())
	for {
		object, found, err := claim(ctx, &c, holder)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue // somebody else was faster, and is overtaken
		}
		if err != nil {
			return nil, fmt.Errorf("take over the KontainSourceState: %w", err)
		}
		j := &Journal{client: c.Client, report: c.Report, log: c.Logger, wake: make(chan struct{}, 1), over: make(chan struct{})}
		j.ctx, j.cancel = context.WithCancel(ctx)
		j.load(object, found)
		j.done.Go(j.flush)
		return j, nil
	}
}

// claim writes the holder into the object.
func claim(ctx context.Context, c *Config, holder string) (*v1alpha1.KontainSourceState, *content, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	k := c.Source
	// The holder is no controller of the object in Kubernetes's sense: it is not to be
	// mistaken for one.
	owner := metav1.OwnerReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "KontainSource", Name: k.Name, UID: k.UID}
	object, err := c.Client.Get(ctx, k.Name, metav1.GetOptions{})
	isNew := apierrors.IsNotFound(err)
	if err != nil && !isNew {
		return nil, nil, err
	}
	var found *content
	if !isNew && len(object.OwnerReferences) == 1 && object.OwnerReferences[0].UID == k.UID {
		if found, err = decode(object.Journal); err != nil {
			return nil, nil, err
		}
	} else {
		// One of a source of the same name that was deleted has nothing of this one's.
		var meta metav1.ObjectMeta
		if !isNew {
			meta = object.ObjectMeta
		}
		meta.Namespace, meta.Name = k.Namespace, k.Name
		object = &v1alpha1.KontainSourceState{ObjectMeta: meta}
	}
	object = object.DeepCopy()
	object.OwnerReferences = []metav1.OwnerReference{owner}
	object.Holder = holder
	if found == nil {
		found = &content{Version: version, Reached: journal.Reached{Begun: time.Now()}}
		if object.Journal, err = json.Marshal(found); err != nil {
			return nil, nil, err
		}
	}
	if isNew {
		object, err = c.Client.Create(ctx, object, metav1.CreateOptions{})
	} else {
		object, err = c.Client.Update(ctx, object, metav1.UpdateOptions{})
	}
	return object, found, err
}

func (j *Journal) load(object *v1alpha1.KontainSourceState, c *content) {
	j.begin = *object.Report.DeepCopy()
	j.keep(object)
	j.reached, j.next, j.dealt = c.Reached, c.Reached.Run+1, c.Reached.Passed
	for _, r := range c.Runs {
		size := sizeOf(&r)
		j.waiting = append(j.waiting, entry{r, size, true})
		j.size += size
		j.next = r.Number + 1
		j.dealWith(r.Scheduled)
	}
}

// keep remembers the object as it is there now. j.mu is held, or nobody else has j.
func (j *Journal) keep(object *v1alpha1.KontainSourceState) {
	object = object.DeepCopy()
	object.Journal = nil // it is made anew
	j.object = object
}

// sizeOf returns how large a run is in the object.
func sizeOf(r *journal.Run) int64 {
	size := int64(len(r.State))*4/3 + 128
	for _, e := range r.Events {
		size += int64(len(e)) + 1
	}
	return size
}

func (j *Journal) dealWith(t time.Time) {
	if t.After(j.dealt) {
		j.dealt = t
	}
}

// Found returns what the adapter before had reported.
func (j *Journal) Found() v1alpha1.Report { return j.begin }

// Reached returns what was reached. Its State must not be changed.
func (j *Journal) Reached() journal.Reached {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.reached
}

// Dealt returns up to when all that was due was dealt with, by a run or not.
func (j *Journal) Dealt() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dealt
}

// Waiting returns how many runs wait for the sink, and their bytes.
func (j *Journal) Waiting() (runs int, bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.waiting), j.size
}

// Room says whether another run may be begun: nil, or a *journal.FullError.
func (j *Journal) Room() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) >= MaxRuns || j.size >= MaxBytes {
		return &journal.FullError{Runs: len(j.waiting), Bytes: j.size}
	}
	return nil
}

// Add adds a run that was due at scheduled and returns its number. When it returns, the
// run is in the object. It waits for an API server that does not answer. The error is a
// *journal.TooLargeError, ErrTaken, ErrGone, or that of the context of Claim.
func (j *Journal) Add(scheduled time.Time, events []json.RawMessage, state []byte) (uint64, error) {
	r := journal.Run{Scheduled: scheduled, Events: events, State: state}
	size := sizeOf(&r)
	if size > MaxBytes {
		return 0, &journal.TooLargeError{Bytes: size, Most: MaxBytes}
	}
	j.mu.Lock()
	if j.lost != nil {
		defer j.mu.Unlock()
		return 0, j.lost
	}
	r.Number = j.next
	j.next++
	dealt := j.dealt
	j.dealWith(scheduled)
	j.waiting = append(j.waiting, entry{r, size, false})
	j.size += size
	j.mu.Unlock()
	if err := j.save(j.ctx); err != nil {
		// Nothing will be written any more: the run is made again by whoever has the source.
		j.mu.Lock()
		j.dealt = dealt
		j.mu.Unlock()
		return 0, err
	}
	return r.Number, nil
}

// Oldest returns the first run that waits and is in the object; nil when none is.
func (j *Journal) Oldest() (*journal.Run, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost != nil {
		return nil, j.lost
	}
	if len(j.waiting) == 0 || !j.waiting[0].safe {
		return nil, nil
	}
	r := j.waiting[0].Run
	return &r, nil
}

// Delivered notes that the oldest run was taken by the sink: its state is now the
// source's. It is written with what comes next, or soon: an adapter that is killed before
// sends the events again.
func (j *Journal) Delivered(r *journal.Run) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost != nil {
		return j.lost
	}
	if len(j.waiting) == 0 || j.waiting[0].Number != r.Number {
		return fmt.Errorf("journal: run %d is not the oldest one", r.Number)
	}
	j.size -= j.waiting[0].size
	j.waiting = j.waiting[1:]
	j.reached.Run, j.reached.Scheduled, j.reached.State, j.reached.Delivered = r.Number, r.Scheduled, r.State, time.Now()
	if j.reached.Passed.Before(r.Scheduled) {
		j.reached.Passed = r.Scheduled
	}
	j.change(deliveredDelay)
	return nil
}

// Passed notes that all which was due up to t was dealt with though no run came of the
// last of it. It is written with what comes next, or soon.
func (j *Journal) Passed(t time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost != nil || !t.After(j.dealt) {
		return j.lost
	}
	j.reached.Passed = t
	j.dealWith(t)
	j.change(passedDelay)
	return nil
}

// Report has what is to be reported written after a time, if nothing is before.
func (j *Journal) Report(after time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.change(after)
}

// change has what changed written after a time at most. j.mu is held.
func (j *Journal) change(after time.Duration) {
	at := time.Now().Add(after)
	if !j.due.IsZero() && j.due.Before(at) {
		return
	}
	j.due = at
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// flush writes what changed when it is due.
func (j *Journal) flush() {
	for {
		j.mu.Lock()
		due := j.due
		j.mu.Unlock()
		var timer *time.Timer
		var at <-chan time.Time
		if !due.IsZero() {
			timer = time.NewTimer(time.Until(due))
			at = timer.C
		}
		select {
		case <-j.ctx.Done():
		case <-j.wake:
		case <-at:
			if err := j.save(j.ctx); err != nil && j.ctx.Err() == nil {
				return // and every method says why
			}
		}
		if timer != nil {
			timer.Stop()
		}
		if j.ctx.Err() != nil {
			return
		}
	}
}

// save writes the object, and tries until it is written, another adapter has it, it is
// gone, or ctx is done.
func (j *Journal) save(ctx context.Context) error {
	j.write.Lock()
	defer j.write.Unlock()
	for wait := firstRetry; ; wait = min(2*wait, mostRetry) {
		object, last, err := j.snapshot()
		if err != nil {
			return err
		}
		call, cancel := context.WithTimeout(ctx, callTime)
		got, err := j.client.Update(call, object, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			got, err = j.contested(call)
			if err == nil && got == nil {
				cancel()
				continue // only its metadata is another one
			}
		}
		cancel()
		switch {
		case err == nil:
			j.written(got, last)
			return nil
		case apierrors.IsNotFound(err):
			return j.lose(ErrGone)
		case errors.Is(err, ErrTaken):
			return j.lose(err)
		case ctx.Err() != nil:
			j.Report(0) // what changed is still to be written
			return ctx.Err()
		case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
			return j.lose(fmt.Errorf("write the KontainSourceState: %w", err))
		}
		j.log.Warn("the state of the source is not written; nothing new is sent until it is", "error", err, "next", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			j.Report(0)
			return ctx.Err()
		}
	}
}

// contested finds out who wrote the object: nil and no error say that it was nobody who
// counts, and that the next attempt is made to what is there now.
func (j *Journal) contested(ctx context.Context) (*v1alpha1.KontainSourceState, error) {
	j.mu.Lock()
	name, holder := j.object.Name, j.object.Holder
	j.mu.Unlock()
	now, err := j.client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if now.Holder != holder {
		return nil, fmt.Errorf("%w: %s", ErrTaken, now.Holder)
	}
	// Perhaps by ourselves, in a call whose answer was lost.
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keep(now)
	return nil, nil
}

// snapshot returns the object as it is to be written, and the number of the last run in it.
func (j *Journal) snapshot() (*v1alpha1.KontainSourceState, uint64, error) {
	var report *v1alpha1.Report
	if j.report != nil { // without the lock: it may ask for what the lock is of
		r := j.report()
		report = &r
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost != nil {
		return nil, 0, j.lost
	}
	c := content{Version: version, Reached: j.reached, Runs: make([]journal.Run, len(j.waiting))}
	last := j.reached.Run
	for i, e := range j.waiting {
		c.Runs[i], last = e.Run, e.Number
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, 0, fmt.Errorf("journal: %w", err)
	}
	object := j.object.DeepCopy()
	object.Journal = text
	if report != nil {
		object.Report = *report
	}
	j.due = time.Time{}
	return object, last, nil
}

// written notes that all up to a run is in the object.
func (j *Journal) written(object *v1alpha1.KontainSourceState, last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keep(object)
	for i := range j.waiting {
		if j.waiting[i].Number <= last {
			j.waiting[i].safe = true
		}
	}
}

// lose notes why nothing is written any more.
func (j *Journal) lose(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost == nil {
		j.lost = err
		close(j.over)
	}
	return j.lost
}

// Lost is closed when the object is another's, or is gone: the source is to be stopped.
func (j *Journal) Lost() <-chan struct{} { return j.over }

// Close writes what has changed, unless that takes long or the object is another's, and
// ends the journal.
func (j *Journal) Close() error {
	j.cancel()
	j.done.Wait()
	j.mu.Lock()
	changed := !j.due.IsZero() && j.lost == nil
	j.mu.Unlock()
	if !changed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := j.save(ctx); err != nil && !errors.Is(err, ErrTaken) && !errors.Is(err, ErrGone) {
		return fmt.Errorf("the state of the source is not written: %w", err)
	}
	return nil
}
