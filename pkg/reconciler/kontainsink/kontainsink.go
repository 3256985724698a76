// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package kontainsink is the controller of KontainSinks. It writes their status
// from what receivers tell it, and makes the receivers of sinks that have one of
// their own. It reads no Secret of a tenant and talks to no registry.
package kontainsink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	appsv1listers "k8s.io/client-go/listers/apps/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	rbacv1listers "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/utils/ptr"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	eventingv1alpha1listers "knative.dev/eventing/pkg/client/listers/eventing/v1alpha1"
	"knative.dev/eventing/pkg/eventingtls"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/reconciler"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	kontainsinkreconciler "kontain.dev/eventing/pkg/client/injection/reconciler/sinks/v1alpha1/kontainsink"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/reconciler/kontainsink/resources"
)

// How long after a question the next one follows: firstAsk, then longer each time,
// at most mostAsk.
const (
	firstAsk = 250 * time.Millisecond
	mostAsk  = 10 * time.Second
)

// Reconciler writes the status of KontainSinks.
type Reconciler struct {
	kube            kubernetes.Interface
	deployments     appsv1listers.DeploymentLister
	services        corev1listers.ServiceLister
	serviceAccounts corev1listers.ServiceAccountLister
	roleBindings    rbacv1listers.RoleBindingLister
	endpointSlices  discoverylisters.EndpointSliceLister
	policies        eventingv1alpha1listers.EventPolicyLister
	// secrets has the certificate of the shared receiver, and nothing else.
	secrets  corev1listers.SecretLister
	asker    Asker
	settings func() (resources.Settings, error)
	waits    waits
}

var (
	_ kontainsinkreconciler.Interface = (*Reconciler)(nil)
	_ reconciler.OnDeletionInterface  = (*Reconciler)(nil)
)

// ReconcileKind brings the status of a sink, and its own receiver, up to date.
func (r *Reconciler) ReconcileKind(ctx context.Context, sink *v1alpha1.KontainSink) reconciler.Event {
	flags := feature.FromContext(ctx)
	before := sink.Status.DeepCopy()

	if err := r.reconcilePolicies(flags, sink); err != nil {
		return err
	}
	if err := r.reconcileReceiver(ctx, sink); err != nil {
		sink.Status.MarkNotAddressable("ReceiverFailed", "The sink's own receiver could not be made: %v", err)
		return err
	}

	namespace, name := service(sink)
	receivers, err := endpoints(r.endpointSlices, namespace, name)
	if err != nil {
		return fmt.Errorf("list receivers: %w", err)
	}
	none := fmt.Sprintf("No receiver runs behind the Service %s/%s%s", namespace, name, r.whyNone(sink))
	settled := observe(sink, none, ask(ctx, r.asker, receivers, sink))

	// The address is there once events are handled, and from then on whatever
	// happens: who has resolved it would lose events if it went away, while
	// receivers that do not serve answer with what senders retry.
	if sink.Status.Address != nil || sink.Status.GetCondition(v1alpha1.ConditionAddressable).IsTrue() {
		caCerts, err := r.caCerts(sink, flags)
		if err != nil {
			return err
		}
		address, all := addresses(sink, flags, caCerts)
		sink.Status.SetAddresses(address, all...)
	}

	key := types.NamespacedName{Namespace: sink.Namespace, Name: sink.Name}
	if settled {
		r.waits.forget(key)
		return nil
	}
	if !equality.Semantic.DeepEqual(before, &sink.Status) {
		r.waits.forget(key) // What moves is worth to be asked about soon.
	}
	return controller.NewRequeueAfter(r.waits.next(key, sink.Generation))
}

