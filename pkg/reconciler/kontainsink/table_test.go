// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"context"
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kubescheme "k8s.io/client-go/kubernetes/scheme"
	appsv1listers "k8s.io/client-go/listers/apps/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	rbacv1listers "k8s.io/client-go/listers/rbac/v1"
	clientgotesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	eventingv1alpha1 "knative.dev/eventing/pkg/apis/eventing/v1alpha1"
	"knative.dev/eventing/pkg/apis/feature"
	eventingscheme "knative.dev/eventing/pkg/client/clientset/versioned/scheme"
	eventingv1alpha1listers "knative.dev/eventing/pkg/client/listers/eventing/v1alpha1"
	fakekubeclient "knative.dev/pkg/client/injection/kube/client/fake"
	"knative.dev/pkg/controller"
	logtesting "knative.dev/pkg/logging/testing"
	"knative.dev/pkg/reconciler"
	reconcilertesting "knative.dev/pkg/reconciler/testing"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	kontainscheme "kontain.dev/eventing/pkg/client/clientset/versioned/scheme"
	fakekontainclient "kontain.dev/eventing/pkg/client/injection/client/fake"
	kontainsinkreconciler "kontain.dev/eventing/pkg/client/injection/reconciler/sinks/v1alpha1/kontainsink"
	listers "kontain.dev/eventing/pkg/client/listers/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/reconciler/kontainsink/resources"
	"kontain.dev/eventing/pkg/sinkstatus"
)

// Keys of a row's OtherTestData.
const (
	answerKey = "answer"   // *sinkstatus.Status or error
	flagsKey  = "features" // feature.Flags
)

// flags are the features that a row has. It is a reconciler.ConfigStore.
type flags feature.Flags

// ToContext implements reconciler.ConfigStore.
func (f flags) ToContext(ctx context.Context) context.Context {
	return feature.ToContext(ctx, feature.Flags(f))
}

var _ reconciler.ConfigStore = flags(nil)

