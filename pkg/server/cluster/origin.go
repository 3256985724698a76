// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster has the sinks of a receiver in a Kubernetes cluster: KontainSinks
// that an informer tells of, the status that the controller asks for, and who may send
// events to them.
//
// A tag is resolved by receivers and settled by the controller: a receiver reports what
// digest the tag of a generation means to it, the controller writes the first that it
// hears of into the status, and every receiver serves exactly that. Until then the
// generation before keeps serving. An image by digest needs nobody to settle it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	listers "kontain.dev/eventing/pkg/client/listers/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/sinkstatus"
	"kontain.dev/eventing/vmexec"
)

// How a sink that could not be brought up is tried again, and how long a receiver that
// starts waits for the images and snapshots of its sinks before it is ready all the same:
// the sinks that can be served must not wait for those that cannot.
const (
	firstRetry = time.Second
	mostRetry  = 5 * time.Minute

	DefaultStartTime = time.Minute
)

// Config says where the sinks are and what they may have.
type Config struct {
	// Informer tells of sinks, and Lister has those it told of. It is started by others.
	Informer cache.SharedIndexInformer
	Lister   listers.KontainSinkLister
	// Only is the sink of a dedicated receiver; the zero value is the shared receiver,
	// whose sinks are all that ask for no other.
	Only types.NamespacedName
	// NoKVM is why there is no KVM here; nil where there is.
	NoKVM error
	// AllowPtrace says whether the administrator lets sinks run without KVM; see Changed.
	AllowPtrace func() bool
	// Scope is who asks for the images of a namespace; see image.Request. Nil: the
	// namespace.
	Scope func(namespace string) string
	// Missing returns which imagePullSecrets of the only sink are not there. Nil: none is
	// looked for.
	Missing func(names []string) []string
	// Value returns the value of spec.env[index].valueFrom of the only sink, and whether
	// there is one. Nil: there is none.
	Value func(index int) (string, bool)
	// Values is what these values are of, by install.SinkValues; empty: that is not known.
	Values string
	// StartTime is how long to wait for sinks before the receiver is ready without them.
	// Default DefaultStartTime.
	StartTime time.Duration
	Logger    *slog.Logger
}

// Origin brings the KontainSinks of a cluster to a server. It is a server.Origin.
type Origin struct {
	config Config
	retry  workqueue.TypedRateLimiter[types.NamespacedName]

	mu      sync.Mutex
	ctx     context.Context // of Run; nil while it does not run
	backend *server.Backend
	busy    map[types.NamespacedName]*work
	known   map[types.NamespacedName]*state
	workers sync.WaitGroup
}

// work is that one sink is being brought to what it should be. Sinks are so independent
// of one another: a program that starts slowly holds up nobody else's.
type work struct {
	again bool // it changed meanwhile
}

// state is what is known of a sink beside what the server counts.
type state struct {
	generation int64
	image      string // by digest
	resolved   sinkstatus.Condition
	reason     string // why it is not ready
	message    string
	platform   vmexec.Kind
	snapshot   bool // is wanted
	applied    bool // the generation serves
	tried      bool // it serves, or will not without a change of something else
}

// New makes an Origin.
func New(c Config) *Origin {
	if c.Scope == nil {
		c.Scope = func(namespace string) string { return namespace }
	}
	if c.Value == nil {
		c.Value = func(int) (string, bool) { return "", false }
	}
	if c.StartTime <= 0 {
		c.StartTime = DefaultStartTime
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Origin{
		config: c,
		retry:  workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](firstRetry, mostRetry),
		busy:   map[types.NamespacedName]*work{},
		known:  map[types.NamespacedName]*state{},
	}
}

// Run serves the sinks that the informer tells of until ctx is done.
func (o *Origin) Run(ctx context.Context, b *server.Backend, tell func(server.State)) error {
	o.mu.Lock()
	o.ctx, o.backend = ctx, b
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.ctx = nil
		o.mu.Unlock()
		o.workers.Wait()
	}()
	b.OnImage(func(sinks []string) {
		for _, s := range sinks {
			namespace, name, _ := strings.Cut(s, "/")
			o.enqueue(types.NamespacedName{Namespace: namespace, Name: name})
		}
	})
	handle := func(object any) {
		if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
			o.enqueue(types.NamespacedName{Namespace: key.Namespace, Name: key.Name})
		}
	}
	registration, err := o.config.Informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: handle, UpdateFunc: func(_, object any) { handle(object) }, DeleteFunc: handle,
	})
	if err != nil {
		return fmt.Errorf("watch KontainSinks: %w", err)
	}
	defer o.config.Informer.RemoveEventHandler(registration) //nolint:errcheck // An informer that is stopped has none.
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil // ctx is done
	}
	if err := o.start(ctx, tell); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// start tells that all sinks are known, and that the receiver is ready when each of them
