// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/manifest"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/sinkstatus"
	"kontain.dev/eventing/pkg/source"
	"kontain.dev/eventing/pkg/source/deliver"
	"kontain.dev/eventing/pkg/source/journal/object"
	"kontain.dev/eventing/pkg/source/programs"
	"kontain.dev/eventing/vmexec"
)

// How a source that could not be started, and an image that could not be had, are tried
// again; and how long a source is left alone that another adapter took over, although
// this one has its lease: the other one has then noticed that it has it no longer.
const (
	firstRetry = time.Second
	mostRetry  = 5 * time.Minute
	steady     = time.Minute // that ran so long begins with firstRetry again
	takenRetry = 20 * time.Second
)

// life is a generation of a source while it is run here, or made ready to be.
type life struct {
	origin *Origin
	source *v1alpha1.KontainSource // with its defaults
	print  string
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}
	ready  *prepared // what it begins with; nil: that is made once the source is claimed

	mu       sync.Mutex
	before   *life           // runs until this one is ready
	after    *life           // takes over once it is ready
	journal  *object.Journal // nil while it is not claimed
	adapter  *source.Adapter // nil while it does not run
	found    findings        // what is not in the statistics of the adapter
	history  v1alpha1.History
	carried  carried
	seen     source.Stats // that events were made of
	told     v1alpha1.Report
	toldAt   time.Time
	sinkErr  string // of the last attempt that failed
	sinkFail time.Time
}

// start runs a source until ctx is done; with before, once it is ready to: until then
// that one runs on.
func (o *Origin) start(ctx context.Context, k *v1alpha1.KontainSource, print string, before *life) *life {
	l := &life{
		origin: o, source: k, print: print, done: make(chan struct{}), before: before,
		log:   o.config.Logger.With("source", k.Namespace+"/"+k.Name),
		found: unknown,
	}
	ctx, l.cancel = context.WithCancel(ctx)
	go func() {
		defer close(l.done)
		if before == nil || l.takeOver(ctx, before) {
			l.run(ctx)
			l.ready.close(l.log) // it may never have begun
		}
	}()
	return l
}

// takeOver makes the source ready and ends the generation before, which runs until then.
// It says whether there is something to be run.
func (l *life) takeOver(ctx context.Context, before *life) bool {
	before.tick()
	var p *prepared
	for wait := firstRetry; ; wait = min(2*wait, mostRetry) {
		var err error
		if p, err = l.prepare(ctx); err == nil {
			break
		}
		if refused := (*refusal)(nil); errors.As(err, &refused) {
			break // run finds the same, and says so
		}
		if ctx.Err() != nil {
			return false
		}
		l.notRun(err, wait)
		if !sleep(ctx, wait) {
			return false
		}
	}
	if !l.origin.succeeds(ctx, l, before) {
		p.close(l.log)
		return false
	}
	before.cancel()
	<-before.done
	l.mu.Lock()
	l.before = nil
	l.mu.Unlock()
	l.ready = p
	return true
}

// succeeds puts a life in the place of the one before, if that is still there.
func (o *Origin) succeeds(ctx context.Context, l, before *life) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := keyOf(l.source)
	if ctx.Err() != nil || o.lives[key] != before {
		return false
	}
	o.lives[key] = l
	return true
}

// heir returns who takes over; nil: nobody.
func (l *life) heir() *life {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.after
}

func (l *life) setHeir(after *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after = after
}

// runs says whether the program is there.
func (l *life) runs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.adapter != nil
}

// quit tells the life, and who would take it over, to end.
func (l *life) quit() {
	l.cancel()
	if after := l.heir(); after != nil {
		after.cancel()
	}
}

// end ends them; it returns once they are.
func (l *life) end() {
	l.quit()
	if after := l.heir(); after != nil {
		<-after.done
	}
	<-l.done
}

// notRun tells why a source does not run.
func (l *life) notRun(err error, wait time.Duration) {
	l.log.Error("the source is stopped", "error", err, "next", wait)
	if !errors.Is(err, object.ErrTaken) && !errors.Is(err, object.ErrGone) {
		l.origin.config.Events.Event(l.source, corev1.EventTypeWarning, "NotRun", clip(err.Error()))
	}
}