// whyNone says why a dedicated receiver may not run: that its pods are refused, or what
// the kubelet waits for before it starts one. The controller reads neither pods nor
// Secrets, so it says which there must be, and not which is missing.
func (r *Reconciler) whyNone(sink *v1alpha1.KontainSink) string {
	if sink.Spec.Receiver != v1alpha1.ReceiverDedicated {
		return ""
	}
	name := install.DedicatedName(sink.Name)
	if d, err := r.deployments.Deployments(sink.Namespace).Get(name); err == nil {
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				return fmt.Sprintf("; the pods of its Deployment %s are refused: %s", name, c.Message)
			}
		}
	}
	var needed []string
	for _, e := range sink.Spec.Env {
		if e.ValueFrom == nil {
			continue
		}
		if from := e.ValueFrom.SecretKeyRef; from != nil && !ptr.Deref(from.Optional, false) {
			needed = append(needed, fmt.Sprintf("Secret %s (key %s)", from.Name, from.Key))
		}
		if from := e.ValueFrom.ConfigMapKeyRef; from != nil && !ptr.Deref(from.Optional, false) {
			needed = append(needed, fmt.Sprintf("ConfigMap %s (key %s)", from.Name, from.Key))
		}
	}
	if len(needed) == 0 {
		return ""
	}
	slices.Sort(needed)
	needed = slices.Compact(needed)
	const most = 10
	if len(needed) > most {
		needed = append(needed[:most], "…")
	}
	return "; a pod starts when there are in its namespace: " + strings.Join(needed, ", ")
}

// ObserveDeletion forgets a sink that is gone. What it owned goes by its owner
// references.
func (r *Reconciler) ObserveDeletion(_ context.Context, key types.NamespacedName) error {
	r.waits.forget(key)
	return nil
}

func (r *Reconciler) reconcilePolicies(flags feature.Flags, sink *v1alpha1.KontainSink) error {
	var applied eventingduckv1.AppliedEventPoliciesStatus
	err := auth.UpdateStatusWithEventPolicies(flags, &applied, &sink.Status, r.policies,
		v1alpha1.SchemeGroupVersion.WithKind("KontainSink"), sink.ObjectMeta)
	if err != nil {
		return fmt.Errorf("find event policies: %w", err)
	}
	sink.Status.Policies = nil
	for _, p := range applied.Policies {
		sink.Status.Policies = append(sink.Status.Policies, v1alpha1.AppliedEventPolicyRef(p))
	}
	return nil
}

// caCerts returns the certificate authority of a sink's receiver, in PEM: that of
// the shared receiver is in its Secret. The Secret of a dedicated receiver is the
// tenant's, which the controller does not read: senders know its authority by
// Knative's trust bundles.
func (r *Reconciler) caCerts(sink *v1alpha1.KontainSink, flags feature.Flags) (*string, error) {
	if sink.Spec.Receiver == v1alpha1.ReceiverDedicated || (!flags.IsStrictTransportEncryption() && !flags.IsPermissiveTransportEncryption()) {
		return nil, nil
	}
	secret, err := r.secrets.Secrets(system.Namespace()).Get(install.ReceiverTLSSecretName)
	if err != nil {
		sink.Status.MarkNotAddressable("NoCertificate", "The feature %s needs the Secret %s/%s with the receiver's certificate: %v",
			feature.TransportEncryption, system.Namespace(), install.ReceiverTLSSecretName, err)
		return nil, fmt.Errorf("find the receiver's certificate: %w", err)
	}
	if ca := string(secret.Data[eventingtls.SecretCACert]); ca != "" {
		return &ca, nil
	}
	return nil, nil
}

// waits counts how often a sink was asked about.
type waits struct {
	mu  sync.Mutex
	per map[types.NamespacedName]wait
}

type wait struct {
	generation int64
	last       time.Duration
}

// next returns how long to wait before the next question.
func (w *waits) next(key types.NamespacedName, generation int64) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.per == nil {
		w.per = map[types.NamespacedName]wait{}
	}
	now := wait{generation, firstAsk}
	if before, ok := w.per[key]; ok && before.generation == generation {
		now.last = min(before.last*3/2, mostAsk)
	}
	w.per[key] = now
	// Sinks that became unsettled together are not asked about together for ever.
	return now.last + rand.N(now.last/10+1) //nolint:gosec // It is no secret.
}

func (w *waits) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.per, key)
}
