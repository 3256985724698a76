// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster runs the KontainSources of a Kubernetes cluster: those that fall to this
// adapter, since adapters share them out by leases.
//
// The sources are hashed to buckets, and a bucket is the adapter's that has its lease. An
// adapter that lost a lease has stopped the sources before another one may have it, as far
// as clocks can be trusted; for what they cannot, see package object: of two adapters that
// think they have a source only the one that claimed it last can send what it ran.
//
// An adapter writes one kind of object, the KontainSourceState, and events about sources.
// What of its state people shall see the controller writes into the source's status.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"knative.dev/pkg/reconciler"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	listers "kontain.dev/eventing/pkg/client/listers/sources/v1alpha1"
	"kontain.dev/eventing/pkg/server"
	servercluster "kontain.dev/eventing/pkg/server/cluster"
	"kontain.dev/eventing/pkg/source"
	"kontain.dev/eventing/pkg/source/journal/object"
	"kontain.dev/eventing/vmexec"
)

const (
	// lookers are how many sources are started and stopped at once.
	lookers = 16
	// pulls are how many images are fetched at once.
	pulls = 8
	// reportEvery is how often it is looked whether there is something to report.
	reportEvery = time.Second
)

// Config says where the sources are and what they may have.
type Config struct {
	// Informer tells of sources, and Lister has those it told of. It is started by others.
	Informer cache.SharedIndexInformer
	Lister   listers.KontainSourceLister
	// States writes the states of the sources of a namespace.
	States func(namespace string) object.Client
	// Identity is the name of the adapter's pod.
	Identity string

	Images server.Images
	// Machines gives what the machines of programs come from.
	Machines *server.Engine
	// NoKVM is why there is no KVM here; nil where there is.
	NoKVM error
	// AllowPtrace says whether the administrator lets sources run without KVM; see Changed.
	AllowPtrace func() bool

	// Token returns what proves to an audience that a service account sends.
	Token func(account types.NamespacedName, audience string) (string, error)
	// TrustBundles returns certificates, in PEM, that sinks' may be signed by; see Changed.
	TrustBundles func() []byte

	Events record.EventRecorder
	Logger *slog.Logger
	// Ran, when set, returns what hears of the runs of a source, NAMESPACE/NAME; see
	// source.Config.
	Ran func(name string) func(late, took time.Duration)
}

// Origin runs the sources of the buckets that it was promoted for.
type Origin struct {
	reconciler.LeaderAwareFuncs
	config Config
	queue  workqueue.TypedRateLimitingInterface[types.NamespacedName]
	pulls  chan struct{} // has a place for each that goes on

	mu    sync.Mutex
	ctx   context.Context // of Run; nil while it does not run
	lives map[types.NamespacedName]*life
}

// New makes an Origin, which does nothing before Run.
func New(c Config) *Origin {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.AllowPtrace == nil {
		c.AllowPtrace = func() bool { return false }
	}
	if c.TrustBundles == nil {
		c.TrustBundles = func() []byte { return nil }
	}
	o := &Origin{
		config: c,
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]()),
		pulls:  make(chan struct{}, pulls),
		lives:  map[types.NamespacedName]*life{},
	}
	o.PromoteFunc = o.promoted
	o.DemoteFunc = o.demoted
	return o
}

// Run runs sources until ctx is done; when it returns all are stopped, and what they did
// is written. The informer must have synced.
func (o *Origin) Run(ctx context.Context) error {
	o.mu.Lock()
	o.ctx = ctx
	o.mu.Unlock()
	handle := func(x any) {
		if key, err := cache.DeletionHandlingObjectToName(x); err == nil {
			o.queue.Add(types.NamespacedName{Namespace: key.Namespace, Name: key.Name})
		}
	}
	registration, err := o.config.Informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: handle, UpdateFunc: func(_, x any) { handle(x) }, DeleteFunc: handle,
	})
	if err != nil {
		return fmt.Errorf("watch KontainSources: %w", err)
	}
	defer o.config.Informer.RemoveEventHandler(registration) //nolint:errcheck // An informer that is stopped has none.
	var all sync.WaitGroup
	for range lookers {
		all.Go(func() {
			for o.next() {
			}
		})
	}
	all.Go(func() { o.report(ctx) })
	<-ctx.Done()
	o.queue.ShutDown()
	all.Wait()
	o.stop(func(types.NamespacedName) bool { return true })
	return nil
}

// Changed looks at every source again: something changed that they depend on.
func (o *Origin) Changed() { o.enqueue(func(types.NamespacedName) bool { return true }) }

func (o *Origin) enqueue(which func(types.NamespacedName) bool) {
	sources, err := o.config.Lister.List(labels.Everything())
	if err != nil {
		o.config.Logger.Error("KontainSources cannot be listed", "error", err)
		return
	}
	for _, k := range sources {
		if key := keyOf(k); which(key) {
			o.queue.Add(key)
		}
	}
}

func keyOf(k *v1alpha1.KontainSource) types.NamespacedName {
	return types.NamespacedName{Namespace: k.Namespace, Name: k.Name}
}

