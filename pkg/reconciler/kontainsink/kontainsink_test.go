// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	appsv1listers "k8s.io/client-go/listers/apps/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	rbacv1listers "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"knative.dev/eventing/pkg/apis/feature"
	eventingv1alpha1listers "knative.dev/eventing/pkg/client/listers/eventing/v1alpha1"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/reconciler/kontainsink/resources"
	"kontain.dev/eventing/pkg/sinkstatus"
)

// receivers answers for all receivers alike.
type receivers struct {
	status *sinkstatus.Status
	err    error
	asked  []string
}

func (r *receivers) Get(_ context.Context, hostPort, namespace, name string) (*sinkstatus.Status, error) {
	r.asked = append(r.asked, hostPort+" "+namespace+"/"+name)
	return r.status, r.err
}

// cluster is what the reconciler sees and changes.
type cluster struct {
	*Reconciler
	kube    *fake.Clientset
	asked   *receivers
	indexes map[string]cache.Indexer
	config  *install.Config
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	t.Setenv(system.NamespaceEnvKey, "knative-eventing")
	c := &cluster{kube: fake.NewClientset(), asked: &receivers{status: serving(imageA)}, indexes: map[string]cache.Indexer{}, config: install.NewConfig()}
	index := func(kind string) cache.Indexer {
		c.indexes[kind] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		return c.indexes[kind]
	}
	c.Reconciler = &Reconciler{
		kube:            c.kube,
		deployments:     appsv1listers.NewDeploymentLister(index("deployments")),
		services:        corev1listers.NewServiceLister(index("services")),
		serviceAccounts: corev1listers.NewServiceAccountLister(index("serviceaccounts")),
		roleBindings:    rbacv1listers.NewRoleBindingLister(index("rolebindings")),
		endpointSlices:  discoverylisters.NewEndpointSliceLister(index("endpointslices")),
		secrets:         corev1listers.NewSecretLister(index("secrets")),
		policies:        eventingv1alpha1listers.NewEventPolicyLister(index("eventpolicies")),
		asker:           c.asked,
		settings: func() (resources.Settings, error) {
			return resources.Settings{Image: "receiver:1", ConfigMaps: "{}", Config: c.config}, nil
		},
	}
	return c
}

func (c *cluster) add(t *testing.T, kind string, object runtime.Object) {
	t.Helper()
	if err := c.indexes[kind].Add(object); err != nil {
		t.Fatal(err)
	}
}

// actions returns what was done since the last call, and shows the reconciler the
// objects that it made.
func (c *cluster) actions(t *testing.T) []string {
	t.Helper()
	var done []string
	for _, a := range c.kube.Actions() {
		done = append(done, a.GetVerb()+" "+a.GetResource().Resource)
		if with, ok := a.(interface{ GetObject() runtime.Object }); ok {
			c.add(t, a.GetResource().Resource, with.GetObject())
		}
	}
	c.kube.ClearActions()
	return done
}

func slice(namespace, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080)}, {Name: ptr.To(sinkstatus.PortName), Port: ptr.To[int32](8081)}},
		Endpoints:   endpoints,
	}
}

func endpointAt(address string, ready, ending bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready, Terminating: &ending}}
}

func newSink(t *testing.T, change func(*v1alpha1.KontainSink)) *v1alpha1.KontainSink {
	t.Helper()
	s := &v1alpha1.KontainSink{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", UID: "1", Generation: 2}}
	s.Spec.Image = "registry.example.com/a:v1"
	if change != nil {
		change(s)
	}
	s.SetDefaults(t.Context())
	s.Status.InitializeConditions()
	return s
}

func dedicated(s *v1alpha1.KontainSink) {
	s.Spec.Receiver = v1alpha1.ReceiverDedicated
	s.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry"}}
	s.Spec.Env = []v1alpha1.EnvVar{{Name: "PLAIN", Value: "b"}, {Name: "TOKEN", ValueFrom: &v1alpha1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"},
	}}}
}

func withFlags(t *testing.T, flags feature.Flags) context.Context {
	t.Helper()
	return feature.ToContext(t.Context(), flags)
}

