// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsource

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	appsv1listers "k8s.io/client-go/listers/apps/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/client/injection/ducks/duck/v1/addressable"
	fakedynamic "knative.dev/pkg/injection/clients/dynamicclient/fake"
	"knative.dev/pkg/resolver"
	"knative.dev/pkg/system"
	"knative.dev/pkg/tracker"

	sinksv1alpha1 "kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	listers "kontain.dev/eventing/pkg/client/listers/sources/v1alpha1"
	"kontain.dev/eventing/pkg/install"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is what the controller finds.
type world struct {
	source  *v1alpha1.KontainSource
	state   *v1alpha1.KontainSourceState
	adapter int32 // available pods of it
	flags   feature.Flags
	objects []runtime.Object // that a sink may be
	clock   *clocktesting.FakePassiveClock
}

func newWorld() *world {
	k := &v1alpha1.KontainSource{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "beat", UID: "1", Generation: 2},
		Spec: v1alpha1.KontainSourceSpec{
			SourceSpec:   duckv1.SourceSpec{Sink: duckv1.Destination{URI: apis.HTTP("sink.example")}},
			FunctionSpec: sinksv1alpha1.FunctionSpec{Image: "registry.example/beat"},
			Schedule:     "@hourly",
		},
	}
	k.SetDefaults(context.Background())
	k.Status.InitializeConditions()
	yes := v1alpha1.Finding{Status: v1alpha1.FindingTrue}
	return &world{
		source: k, adapter: 1, clock: clocktesting.NewFakePassiveClock(start),
		state: &v1alpha1.KontainSourceState{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "beat", OwnerReferences: []metav1.OwnerReference{{UID: "1"}}},
			Report: v1alpha1.Report{
				Generation: 2, Image: "registry.example/beat@sha256:1", ImageResolved: yes, Scheduled: yes, Succeeding: yes, Isolated: yes,
				History: v1alpha1.History{Runs: 7},
			},
		},
	}
}

// reconciler returns the controller, for one or several calls.
func (w *world) reconciler(t *testing.T) (*Reconciler, context.Context, *fake.Clientset) {
	t.Helper()
	t.Setenv(system.NamespaceEnvKey, "knative-eventing")
	index := func(objects ...any) cache.Indexer {
		i := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		for _, o := range objects {
			if err := i.Add(o); err != nil {
				t.Fatal(err)
			}
		}
		return i
	}
	states := index()
	if w.state != nil {
		states = index(w.state)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "knative-eventing", Name: install.SourceName}}
	d.Status.AvailableReplicas = w.adapter
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), eventingv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(feature.ToContext(t.Context(), w.flags))
	t.Cleanup(cancel)
	ctx, _ = fakedynamic.With(ctx, scheme, w.objects...)
	ctx = addressable.WithDuck(ctx)
	kube := fake.NewClientset()
	return &Reconciler{
		kube: kube, clock: w.clock,
		states:          listers.NewKontainSourceStateLister(states),
		deployments:     appsv1listers.NewDeploymentLister(index(d)),
		serviceAccounts: corev1listers.NewServiceAccountLister(index()),
		resolver:        resolver.NewURIResolverFromTracker(ctx, tracker.New(func(types.NamespacedName) {}, 0)),
	}, ctx, kube
}