// promoted starts the sources of a bucket.
func (o *Origin) promoted(b reconciler.Bucket, _ func(reconciler.Bucket, types.NamespacedName)) error {
	o.config.Logger.Info("has the sources of a bucket", "bucket", b.Name())
	o.enqueue(b.Has)
	return nil
}

// demoted stops the sources of a bucket, whose lease is lost.
func (o *Origin) demoted(b reconciler.Bucket) {
	o.config.Logger.Info("has the sources of a bucket no longer", "bucket", b.Name())
	o.stop(b.Has)
}

// stop stops sources, all at once, and returns when they are.
func (o *Origin) stop(which func(types.NamespacedName) bool) {
	o.mu.Lock()
	var stopped []*life
	for key, l := range o.lives {
		if which(key) {
			l.quit()
			stopped = append(stopped, l)
			delete(o.lives, key)
		}
	}
	o.mu.Unlock()
	for _, l := range stopped {
		l.end()
	}
}

// next looks at the next source of the queue, one goroutine at each.
func (o *Origin) next() bool {
	key, shutdown := o.queue.Get()
	if shutdown {
		return false
	}
	defer o.queue.Done(key)
	o.look(key)
	return true
}

// look brings one source to what it should be.
func (o *Origin) look(key types.NamespacedName) {
	k, err := o.config.Lister.KontainSources(key.Namespace).Get(key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		o.config.Logger.Error("a KontainSource cannot be read", "source", key, "error", err)
		return
	}
	want := ""
	if err == nil && k.DeletionTimestamp == nil {
		k = k.DeepCopy()
		k.SetDefaults(context.Background())
		want = o.fingerprint(k)
	}
	o.mu.Lock()
	l := o.lives[key]
	if l != nil && want == "" && err == nil && l.source.UID == k.UID && k.Status.ObservedGeneration < k.Generation && k.DeletionTimestamp == nil && o.IsLeaderFor(key) {
		o.mu.Unlock()
		return // the generation before runs until the controller has seen this one
	}
	leads := o.IsLeaderFor(key)
	o.mu.Unlock()
	if l != nil && want != "" && leads {
		after := l.heir()
		if after != nil && after.print != want {
			after.cancel()
			<-after.done
			l.setHeir(nil)
		}
		switch {
		case l.print == want, after != nil && after.print == want:
			l.tick()
			return
		case l.source.UID == k.UID && l.source.Generation < k.Generation && !k.Spec.Suspend && l.runs():
			// Its image may not be there, now or ever, and what runs is worth more than nothing.
			o.begin(key, k, want, l)
			return
		}
	}
	o.mu.Lock()
	found := o.lives[key] == l
	if found {
		delete(o.lives, key)
	}
	o.mu.Unlock()
	if !found {
		o.queue.Add(key) // the one that takes over just did
		return
	}
	if l != nil {
		l.end()
	}
	if want != "" {
		o.begin(key, k, want, nil)
	}
}

// begin starts what a source should be, at once or, with before, when it is ready.
func (o *Origin) begin(key types.NamespacedName, k *v1alpha1.KontainSource, want string, before *life) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	// With the lock, so that what loses a lease finds all that was started under it.
	case o.ctx.Err() != nil || !o.IsLeaderFor(key):
	case o.lives[key] != before:
		o.queue.Add(key)
	case before != nil:
		before.setHeir(o.start(o.ctx, k, want, before))
	default:
		o.lives[key] = o.start(o.ctx, k, want, nil)
	}
}

// fingerprint stands for all that a source is run with; another one starts it anew. It is
// empty when the source is not to run: the controller has not seen this generation, or
// does not know where the events go.
func (o *Origin) fingerprint(k *v1alpha1.KontainSource) string {
	s := &k.Status
	if s.ObservedGeneration != k.Generation || s.SinkURI == nil ||
		!s.GetCondition(v1alpha1.ConditionDeadLetterSinkResolved).IsTrue() || !s.GetCondition(v1alpha1.ConditionOIDCIdentityCreated).IsTrue() {
		return ""
	}
	kind, reason, message := o.platform(k)
	text, err := json.Marshal([]any{
		k.UID, k.Generation, s.SinkURI, s.SinkCACerts, s.SinkAudience, s.DeliveryStatus, s.Auth, kind, reason, message,
		sha256.Sum256(o.config.TrustBundles()),
	})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// platform returns what a source runs on, or why it does not run.
func (o *Origin) platform(k *v1alpha1.KontainSource) (kind vmexec.Kind, reason, message string) {
	return servercluster.Platform(k.Spec.Platform, o.config.NoKVM, o.config.AllowPtrace())
}

// report has each source report when there is something.
func (o *Origin) report(ctx context.Context) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		o.mu.Lock()
		lives := make([]*life, 0, len(o.lives))
		for _, l := range o.lives {
			lives = append(lives, l)
		}
		o.mu.Unlock()
		for _, l := range lives {
			l.tick()
		}
	}
}

// Stats returns what each source that runs here did, by NAMESPACE/NAME, since this
// generation of it began here.
func (o *Origin) Stats() map[string]source.Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make(map[string]source.Stats, len(o.lives))
	for key, l := range o.lives {
		l.mu.Lock()
		all[key.String()] = l.stats()
		l.mu.Unlock()
	}
	return all
}
