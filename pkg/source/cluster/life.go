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

// life is a source while it is run here.
type life struct {
	origin *Origin
	source *v1alpha1.KontainSource // with its defaults
	print  string
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
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

// start runs a source until ctx is done.
func (o *Origin) start(ctx context.Context, k *v1alpha1.KontainSource, print string) *life {
	l := &life{
		origin: o, source: k, print: print, done: make(chan struct{}),
		log: o.config.Logger.With("source", k.Namespace+"/"+k.Name),
	}
	ctx, l.cancel = context.WithCancel(ctx)
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
	return l
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
		l.log.Error("the source is stopped", "error", err, "next", wait)
		if !errors.Is(err, object.ErrTaken) && !errors.Is(err, object.ErrGone) {
			l.origin.config.Events.Event(l.source, corev1.EventTypeWarning, "NotRun", clip(err.Error()))
		}
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
	k := l.source
	if err := k.Validate(ctx); err != nil {
		// The webhook has refused what is wrong, unless it was not there.
		return l.refuse(ctx, sinkstatus.ReasonInvalid, err.Error())
	}
	kind, reason, message := l.origin.platform(k)
	if reason != "" {
		return l.refuse(ctx, reason, message)
	}
	sender, err := l.sender()
	if err != nil {
		return l.refuse(ctx, sinkstatus.ReasonInvalid, err.Error())
	}
	defer sender.Close()
	config, err := source.FromKontainSource(k)
	if err != nil {
		return l.refuse(ctx, sinkstatus.ReasonInvalid, err.Error())
	}
	function := server.FromManifest(manifest.Source{KontainSource: k}.Function())
	function.Scope, function.Platform = k.Namespace, kind
	maker := programs.Maker{Images: images{l}, Machines: l.origin.config.Machines}
	program, err := maker.Make(ctx, &k.Spec, function, &config, l.log)
	if err != nil {
		return l.fail(ctx, err)
	}
	defer func() {
		if err := program.Close(); err != nil {
			l.log.Error("machines not closed", "error", err)
		}
	}()
	config.Journal, config.Sender, config.Logger = j, sender, l.log
	adapter := source.New(config)
	l.running(adapter, kind)
	l.log.Info("source", "sink", k.Status.SinkURI, "image", program.Image, "waiting", adapter.Stats().Waiting)
	if err := adapter.Run(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	l.find(func(f *findings) {
		f.scheduled = v1alpha1.Finding{Status: v1alpha1.FindingTrue, Reason: "Completed", Message: "nothing is due any more, and all events are sent"}
	})
	<-ctx.Done()
	return nil
}

// refuse says why a source is not run, until something changes.
func (l *life) refuse(ctx context.Context, reason, message string) error {
	l.log.Warn("the source is not run", "reason", reason, "message", message)
	l.find(func(f *findings) {
		f.scheduled = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: reason, Message: clip(message)}
	})
	<-ctx.Done()
	return nil
}

// fail says that a source could not be started.
func (l *life) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.find(func(f *findings) {
		f.scheduled = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "ProgramNotReady", Message: clip(err.Error())}
	})
	return err
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
		l.log.Warn("the image is not to be had", "image", r.Ref, "error", err, "next", wait)
		l.find(func(f *findings) {
			f.resolved = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: sinkstatus.ReasonImagePullFailed, Message: clip(err.Error())}
			f.scheduled = v1alpha1.Finding{Reason: sinkstatus.ReasonPending, Message: "the image is not there yet"}
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
