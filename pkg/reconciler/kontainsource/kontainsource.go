// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package kontainsource is the controller of KontainSources. It finds where their events
// go, makes the service account that they are sent as, and writes into their status what
// their adapter reports in a KontainSourceState. It runs nothing and sends nothing.
package kontainsource

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	appsv1listers "k8s.io/client-go/listers/apps/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/clock"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/reconciler"
	"knative.dev/pkg/resolver"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	kontainsourcereconciler "kontain.dev/eventing/pkg/client/injection/reconciler/sources/v1alpha1/kontainsource"
	listers "kontain.dev/eventing/pkg/client/listers/sources/v1alpha1"
	"kontain.dev/eventing/pkg/install"
)

// historyEvery is the shortest time between two writes of a status that differ in the
// history alone.
const historyEvery = 10 * time.Second

// Reasons of conditions that no adapter gave.
const (
	reasonNoSink    = "NoSink"
	reasonNoAdapter = "NoAdapter"
	reasonPending   = "Pending"
	reasonNotFound  = "NotFound"
)

// Reconciler writes the status of KontainSources.
type Reconciler struct {
	kube            kubernetes.Interface
	states          listers.KontainSourceStateLister
	deployments     appsv1listers.DeploymentLister
	serviceAccounts corev1listers.ServiceAccountLister
	resolver        *resolver.URIResolver
	clock           clock.PassiveClock
	written         written
}

var (
	_ kontainsourcereconciler.Interface = (*Reconciler)(nil)
	_ reconciler.OnDeletionInterface    = (*Reconciler)(nil)
)

// ReconcileKind brings the status of a source up to date.
func (r *Reconciler) ReconcileKind(ctx context.Context, s *v1alpha1.KontainSource) reconciler.Event {
	before := s.Status.DeepCopy()
	s.Status.CloudEventAttributes = s.CloudEventAttributes()
	err := auth.SetupOIDCServiceAccount(ctx, feature.FromContext(ctx), r.serviceAccounts, r.kube,
		v1alpha1.SchemeGroupVersion.WithKind("KontainSource"), s.ObjectMeta, &s.Status, func(a *duckv1.AuthStatus) { s.Status.Auth = a })
	if err != nil {
		return err
	}
	sinkErr := r.resolveSink(ctx, s)
	deadErr := r.resolveDeadLetterSink(ctx, s)
	wait, err := r.observe(s, before)
	switch {
	case err != nil:
		return err
	case sinkErr != nil:
		return sinkErr
	case deadErr != nil:
		return deadErr
	case wait > 0:
		return controller.NewRequeueAfter(wait)
	}
	return nil
}

// ObserveDeletion forgets a source that is gone. What it owned goes by its owner
// references.
func (r *Reconciler) ObserveDeletion(_ context.Context, key types.NamespacedName) error {
	r.written.forget(key)
	return nil
}

// resolveSink finds where the events go.
func (r *Reconciler) resolveSink(ctx context.Context, s *v1alpha1.KontainSource) error {
	to, err := r.resolver.AddressableFromDestinationV1(ctx, destination(s.Spec.Sink, s), s)
	if err != nil {
		s.Status.MarkNoSink(reasonNotFound, "The sink %s has no address: %v", describe(s.Spec.Sink), err)
		return reconciler.NewEvent(corev1.EventTypeWarning, "SinkNotFound", "The sink %s has no address: %w", describe(s.Spec.Sink), err)
	}
	s.Status.MarkSink(to)
	return nil
}

// resolveDeadLetterSink finds where events go that the sink does not take.
func (r *Reconciler) resolveDeadLetterSink(ctx context.Context, s *v1alpha1.KontainSource) error {
	if s.Spec.Delivery == nil || s.Spec.Delivery.DeadLetterSink == nil {
		s.Status.MarkDeadLetterSinkNotConfigured()
		return nil
	}
	d := *s.Spec.Delivery.DeadLetterSink
	to, err := r.resolver.AddressableFromDestinationV1(ctx, destination(d, s), s)
	if err != nil {
		s.Status.MarkNoDeadLetterSink(reasonNotFound, "The dead letter sink %s has no address: %v", describe(d), err)
		return reconciler.NewEvent(corev1.EventTypeWarning, "DeadLetterSinkNotFound", "The dead letter sink %s has no address: %w", describe(d), err)
	}
	s.Status.MarkDeadLetterSink(to)
	return nil
}

// destination returns a destination with a namespace.
func destination(d duckv1.Destination, s *v1alpha1.KontainSource) duckv1.Destination {
	d = *d.DeepCopy()
	if d.Ref != nil && d.Ref.Namespace == "" {
		d.Ref.Namespace = s.Namespace
	}
	return d
}