// run runs the source, again and again should that fail.
func (l *life) run(ctx context.Context) {
	for wait := firstRetry; ; wait = min(2*wait, mostRetry) {
		began := time.Now()
		err := l.try(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			wait = firstRetry
		}
		if errors.Is(err, object.ErrTaken) {
			wait = takenRetry
		}
		l.notRun(err, wait)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// sleep waits, and says whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// try claims the source and runs it until ctx is done or it cannot go on.
func (l *life) try(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &l.origin.config
	j, err := object.Claim(ctx, object.Config{
		Client: c.States(l.source.Namespace), Source: l.source, Identity: c.Identity, Report: l.report, Logger: l.log,
	})
	if err != nil {
		return err
	}
	l.claimed(j)
	defer func() {
		if closed := j.Close(); closed != nil {
			l.log.Warn("what was delivered last will be sent again", "error", closed)
		}
		l.released()
	}()
	var lost error
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-j.Lost():
			_, lost = j.Oldest() // says why
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() {
		cancel()
		<-stopped
		err = errors.Join(err, lost)
	}()
	return l.runClaimed(ctx, j)
}

// runClaimed runs a source whose journal is there.
func (l *life) runClaimed(ctx context.Context, j *object.Journal) error {
	p := l.ready
	l.ready = nil
	if p == nil {
		var err error
		if p, err = l.prepare(ctx); err != nil {
			if refused := (*refusal)(nil); errors.As(err, &refused) {
				return l.refuse(ctx, refused)
			}
			return err
		}
	}
	defer p.close(l.log)
	p.config.Journal = j
	adapter := source.New(p.config)
	l.running(adapter, p.kind)
	l.log.Info("source", "sink", l.source.Status.SinkURI, "image", p.program.Image, "waiting", adapter.Stats().Waiting)
	if err := adapter.Run(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	l.find(func(f *findings) {
		f.scheduled = v1alpha1.Finding{Status: v1alpha1.FindingTrue, Reason: "Completed", Message: "nothing is due any more, and all events are sent"}
	})
	<-ctx.Done()
	return nil
}

// prepared is what a source runs with.
type prepared struct {
	kind    vmexec.Kind
	sender  *deliver.Sender
	program *programs.Program
	config  source.Config // without a journal
}

// close frees it; nil has nothing.
func (p *prepared) close(log *slog.Logger) {
	if p == nil {
		return
	}
	p.sender.Close()
	if err := p.program.Close(); err != nil {
		log.Error("machines not closed", "error", err)
	}
}

// prepare makes all ready that a source runs with, and waits for its image. The error is
// a *refusal when that has no hope until something changes.
func (l *life) prepare(ctx context.Context) (_ *prepared, err error) {
	k, p := l.source, &prepared{}
	if err := k.Validate(ctx); err != nil {
		// The webhook has refused what is wrong, unless it was not there.
		return nil, &refusal{sinkstatus.ReasonInvalid, err.Error()}
	}
	kind, reason, message := l.origin.platform(k)
	if reason != "" {
		return nil, &refusal{reason, message}
	}
	p.kind = kind
	if p.config, err = source.FromKontainSource(k); err != nil {
		return nil, &refusal{sinkstatus.ReasonInvalid, err.Error()}
	}
	if p.sender, err = l.sender(); err != nil {
		return nil, &refusal{sinkstatus.ReasonInvalid, err.Error()}
	}
	p.config.Sender, p.config.Logger = p.sender, l.log
	if ran := l.origin.config.Ran; ran != nil {
		p.config.Ran = ran(keyOf(k).String())
	}
	function := server.FromManifest(manifest.Source{KontainSource: k}.Function())
	function.Scope, function.Platform = k.Namespace, kind
	maker := programs.Maker{Images: images{l}, Machines: l.origin.config.Machines}
	if p.program, err = maker.Make(ctx, &k.Spec, function, &p.config, l.log); err == nil {
		return p, nil
	}
	p.sender.Close()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l.find(func(f *findings) {
		f.scheduled = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "ProgramNotReady", Message: clip(err.Error())}
	})
	return nil, err
}

// refusal is why a source is not run until something changes.
type refusal struct{ reason, message string }

func (r *refusal) Error() string { return r.reason + ": " + r.message }

// refuse says why a source is not run, until something changes.
func (l *life) refuse(ctx context.Context, r *refusal) error {
	l.log.Warn("the source is not run", "reason", r.reason, "message", r.message)
	l.find(func(f *findings) {
		f.scheduled = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: r.reason, Message: clip(r.message)}
	})
	<-ctx.Done()
	return nil
}

// images gets the image of one source: the one that this generation was begun with, or
// what its tag means now.
type images struct{ *life }

// Get waits until the image is there. The error is that of ctx.
func (l images) Get(ctx context.Context, r image.Request) (*image.Image, error) {
	if pinned := l.pinned(); pinned != "" {
		r.Ref = pinned
		if r.Policy != image.Never {
			r.Policy = image.IfNotPresent
		}
	}
	for wait := firstRetry; ; wait = min(2*wait, mostRetry) {
		i, err := l.pull(ctx, r)
		if err == nil {
			digest := ""
			if ref, err := image.ParseReference(i.Ref); err == nil {
				digest = ref.At(i.Digest)
			}
			l.find(func(f *findings) {
				f.image, f.resolved = digest, v1alpha1.Finding{Status: v1alpha1.FindingTrue}
			})
			return i, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		pending := "the image is not there yet" + l.meanwhile()
		l.log.Warn("the image is not to be had", "image", r.Ref, "error", err, "next", wait)
		l.find(func(f *findings) {
			f.resolved = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: sinkstatus.ReasonImagePullFailed, Message: clip(err.Error())}
			f.scheduled = v1alpha1.Finding{Reason: sinkstatus.ReasonPending, Message: pending}
		})
		if !sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}

// pull waits for its turn and fetches an image.
func (l *life) pull(ctx context.Context, r image.Request) (*image.Image, error) {
	select {
	case l.origin.pulls <- struct{}{}:
		defer func() { <-l.origin.pulls }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ref, err := image.ParseReference(r.Ref)
	if err == nil && ref.Kind != image.Registry {
		err = errors.New("in a cluster an image comes from a registry") // anything else is a file of the adapter
	}
	if err != nil {
		return nil, fmt.Errorf("spec.image: %w", err)
	}
	return l.origin.config.Images.Get(ctx, r)
}

// sender returns what sends the source's events where the controller found that they go.
func (l *life) sender() (*deliver.Sender, error) {
	k := l.source
	s := &k.Status
	delivery := k.Spec.Delivery.DeepCopy()
	if delivery != nil && delivery.DeadLetterSink != nil {
		delivery.DeadLetterSink = &duckv1.Destination{URI: s.DeadLetterSinkURI}
	}
	policy, err := source.Policy(delivery)
	if err != nil {
		return nil, err
	}
	if policy.DeadLetter != nil {
		policy.DeadLetter = l.target(policy.DeadLetter.URL, s.DeadLetterSinkCACerts, s.DeadLetterSinkAudience)
	}
	sender, err := deliver.New(*l.target(s.SinkURI.String(), s.SinkCACerts, s.SinkAudience), policy)
	if err != nil {
		return nil, err
	}
	sender.Failed = l.sinkFailed
	return sender, nil
}

func (l *life) target(url string, ca, audience *string) *deliver.Target {
	t := &deliver.Target{URL: url, CACerts: l.origin.config.TrustBundles()}
	if ca != nil {
		t.CACerts = append(append([]byte(*ca), '\n'), t.CACerts...)
	}
	if auth := l.source.Status.Auth; audience != nil && *audience != "" && auth != nil && auth.ServiceAccountName != nil {
		account := types.NamespacedName{Namespace: l.source.Namespace, Name: *auth.ServiceAccountName}
		t.Token = func() (string, error) { return l.origin.config.Token(account, *audience) }
	}
	return t
}

// isolated says whether the isolation that is asked for is the one in use.
func isolated(kind vmexec.Kind) v1alpha1.Finding {
	if kind == vmexec.Ptrace {
		return v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "Ptrace", Message: "without KVM a program is isolated as a process is, not by a virtual machine"}
	}
	return v1alpha1.Finding{Status: v1alpha1.FindingTrue}
}