// serves or has failed, or the start took too long.
func (o *Origin) start(ctx context.Context, tell func(server.State)) error {
	sinks, err := o.config.Lister.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list KontainSinks: %w", err)
	}
	deadline := time.NewTimer(o.config.StartTime)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	// wait returns false when ctx or the time is over.
	wait := func(done func(types.NamespacedName) bool) (ok bool, left int) {
		for {
			sinks = slices.DeleteFunc(sinks, func(k *v1alpha1.KontainSink) bool {
				return !o.mine(k) || done(types.NamespacedName{Namespace: k.Namespace, Name: k.Name}) || o.gone(k)
			})
			if len(sinks) == 0 {
				return true, 0
			}
			select {
			case <-ctx.Done():
				return false, len(sinks)
			case <-deadline.C:
				return false, len(sinks)
			case <-tick.C:
			}
		}
	}
	all := slices.Clone(sinks)
	if ok, left := wait(func(key types.NamespacedName) bool { return o.backend.Has(key.Namespace, key.Name) }); !ok && ctx.Err() == nil {
		return fmt.Errorf("%d KontainSinks are not taken over within %v", left, o.config.StartTime)
	}
	tell(server.Known)
	sinks = all
	if ok, left := wait(o.tried); !ok && ctx.Err() == nil {
		o.config.Logger.Warn("ready, with sinks whose images or programs are still waited for", "sinks", left, "after", o.config.StartTime)
	}
	tell(server.Ready)
	return nil
}

// gone says whether a sink was deleted.
func (o *Origin) gone(k *v1alpha1.KontainSink) bool {
	_, err := o.config.Lister.KontainSinks(k.Namespace).Get(k.Name)
	return apierrors.IsNotFound(err)
}

// tried says whether a sink serves, or will not without a change of something else.
func (o *Origin) tried(key types.NamespacedName) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.known[key]
	return st != nil && st.tried
}

// Changed looks at every sink again: something changed that they depend on.
func (o *Origin) Changed() {
	o.mu.Lock()
	var keys []types.NamespacedName
	for key := range o.known {
		keys = append(keys, key)
	}
	o.mu.Unlock()
	for _, key := range keys {
		o.enqueue(key)
	}
}

// enqueue has a sink looked at, soon and by one goroutine at a time.
func (o *Origin) enqueue(key types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ctx := o.ctx
	if ctx == nil {
		return
	}
	if w := o.busy[key]; w != nil {
		w.again = true
		return
	}
	w := &work{}
	o.busy[key] = w
	o.workers.Go(func() {
		for {
			o.look(ctx, key)
			o.mu.Lock()
			if !w.again || ctx.Err() != nil {
				delete(o.busy, key)
				o.mu.Unlock()
				return
			}
			w.again = false
			o.mu.Unlock()
		}
	})
}

// look brings one sink to what it should be.
func (o *Origin) look(ctx context.Context, key types.NamespacedName) {
	k, err := o.config.Lister.KontainSinks(key.Namespace).Get(key.Name)
	switch {
	case apierrors.IsNotFound(err), err == nil && !o.mine(k):
		o.mu.Lock()
		_, had := o.known[key]
		delete(o.known, key)
		o.mu.Unlock()
		o.retry.Forget(key)
		if had {
			o.backend.Remove(key.Namespace, key.Name)
		}
		return
	case err != nil:
		o.config.Logger.Error("a KontainSink cannot be read", "sink", key, "error", err)
		return
	}
	k = k.DeepCopy()
	k.SetDefaults(ctx)
	st := o.bring(ctx, k)
	if !st.applied && st.reason == reasonFailed {
		time.AfterFunc(o.retry.When(key), func() { o.enqueue(key) })
	} else {
		o.retry.Forget(key)
	}
}

// mine says whether this receiver has a sink.
func (o *Origin) mine(k *v1alpha1.KontainSink) bool {
	if o.config.Only.Name != "" {
		return k.Namespace == o.config.Only.Namespace && k.Name == o.config.Only.Name
	}
	return k.Spec.Receiver != v1alpha1.ReceiverDedicated
}

// Reasons why a sink is not ready, besides those of sinkstatus.
const (
	reasonFailed       = "ProgramNotReady" // its program or its machines could not be started
	reasonNotSettled   = "WaitingForController"
	reasonMissingValue = "MissingValue"
)