func TestReconcile(t *testing.T) {
	ref := func(name string) duckv1.Destination {
		return duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "v1", Kind: "Service", Namespace: "ns", Name: name}}
	}
	for _, c := range []struct {
		name   string
		change func(*world)
		// want is CONDITION=STATUS[:REASON] of each that counts; sink is status.sinkUri.
		want []string
		sink string
		err  string
	}{
		{"ready", nil, []string{"Ready=True", "SinkProvided=True", "Scheduled=True", "ImageResolved=True", "Succeeding=True", "Isolated=True", "OIDCIdentityCreated=True"}, "http://sink.example", ""},
		{"by reference", func(w *world) {
			w.source.Spec.Sink = ref("there")
			w.objects = []runtime.Object{&corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "there"}}}
		}, []string{"Ready=True"}, "http://there.ns.svc.cluster.local", ""},
		{"no such sink", func(w *world) {
			w.source.Spec.Sink = duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "eventing.knative.dev/v1", Kind: "Broker", Namespace: "ns", Name: "away"}}
		}, []string{"Ready=False:NotFound", "SinkProvided=False:NotFound", "Scheduled=Unknown:NoSink"}, "", "The sink Broker away has no address"},
		{"nobody has reported", func(w *world) { w.state = nil }, []string{"Ready=Unknown:Pending", "Scheduled=Unknown:Pending", "ImageResolved=Unknown:Pending", "Succeeding="}, "http://sink.example", ""},
		{"the report is of the generation before", func(w *world) { w.state.Report.Generation = 1 }, []string{"Scheduled=Unknown:Pending", "Succeeding="}, "http://sink.example", ""},
		{"the state is of a source that was deleted", func(w *world) { w.state.OwnerReferences[0].UID = "9" }, []string{"Scheduled=Unknown:Pending"}, "http://sink.example", ""},
		{"no adapter", func(w *world) { w.adapter = 0 }, []string{"Ready=False:NoAdapter", "Scheduled=False:NoAdapter"}, "http://sink.example", ""},
		{"no image", func(w *world) {
			w.state.Report.ImageResolved = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "ImagePullFailed", Message: "no such tag"}
		}, []string{"Ready=False:ImagePullFailed"}, "http://sink.example", ""},
		{"the last run failed", func(w *world) {
			w.state.Report.Succeeding = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "RunFailed", Message: "%s in line 2"}
		}, []string{"Ready=True", "Succeeding=False:RunFailed"}, "http://sink.example", ""},
		{"identity", func(w *world) { w.flags = feature.Flags{feature.OIDCAuthentication: feature.Enabled} }, []string{"OIDCIdentityCreated=True", "Ready=True"}, "http://sink.example", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			if c.change != nil {
				c.change(w)
			}
			r, ctx, kube := w.reconciler(t)
			err := r.ReconcileKind(ctx, w.source)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			s := &w.source.Status
			for _, want := range c.want {
				kind, value, _ := strings.Cut(want, "=")
				status, reason, _ := strings.Cut(value, ":")
				got := s.GetCondition(apis.ConditionType(kind))
				switch {
				case status == "" && got != nil, status != "" && got == nil:
					t.Errorf("%s is %v, want %q", kind, got, value)
				case got != nil && (string(got.Status) != status || reason != "" && got.Reason != reason):
					t.Errorf("%s is %s, %s, %s; want %q", kind, got.Status, got.Reason, got.Message, value)
				}
			}
			if uri := s.SinkURI.String(); uri != c.sink {
				t.Errorf("sinkUri %q, want %q", uri, c.sink)
			}
			if len(s.CloudEventAttributes) != 1 || s.CloudEventAttributes[0].Type != "dev.kontain.beat.output" {
				t.Errorf("ceAttributes %v", s.CloudEventAttributes)
			}
			accounts, err := kube.CoreV1().ServiceAccounts("ns").List(ctx, metav1.ListOptions{})
			if err != nil || (s.Auth != nil) != (len(accounts.Items) == 1) || (s.Auth != nil) != w.flags.IsOIDCAuthentication() {
				t.Errorf("auth %v, %d service accounts, %v", s.Auth, len(accounts.Items), err)
			}
		})
	}
}

// A source that runs often has its status written every ten seconds, and at once when
// more than the history changes.
func TestHistoryIsHeldBack(t *testing.T) {
	w := newWorld()
	r, ctx, _ := w.reconciler(t)
	w.source.Status.ObservedGeneration = w.source.Generation
	reconcile := func(runs int64, after time.Duration) int64 {
		t.Helper()
		w.state.Report.History.Runs = runs
		w.clock.SetTime(start.Add(after))
		err := r.ReconcileKind(ctx, w.source)
		if held := w.source.Status.History.Runs != runs; held != (err != nil) {
			t.Errorf("held back: %v, and called again: %v", held, err)
		}
		return w.source.Status.History.Runs
	}
	for _, c := range []struct {
		name  string
		runs  int64
		after time.Duration
		do    func()
		want  int64
	}{
		{"the first", 1, 0, nil, 1},
		{"soon after", 2, time.Second, nil, 1},
		{"again", 9, 9 * time.Second, nil, 1},
		{"later", 10, 10 * time.Second, nil, 10},
		{"a condition changes", 11, 11 * time.Second, func() {
			w.state.Report.Succeeding = v1alpha1.Finding{Status: v1alpha1.FindingFalse, Reason: "RunFailed"}
		}, 11},
		{"soon after that", 12, 12 * time.Second, nil, 11},
	} {
		if c.do != nil {
			c.do()
		}
		if got := reconcile(c.runs, c.after); got != c.want {
			t.Errorf("%s: %d runs, want %d", c.name, got, c.want)
		}
	}
}