func TestReconcileShared(t *testing.T) {
	c := newCluster(t)
	c.add(t, "endpointslices", slice("knative-eventing", install.ReceiverName,
		endpointAt("10.0.0.2", true, false), endpointAt("10.0.0.1", false, false), endpointAt("10.0.0.3", true, true)))
	sink := newSink(t, nil)
	if err := c.ReconcileKind(withFlags(t, nil), sink); err != nil {
		t.Fatal(err)
	}
	slices.Sort(c.asked.asked) // All are asked at once.
	if diff := cmp.Diff([]string{"10.0.0.1:8081 default/a", "10.0.0.2:8081 default/a"}, c.asked.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if got := c.actions(t); len(got) > 0 {
		t.Errorf("a shared sink made %v", got)
	}
	if !sink.Status.GetCondition(apis.ConditionReady).IsTrue() || sink.Status.ImageDigest != imageA {
		t.Errorf("status %+v", sink.Status)
	}
	if got, want := sink.Status.Address.URL.String(), "http://kontain-receiver.knative-eventing.svc.cluster.local/default/a"; got != want || sink.Status.Addresses != nil {
		t.Errorf("address %s, %v; want %s", got, sink.Status.Addresses, want)
	}
}

func TestReconcileWaits(t *testing.T) {
	c := newCluster(t)
	sink := newSink(t, nil)
	var last time.Duration
	for range 20 {
		err := c.ReconcileKind(withFlags(t, nil), sink)
		again, after := controller.IsRequeueKey(err)
		if !again || after < firstAsk || after > mostAsk*11/10 {
			t.Fatalf("%v: asks again after %v", err, after)
		}
		last = after
	}
	if last < mostAsk {
		t.Errorf("asks again after %v, want at least %v", last, mostAsk)
	}
	if sink.Status.Address != nil {
		t.Error("a sink that nobody serves has an address")
	}
	if err := c.ObserveDeletion(t.Context(), types.NamespacedName{Namespace: sink.Namespace, Name: sink.Name}); err != nil || len(c.waits.per) > 0 {
		t.Errorf("a sink that is gone is remembered: %v, %v", err, c.waits.per)
	}
}

func TestReconcileDedicated(t *testing.T) {
	c := newCluster(t)
	c.add(t, "endpointslices", slice("default", "a-kontain-receiver", endpointAt("10.0.0.1", true, false)))
	sink := newSink(t, dedicated)
	reconcile := func() {
		t.Helper()
		if err := c.ReconcileKind(withFlags(t, nil), sink); err != nil {
			t.Fatal(err)
		}
	}
	reconcile()
	if diff := cmp.Diff([]string{"create serviceaccounts", "create rolebindings", "create services", "create deployments"}, c.actions(t)); diff != "" {
		t.Fatalf("first (-want +got):\n%s", diff)
	}
	if got, want := sink.Status.Address.URL.String(), "http://a-kontain-receiver.default.svc.cluster.local/default/a"; got != want {
		t.Errorf("address %s, want %s", got, want)
	}
	reconcile()
	if got := c.actions(t); len(got) > 0 {
		t.Errorf("nothing changed, and it did %v", got)
	}

	// Replicas are an autoscaler's.
	d, err := c.deployments.Deployments("default").Get("a-kontain-receiver")
	if err != nil {
		t.Fatal(err)
	}
	d.Spec.Replicas = ptr.To[int32](3)
	sink.Spec.Env[1].ValueFrom.SecretKeyRef.Optional = ptr.To(true)
	reconcile()
	if diff := cmp.Diff([]string{"update deployments"}, c.actions(t)); diff != "" {
		t.Errorf("another environment (-want +got):\n%s", diff)
	}
	if d, err = c.deployments.Deployments("default").Get("a-kontain-receiver"); err != nil || *d.Spec.Replicas != 3 {
		t.Errorf("replicas %v, %v", d.Spec.Replicas, err)
	}

	// What somebody changed is brought back; so is what is taken out again.
	d.Spec.Template.Spec.Containers[0].Image = "another"
	reconcile()
	sink.Spec.Env[1].ValueFrom.SecretKeyRef.Optional = nil
	if diff := cmp.Diff([]string{"update deployments"}, c.actions(t)); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	reconcile()
	if diff := cmp.Diff([]string{"update deployments"}, c.actions(t)); diff != "" {
		t.Errorf("taken out (-want +got):\n%s", diff)
	}

	sink.Spec.Receiver = v1alpha1.ReceiverShared
	c.add(t, "endpointslices", slice("knative-eventing", install.ReceiverName, endpointAt("10.0.0.2", true, false)))
	reconcile()
	if diff := cmp.Diff([]string{"delete deployments", "delete services", "delete rolebindings", "delete serviceaccounts"}, c.actions(t)); diff != "" {
		t.Errorf("shared again (-want +got):\n%s", diff)
	}
}

func TestReconcileLeavesWhatIsNotOurs(t *testing.T) {
	c := newCluster(t)
	c.add(t, "serviceaccounts", &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a-kontain-receiver"}})
	sink := newSink(t, dedicated)
	err := c.ReconcileKind(withFlags(t, nil), sink)
	if err == nil || !strings.Contains(err.Error(), "does not belong to the sink") {
		t.Errorf("error %v", err)
	}
	if got := sink.Status.GetCondition(v1alpha1.ConditionAddressable); !got.IsFalse() || got.Reason != "ReceiverFailed" {
		t.Errorf("condition %+v", got)
	}
	sink.Spec.Receiver = v1alpha1.ReceiverShared
	if err := c.ReconcileKind(withFlags(t, nil), sink); err == nil {
		t.Error("settled without a receiver")
	}
	if got := c.actions(t); len(got) > 0 {
		t.Errorf("it did %v", got)
	}
}

func TestReconcileAddresses(t *testing.T) {
	const authority = "-----BEGIN CERTIFICATE-----"
	for name, tc := range map[string]struct {
		flags     feature.Flags
		address   string
		addresses []string
		audience  string
	}{
		"plain":      {nil, "http", nil, ""},
		"permissive": {feature.Flags{feature.TransportEncryption: feature.Permissive}, "http", []string{"https", "http"}, ""},
		"strict":     {feature.Flags{feature.TransportEncryption: feature.Strict}, "https", []string{"https"}, ""},
		"OIDC":       {feature.Flags{feature.OIDCAuthentication: feature.Enabled}, "http", nil, "sinks.kontain.dev/kontainsink/default/a"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.add(t, "endpointslices", slice("knative-eventing", install.ReceiverName, endpointAt("10.0.0.1", true, false)))
			sink := newSink(t, nil)
			ctx := withFlags(t, tc.flags)
			if len(tc.addresses) > 0 {
				if err := c.ReconcileKind(ctx, sink); err == nil || sink.Status.GetCondition(v1alpha1.ConditionAddressable).Reason != "NoCertificate" {
					t.Errorf("without a certificate: %v, %+v", err, sink.Status)
				}
			}
			c.add(t, "secrets", &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: "knative-eventing", Name: install.ReceiverTLSSecretName},
				Data:       map[string][]byte{"ca.crt": []byte(authority)},
			})
			if err := c.ReconcileKind(ctx, sink); err != nil {
				t.Fatal(err)
			}
			if got := sink.Status.Address.URL.Scheme; got != tc.address {
				t.Errorf("address with %s, want %s", got, tc.address)
			}
			var got []string
			for _, a := range sink.Status.Addresses {
				got = append(got, a.URL.Scheme)
				if (a.URL.Scheme == "https") != (a.CACerts != nil && *a.CACerts == authority) {
					t.Errorf("%s with authority %v", a.URL.Scheme, a.CACerts)
				}
			}
			if diff := cmp.Diff(tc.addresses, got); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if got := ptr.Deref(sink.Status.Address.Audience, ""); got != tc.audience {
				t.Errorf("audience %q, want %q", got, tc.audience)
			}
		})
	}
}