// bring brings a sink, whose defaults are set, to what it should be, and returns what is
// known of it then.
func (o *Origin) bring(ctx context.Context, k *v1alpha1.KontainSink) *state {
	key := types.NamespacedName{Namespace: k.Namespace, Name: k.Name}
	st := &state{generation: k.Generation, snapshot: k.Spec.Snapshot.Mode == v1alpha1.SnapshotReady}
	refuse := func(reason, message string) { st.reason, st.message = reason, message }
	s, err := o.sink(k)
	if err != nil {
		// It must be known all the same: senders shall try again.
		s = server.Sink{}
		s.Namespace, s.Name = k.Namespace, k.Name
		var r *refusal
		if errors.As(err, &r) {
			refuse(r.reason, r.message)
		} else {
			refuse(sinkstatus.ReasonInvalid, err.Error())
		}
		st.resolved = sinkstatus.Condition{Reason: st.reason, Message: st.message}
	} else {
		settled := settledImage(k)
		o.resolve(ctx, k, &s, settled, st)
		var no *refusal
		if st.platform, no = o.platform(k); no != nil {
			refuse(no.reason, no.message)
		}
		s.Platform = st.platform
	}
	s.Pending = st.message
	if st.reason == "" {
		s.Pending = ""
	}
	o.know(key, st)
	if err := o.apply(s, st); err != nil {
		st = st.with(func(c *state) { c.reason, c.message, c.tried = reasonFailed, err.Error(), true })
		o.config.Logger.Warn("a sink could not be brought up", "sink", key, "error", err)
	} else {
		st = st.with(func(c *state) {
			c.applied = c.reason == ""
			c.tried = c.reason != sinkstatus.ReasonPending
		})
	}
	o.know(key, st)
	return st
}

// with returns a changed copy: what is known is read by others.
func (st *state) with(change func(*state)) *state {
	c := *st
	change(&c)
	return &c
}

func (o *Origin) know(key types.NamespacedName, st *state) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[key] = st
}

// apply hands a sink over. One that must not run where it runs is stopped, not kept.
func (o *Origin) apply(s server.Sink, st *state) error {
	if st.reason == sinkstatus.ReasonNoKVM || st.reason == sinkstatus.ReasonPlatformNotAllowed {
		if stats, _ := o.backend.SinkStats(s.Namespace, s.Name); stats.Generation > 0 {
			return o.backend.Withdraw(s)
		}
	}
	return o.backend.Apply(s)
}

// refusal is why a sink is not served as it is written.
type refusal struct{ reason, message string }

func (r *refusal) Error() string { return r.message }

// sink takes from an object what the data plane needs, before the image is known.
func (o *Origin) sink(k *v1alpha1.KontainSink) (server.Sink, error) {
	if o.config.Only.Name == "" && len(k.Spec.Egress) > 0 {
		return server.Sink{}, &refusal{sinkstatus.ReasonEgressNotAllowed, "spec.egress: the shared receiver opens no connection for a sink, because NetworkPolicies could not tell its tenants apart; write receiver: Dedicated, or remove egress"}
	}
	// The webhook has refused what is wrong, unless it was not there.
	if err := k.Validate(context.Background()); err != nil {
		return server.Sink{}, err
	}
	ref, err := image.ParseReference(k.Spec.Image)
	if err == nil && ref.Kind != image.Registry {
		// Anything else is a file of the receiver.
		err = errors.New("in a cluster an image comes from a registry")
	}
	if err != nil {
		return server.Sink{}, fmt.Errorf("spec.image: %w", err)
	}
	s := server.FromKontainSink(k)
	s.Scope = o.config.Scope(k.Namespace)
	if of := install.SinkValues(k.Spec.Env); of != "" && o.config.Values != "" && of != o.config.Values {
		return server.Sink{}, &refusal{reasonMissingValue, "spec.env: this pod was started with values for other variables; one for these replaces it"}
	}
	for i, e := range k.Spec.Env {
		if e.ValueFrom == nil {
			continue
		}
		value, ok := o.config.Value(i)
		switch {
		case ok:
			s.Env = append(s.Env, e.Name+"="+value)
			// A snapshot is as secret as what its program has read.
			s.Secret = s.Secret || e.ValueFrom.SecretKeyRef != nil
		case !optional(e.ValueFrom):
			return server.Sink{}, &refusal{reasonMissingValue, fmt.Sprintf("spec.env[%d].valueFrom: this pod was started without the value of %s; a pod that has it replaces it", i, e.Name)}
		}
	}
	return s, nil
}

// optional says whether a variable may be absent.
func optional(from *v1alpha1.EnvVarSource) bool {
	switch {
	case from.SecretKeyRef != nil:
		return from.SecretKeyRef.Optional != nil && *from.SecretKeyRef.Optional
	case from.ConfigMapKeyRef != nil:
		return from.ConfigMapKeyRef.Optional != nil && *from.ConfigMapKeyRef.Optional
	}
	return false
}