// factory makes the generated reconciler around ours, for the objects of a row.
func factory(t *testing.T, row *reconcilertesting.TableRow) (controller.Reconciler, reconcilertesting.ActionRecorderList, reconcilertesting.EventList) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{kubescheme.AddToScheme, kontainscheme.AddToScheme, eventingscheme.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects := reconcilertesting.NewObjectSorter(scheme)
	objects.AddObjects(row.Objects...)
	ctx, kube := fakekubeclient.With(t.Context(), objects.ObjectsForSchemeFunc(kubescheme.AddToScheme)...)
	ctx, client := fakekontainclient.With(ctx, objects.ObjectsForSchemeFunc(kontainscheme.AddToScheme)...)
	for _, reactor := range row.WithReactors {
		kube.PrependReactor("*", "*", reactor)
		client.PrependReactor("*", "*", reactor)
	}
	t.Setenv(system.NamespaceEnvKey, "knative-eventing")
	asked := &receivers{}
	switch a := row.OtherTestData[answerKey].(type) {
	case *sinkstatus.Status:
		asked.status = a
	case error:
		asked.err = a
	}
	r := &Reconciler{
		kube:            kube,
		deployments:     appsv1listers.NewDeploymentLister(objects.IndexerForObjectType(&appsv1.Deployment{})),
		services:        corev1listers.NewServiceLister(objects.IndexerForObjectType(&corev1.Service{})),
		serviceAccounts: corev1listers.NewServiceAccountLister(objects.IndexerForObjectType(&corev1.ServiceAccount{})),
		roleBindings:    rbacv1listers.NewRoleBindingLister(objects.IndexerForObjectType(&rbacv1.RoleBinding{})),
		endpointSlices:  discoverylisters.NewEndpointSliceLister(objects.IndexerForObjectType(slice("", ""))),
		secrets:         corev1listers.NewSecretLister(objects.IndexerForObjectType(&corev1.Secret{})),
		policies:        eventingv1alpha1listers.NewEventPolicyLister(objects.IndexerForObjectType(&eventingv1alpha1.EventPolicy{})),
		asker:           asked,
		settings: func() (resources.Settings, error) {
			return resources.Settings{Image: "receiver:1", ConfigMaps: "{}", Config: install.NewConfig()}, nil
		},
	}
	set, _ := row.OtherTestData[flagsKey].(feature.Flags)
	recorder := record.NewFakeRecorder(10)
	c := kontainsinkreconciler.NewReconciler(ctx, logtesting.TestLogger(t), client,
		listers.NewKontainSinkLister(objects.IndexerForObjectType(&v1alpha1.KontainSink{})), recorder, r, controller.Options{ConfigStore: flags(set)})
	leader, ok := c.(reconciler.LeaderAware)
	if !ok {
		t.Fatal("the reconciler does not know of leaders")
	}
	if err := leader.Promote(reconciler.UniversalBucket(), func(reconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	return c, reconcilertesting.ActionRecorderList{client, kube}, reconcilertesting.EventList{Recorder: recorder}
}

// made returns a sink of the table, whose status is as its conditions begin.
func made(t *testing.T, changes ...func(*v1alpha1.KontainSink)) *v1alpha1.KontainSink {
	t.Helper()
	return newSink(t, func(s *v1alpha1.KontainSink) {
		for _, change := range changes {
			change(s)
		}
	})
}

// withStatus returns a sink as it is after the row, which status changes.
func withStatus(sink *v1alpha1.KontainSink, status func(*v1alpha1.KontainSink)) []clientgotesting.UpdateActionImpl {
	after := sink.DeepCopy()
	after.Status.ObservedGeneration = after.Generation
	status(after)
	return []clientgotesting.UpdateActionImpl{{Object: after}}
}

// served marks what a receiver that serves a sink makes of its status.
func served(s *v1alpha1.KontainSink) {
	s.Status.MarkImageResolved(imageA)
	s.Status.MarkAddressable()
	s.Status.MarkSnapshotReady()
	s.Status.MarkIsolated()
	address, all := addresses(s, nil, nil)
	s.Status.SetAddresses(address, all...)
}

func TestTable(t *testing.T) {
	t.Setenv(system.NamespaceEnvKey, "knative-eventing")
	const key = "default/a"
	running := slice("knative-eventing", install.ReceiverName, endpointAt("10.0.0.1", true, false))
	own := slice("default", "a-kontain-receiver", endpointAt("10.0.0.1", true, false))
	objects := func(sink *v1alpha1.KontainSink) []runtime.Object {
		settings := resources.Settings{Image: "receiver:1", ConfigMaps: "{}", Config: install.NewConfig()}
		return []runtime.Object{
			resources.MakeServiceAccount(sink), resources.MakeRoleBinding(sink), resources.MakeService(sink), resources.MakeDeployment(sink, settings),
		}
	}
	initial, own1 := made(t), made(t, dedicated)
	done := made(t)
	done.Status.ObservedGeneration = done.Generation
	policies(done)
	served(done)
	shared := made(t)
	shared.Status = *done.Status.DeepCopy()

	table := reconcilertesting.TableTest{
		{Name: "bad key", Key: "too/many/parts"},
		{Name: "no such sink", Key: key},
		{
			Name: "served", Key: key,
			Objects:           []runtime.Object{initial, running},
			OtherTestData:     map[string]any{answerKey: serving(imageA)},
			WantStatusUpdates: withStatus(initial, func(s *v1alpha1.KontainSink) { policies(s); served(s) }),
		},
		{
			Name: "served, and nothing changed", Key: key,
			Objects:       []runtime.Object{done, running},
			OtherTestData: map[string]any{answerKey: serving(imageA)},
		},
		{
			Name: "no receiver", Key: key, WantErr: true, // it is looked at again
			Objects: []runtime.Object{initial},
			WantStatusUpdates: withStatus(initial, func(s *v1alpha1.KontainSink) {
				policies(s)
				unknown(s)
				s.Status.MarkNotAddressable("NoReceiver", "No receiver runs behind the Service knative-eventing/kontain-receiver")
			}),
		},
		{
			Name: "a receiver that cannot be asked", Key: key, WantErr: true,
			Objects:       []runtime.Object{initial, running},
			OtherTestData: map[string]any{answerKey: errors.New("timeout")},
			WantStatusUpdates: withStatus(initial, func(s *v1alpha1.KontainSink) {
				policies(s)
				unknown(s)
				s.Status.MarkAddressableUnknown("ReceiverUnreachable", "No receiver could be asked: timeout")
			}),
		},
		{
			Name: "strict, without a certificate", Key: key, WantErr: true,
			Objects:       []runtime.Object{initial, running},
			OtherTestData: map[string]any{answerKey: serving(imageA), flagsKey: feature.Flags{feature.TransportEncryption: feature.Strict}},
			WantEvents:    []string{`Warning InternalError find the receiver's certificate: secret "kontain-receiver-server-tls" not found`},
			WantStatusUpdates: withStatus(initial, func(s *v1alpha1.KontainSink) {
				policies(s)
				s.Status.MarkImageResolved(imageA)
				s.Status.MarkSnapshotReady()
				s.Status.MarkIsolated()
				s.Status.MarkNotAddressable("NoCertificate", "The feature transport-encryption needs the Secret knative-eventing/kontain-receiver-server-tls with the receiver's certificate: %v",
					`secret "kontain-receiver-server-tls" not found`)
			}),
		},
		{
			Name: "dedicated", Key: key, WantErr: true,
			Objects:     []runtime.Object{own1},
			WantCreates: objects(own1),
			WantStatusUpdates: withStatus(own1, func(s *v1alpha1.KontainSink) {
				policies(s)
				unknown(s)
				s.Status.MarkNotAddressable("NoReceiver", "No receiver runs behind the Service default/a-kontain-receiver; a pod starts when there are in its namespace: Secret s (key k)")
			}),
		},
		{
			Name: "dedicated, whose pods are refused", Key: key, WantErr: true,
			Objects: append(objects(own1)[:3:3], own1, failing(objects(own1)[3].(*appsv1.Deployment), "violates PodSecurity")),
			WantStatusUpdates: withStatus(own1, func(s *v1alpha1.KontainSink) {
				policies(s)
				unknown(s)
				s.Status.MarkNotAddressable("NoReceiver", "No receiver runs behind the Service default/a-kontain-receiver; the pods of its Deployment a-kontain-receiver are refused: violates PodSecurity")
			}),
		},
		{
			Name: "dedicated, and served", Key: key,
			Objects:           append(objects(own1), own1, own),
			OtherTestData:     map[string]any{answerKey: serving(imageA)},
			WantStatusUpdates: withStatus(own1, func(s *v1alpha1.KontainSink) { policies(s); served(s) }),
		},
		{
			Name: "dedicated, and cannot be made", Key: key, WantErr: true,
			Objects:      []runtime.Object{own1},
			WithReactors: []clientgotesting.ReactionFunc{reconcilertesting.InduceFailure("create", "services")},
			WantCreates:  objects(own1)[:3],
			WantEvents:   []string{"Warning InternalError make Service default/a-kontain-receiver: inducing failure for create services"},
			WantStatusUpdates: withStatus(own1, func(s *v1alpha1.KontainSink) {
				policies(s)
				s.Status.MarkNotAddressable("ReceiverFailed", "The sink's own receiver could not be made: %v",
					"make Service default/a-kontain-receiver: inducing failure for create services")
			}),
		},
		{
			Name: "shared again", Key: key,
			Objects:       append(objects(own1), shared, running),
			OtherTestData: map[string]any{answerKey: serving(imageA)},
			WantDeletes:   []clientgotesting.DeleteActionImpl{deletion("apps", "deployments"), deletion("", "services"), deletion("rbac.authorization.k8s.io", "rolebindings"), deletion("", "serviceaccounts")},
		},
		{
			Name: "a status that cannot be written", Key: key, WantErr: true,
			Objects:           []runtime.Object{initial, running},
			OtherTestData:     map[string]any{answerKey: serving(imageA)},
			WithReactors:      []clientgotesting.ReactionFunc{reconcilertesting.InduceFailure("update", "kontainsinks")},
			WantStatusUpdates: withStatus(initial, func(s *v1alpha1.KontainSink) { policies(s); served(s) }),
			WantEvents:        []string{`Warning UpdateFailed Failed to update status for "a": inducing failure for update kontainsinks`},
		},
		{
			Name: "a sink that is being deleted", Key: key,
			Objects:       []runtime.Object{made(t, func(s *v1alpha1.KontainSink) { now := metav1.Now(); s.DeletionTimestamp = &now }), running},
			OtherTestData: map[string]any{answerKey: serving(imageA)},
		},
	}
	table.Test(t, factory)
}

// policies marks that there are none.
func policies(s *v1alpha1.KontainSink) {
	s.Status.MarkEventPoliciesTrueWithReason("OIDCDisabled", "Feature %q must be enabled to support Authorization", feature.OIDCAuthentication)
}

// unknown marks what nobody has said yet.
func unknown(s *v1alpha1.KontainSink) {
	s.Status.MarkImageUnknown("Pending", "A receiver is asked which image it is")
	s.Status.MarkSnapshotUnknown("Pending", "No receiver has said so yet")
	s.Status.MarkIsolatedUnknown("Pending", "No receiver has said so yet")
}

func failing(d *appsv1.Deployment, message string) *appsv1.Deployment {
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: message}}
	return d
}

func deletion(group, kind string) clientgotesting.DeleteActionImpl {
	return clientgotesting.DeleteActionImpl{
		ActionImpl: clientgotesting.ActionImpl{Namespace: "default", Resource: schema.GroupVersionResource{Group: group, Version: "v1", Resource: kind}},
		Name:       install.DedicatedName("a"),
	}
}