func TestDeployment(t *testing.T) {
	t.Setenv(system.NamespaceEnvKey, "knative-eventing")
	sink := newSink(t, dedicated)
	config := install.NewConfig()
	d := func() *appsv1.Deployment {
		return resources.MakeDeployment(sink, resources.Settings{Image: "receiver:1", ConfigMaps: "{}", Config: config})
	}
	c := d().Spec.Template.Spec.Containers[0]
	env := map[string]corev1.EnvVar{}
	for _, e := range c.Env {
		env[e.Name] = e
	}
	if env[install.SinkEnv].Value != "default/a" || env[install.SinkValueEnv(1)].ValueFrom.SecretKeyRef.Key != "k" {
		t.Errorf("environment %+v", c.Env)
	}
	if _, there := env[install.SinkValueEnv(0)]; there {
		t.Error("a plain value is in the Deployment")
	}
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.MountPath == install.PullSecretsDir+"/registry" && m.ReadOnly
	}) {
		t.Errorf("mounts %+v", c.VolumeMounts)
	}
	if c.SecurityContext.Privileged != nil || !*c.SecurityContext.RunAsNonRoot {
		t.Errorf("security context %+v", c.SecurityContext)
	}
	// 16 machines of 128 MiB, and the receiver.
	if got := c.Resources.Limits.Memory().Value(); got != (16*128+512)<<20 {
		t.Errorf("memory limit %d", got)
	}
	config.KVMAccess = install.KVMDevicePlugin
	if q := d().Spec.Template.Spec.Containers[0].Resources.Limits[install.DefaultKVMResource]; q.Value() != 1 {
		t.Errorf("device %v", q)
	}
	config.KVMAccess = install.KVMPrivileged
	if c := d().Spec.Template.Spec.Containers[0]; !*c.SecurityContext.Privileged {
		t.Error("not privileged")
	}
	if b := resources.MakeRoleBinding(sink); b.RoleRef.Name != install.DedicatedClusterRoleName || b.Namespace != "default" || b.Subjects[0].Kind != rbacv1.ServiceAccountKind {
		t.Errorf("role binding %+v", b)
	}
}