// settledImage returns the image, by digest, that the generation of a sink runs; empty
// until the controller has settled it.
func settledImage(k *v1alpha1.KontainSink) string {
	ref, err := image.ParseReference(k.Spec.Image)
	if err != nil {
		return ""
	}
	if ref.ByDigest() {
		return ref.String()
	}
	if k.Status.ObservedGeneration != k.Generation || !k.Status.GetCondition(v1alpha1.ConditionImageResolved).IsTrue() {
		return "" // the digest is of a generation before
	}
	digest := k.Status.ImageDigest
	if _, after, ok := strings.Cut(digest, "@"); ok {
		digest = after
	}
	return ref.At(digest)
}

// resolve gets the image of a sink: what the controller settled, or else what the tag
// means here, which is reported and not served.
func (o *Origin) resolve(ctx context.Context, k *v1alpha1.KontainSink, s *server.Sink, settled string, st *state) {
	switch {
	case settled == "":
		// A tag is resolved once a generation.
		s.Round = fmt.Sprintf("%s/%d", k.UID, k.Generation)
	case s.Policy != image.Never:
		s.Image, s.Policy = settled, image.IfNotPresent
	}
	got := o.backend.Fetch(ctx, s)
	if got.Settled && got.Image == "" {
		s.Pending = o.missingSecrets(k) + s.Pending
	}
	st.image = got.Image
	yes, no := true, false
	switch {
	case got.Image != "":
		st.resolved = sinkstatus.Condition{Ready: &yes}
	case got.Settled:
		st.resolved = sinkstatus.Condition{Ready: &no, Reason: sinkstatus.ReasonImagePullFailed, Message: s.Pending}
	default:
		st.resolved = sinkstatus.Condition{Reason: sinkstatus.ReasonPending, Message: s.Pending}
	}
	switch {
	case s.Pending != "" && got.Image != "":
		st.reason, st.message = sinkstatus.ReasonInvalid, s.Pending
	case s.Pending != "":
		st.reason, st.message = st.resolved.Reason, s.Pending
	case settled == "":
		st.reason, st.message = reasonNotSettled, "the controller has not settled yet which image this generation runs"
	case got.Image != settled:
		st.reason, st.message = sinkstatus.ReasonImagePullFailed, fmt.Sprintf("imagePullPolicy is Never, and the image here is %s and not %s", got.Image, settled)
	}
}

// missingSecrets says, in front of why an image cannot be had, which of the Secrets that
// might open its registry are not there.
func (o *Origin) missingSecrets(k *v1alpha1.KontainSink) string {
	if o.config.Missing == nil || len(k.Spec.ImagePullSecrets) == 0 {
		return ""
	}
	names := make([]string, 0, len(k.Spec.ImagePullSecrets))
	for _, s := range k.Spec.ImagePullSecrets {
		names = append(names, s.Name)
	}
	missing := o.config.Missing(names)
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("spec.imagePullSecrets: in the namespace %s there is no Secret %s with the key %s; ",
		k.Namespace, strings.Join(missing, ", "), corev1.DockerConfigJsonKey)
}

// platform returns what a sink runs on, or why it does not run.
func (o *Origin) platform(k *v1alpha1.KontainSink) (vmexec.Kind, *refusal) {
	kind, reason, message := Platform(k.Spec.Platform, o.config.NoKVM, o.config.AllowPtrace != nil && o.config.AllowPtrace())
	if reason != "" {
		return "", &refusal{reason, message}
	}
	return kind, nil
}

// Platform returns what a program that asks for a platform runs on in a cluster, or reason
// and message of why it does not. noKVM is why there is no KVM; nil where there is.
func Platform(asked v1alpha1.Platform, noKVM error, allowPtrace bool) (kind vmexec.Kind, reason, message string) {
	without := func(more string) (vmexec.Kind, string, string) {
		return "", sinkstatus.ReasonNoKVM, fmt.Sprintf("there is no KVM where its machines would run: %v; %s", noKVM, more)
	}
	switch asked {
	case v1alpha1.PlatformAuto:
		switch {
		case noKVM == nil:
			return vmexec.KVM, "", ""
		case allowPtrace:
			return vmexec.Ptrace, "", ""
		}
		return without("give its pods /dev/kvm, or set allow-ptrace: enabled in the ConfigMap config-kontain, which isolates programs as processes are")
	case v1alpha1.PlatformKVM:
		if noKVM != nil {
			return without("give its pods /dev/kvm")
		}
		return vmexec.KVM, "", ""
	case v1alpha1.PlatformPtrace:
		if !allowPtrace {
			return "", sinkstatus.ReasonPlatformNotAllowed, "the administrator allows no platform but KVM: write platform: Auto, or set allow-ptrace: enabled in the ConfigMap config-kontain"
		}
		return vmexec.Ptrace, "", ""
	case v1alpha1.PlatformKM:
	}
	return "", sinkstatus.ReasonInvalid, fmt.Sprintf("platform %s is not for clusters; write platform: Auto", asked)
}