// describe names a destination for people.
func describe(d duckv1.Destination) string {
	if d.Ref != nil {
		return fmt.Sprintf("%s %s", d.Ref.Kind, d.Ref.Name)
	}
	return d.URI.String()
}

// observe writes what the adapter reports into the status. What is newer in the history
// alone waits, so that a source which runs each second does not have its status written
// as often: for how long is returned.
func (r *Reconciler) observe(s *v1alpha1.KontainSource, before *v1alpha1.KontainSourceStatus) (time.Duration, error) {
	state, err := r.states.KontainSourceStates(s.Namespace).Get(s.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("get KontainSourceState: %w", err)
	}
	var report *v1alpha1.Report
	if err == nil && owned(state, s) {
		report = &state.Report
	}
	status := &s.Status
	current := report != nil && report.Generation == s.Generation
	if current {
		status.Mark(v1alpha1.ConditionImageResolved, report.ImageResolved)
		status.Mark(v1alpha1.ConditionScheduled, report.Scheduled)
		if report.Image != "" && report.ImageResolved.Status == v1alpha1.FindingTrue {
			status.ImageDigest = report.Image
		}
	} else {
		pending := v1alpha1.Finding{Reason: reasonPending, Message: "No adapter has seen the source yet"}
		status.Mark(v1alpha1.ConditionImageResolved, pending)
		status.Mark(v1alpha1.ConditionScheduled, pending)
	}
	for t, f := range map[apis.ConditionType]func(*v1alpha1.Report) v1alpha1.Finding{
		v1alpha1.ConditionSucceeding: func(r *v1alpha1.Report) v1alpha1.Finding { return r.Succeeding },
		v1alpha1.ConditionDelivering: func(r *v1alpha1.Report) v1alpha1.Finding { return r.Delivering },
		v1alpha1.ConditionIsolated:   func(r *v1alpha1.Report) v1alpha1.Finding { return r.Isolated },
	} {
		if current && f(report) != (v1alpha1.Finding{}) {
			status.Mark(t, f(report))
		} else {
			status.Clear(t)
		}
	}
	if err := r.observeAdapter(status); err != nil {
		return 0, err
	}
	if report == nil {
		status.History = nil
		return 0, nil
	}
	status.History = report.History.DeepCopy()
	return r.holdBack(s, before), nil
}

// owned says whether a state is that of this source, and not of one of the same name that
// was deleted.
func owned(state *v1alpha1.KontainSourceState, s *v1alpha1.KontainSource) bool {
	for _, o := range state.OwnerReferences {
		if o.UID == s.UID {
			return true
		}
	}
	return false
}

// observeAdapter marks what no adapter can report: that it is away, or does nothing
// because it is not known where the events go.
func (r *Reconciler) observeAdapter(status *v1alpha1.KontainSourceStatus) error {
	d, err := r.deployments.Deployments(system.Namespace()).Get(install.SourceName)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get Deployment: %w", err)
	}
	if err != nil || d.Status.AvailableReplicas == 0 {
		status.Mark(v1alpha1.ConditionScheduled, v1alpha1.Finding{
			Status: v1alpha1.FindingFalse, Reason: reasonNoAdapter,
			Message: fmt.Sprintf("no adapter runs: the Deployment %s/%s has no available pod", system.Namespace(), install.SourceName),
		})
		return nil
	}
	if status.SinkURI == nil || !status.GetCondition(v1alpha1.ConditionDeadLetterSinkResolved).IsTrue() {
		status.Mark(v1alpha1.ConditionScheduled, v1alpha1.Finding{Reason: reasonNoSink, Message: "no run is begun while it is not known where the events go"})
	}
	return nil
}

// holdBack keeps the history of before, should it be all that differs and written shortly
// ago, and returns how long it is to be kept.
func (r *Reconciler) holdBack(s *v1alpha1.KontainSource, before *v1alpha1.KontainSourceStatus) time.Duration {
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	if before.History == nil || equality.Semantic.DeepEqual(before.History, s.Status.History) {
		if before.History == nil {
			r.written.note(key, r.clock.Now())
		}
		return 0
	}
	history := s.Status.History
	s.Status.History = before.History
	same := equality.Semantic.DeepEqual(before, &s.Status) && before.ObservedGeneration == s.Generation
	if wait := historyEvery - r.clock.Since(r.written.last(key)); same && wait > 0 {
		return wait
	}
	s.Status.History = history
	r.written.note(key, r.clock.Now())
	return 0
}
