// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/reconciler"

	sinksv1alpha1 "kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	listers "kontain.dev/eventing/pkg/client/listers/sources/v1alpha1"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/source/journal/object"
	"kontain.dev/eventing/vmexec"
)

// patience is the longest that a test waits for what should take moments.
const patience = time.Minute

// await waits until f finds nothing wrong.
func await(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal("waited in vain: ", err)
}

// states are the KontainSourceStates of a namespace, as an API server has them.
type states struct {
	mu      sync.Mutex
	objects map[string]*v1alpha1.KontainSourceState
	version int
}

var resource = schema.GroupResource{Group: "sources.kontain.dev", Resource: "kontainsourcestates"}

func (s *states) Get(_ context.Context, name string, _ metav1.GetOptions) (*v1alpha1.KontainSourceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[name]; o != nil {
		return o.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(resource, name)
}

func (s *states) Create(_ context.Context, o *v1alpha1.KontainSourceState, _ metav1.CreateOptions) (*v1alpha1.KontainSourceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[o.Name] != nil {
		return nil, apierrors.NewAlreadyExists(resource, o.Name)
	}
	return s.set(o), nil
}

func (s *states) Update(_ context.Context, o *v1alpha1.KontainSourceState, _ metav1.UpdateOptions) (*v1alpha1.KontainSourceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before := s.objects[o.Name]; {
	case before == nil:
		return nil, apierrors.NewNotFound(resource, o.Name)
	case before.ResourceVersion != o.ResourceVersion:
		return nil, apierrors.NewConflict(resource, o.Name, errors.New("it is another version"))
	}
	return s.set(o), nil
}

func (s *states) set(o *v1alpha1.KontainSourceState) *v1alpha1.KontainSourceState {
	s.version++
	o = o.DeepCopy()
	o.ResourceVersion = strconv.Itoa(s.version)
	s.objects[o.Name] = o
	return o.DeepCopy()
}

// report returns what an adapter has written of a source, and who has it.
func (s *states) report(name string) (v1alpha1.Report, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[name]; o != nil {
		return o.Report, o.Holder
	}
	return v1alpha1.Report{}, ""
}

// informer has the sources of a test, which says itself what changes.
type informer struct {
	cache.SharedIndexInformer
	indexer cache.Indexer

	mu       sync.Mutex
	handlers map[*registration]cache.ResourceEventHandler
}

type registration struct {
	cache.ResourceEventHandlerRegistration
}

func newInformer() *informer {
	return &informer{
		indexer:  cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
		handlers: map[*registration]cache.ResourceEventHandler{},
	}
}

func (i *informer) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := &registration{}
	i.handlers[r] = h
	return r, nil
}

func (i *informer) RemoveEventHandler(r cache.ResourceEventHandlerRegistration) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.handlers, r.(*registration))
	return nil
}

// set makes or changes a source.
func (i *informer) set(t *testing.T, k *v1alpha1.KontainSource) {
	t.Helper()
	if err := i.indexer.Update(k); err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, h := range i.handlers {
		h.OnUpdate(nil, k)
	}
}

// testImages are those of a test, by reference.
type testImages struct {
	mu    sync.Mutex
	roots map[string]string
}

func (i *testImages) Get(_ context.Context, r image.Request) (*image.Image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	root, ok := i.roots[r.Ref]
	if strings.HasSuffix(r.Ref, "@"+digest) {
		root, ok = i.roots["example.com/beat:1"]
	}
	if !ok {
		return nil, fmt.Errorf("%s: there is no such image", r.Ref)
	}
	return &image.Image{
		Ref: r.Ref, Digest: digest, Manifest: digest, Root: root,
		Config: image.Config{Entrypoint: []string{"/app"}, WorkingDir: "/"},
	}, nil
}

// place is what the adapters of a test share: the cluster.
type place struct {
	states *states
	*informer
	images *testImages
	engine *server.Engine
	noKVM  error
	sink   *httptest.Server

	mu  sync.Mutex
	ids map[string][]string // of the events that came, by source
}

func newPlace(t *testing.T) *place {
	t.Helper()
	host, err := vmexec.Open(vmexec.Auto)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &place{
		states: &states{objects: map[string]*v1alpha1.KontainSourceState{}}, informer: newInformer(),
		images: &testImages{roots: map[string]string{}}, ids: map[string][]string{},
	}
	if host.Kind() != vmexec.KVM {
		p.noKVM = errors.New("this machine has none")
	}
	p.engine = server.NewEngine(host, lease.Options{}, server.Jail{}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := p.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	p.sink = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		source := r.Header.Get("Ce-Source")
		p.ids[source] = append(p.ids[source], r.Header.Get("Ce-Id"))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(p.sink.Close)
	p.add(t, "example.com/beat:1")
	return p
}

// add makes an image with a program that writes a line.
func (p *place) add(t *testing.T, ref string) {
	t.Helper()
	root := t.TempDir()
	if err := os.Rename(contracttest.BuildGo(t, "testdata/beat"), filepath.Join(root, "app")); err != nil {
		t.Fatal(err)
	}
	p.images.mu.Lock()
	defer p.images.mu.Unlock()
	p.images.roots[ref] = root
}

// source is one as the controller leaves it.
func (p *place) source(t *testing.T, name, image string, generation int64) *v1alpha1.KontainSource {
	t.Helper()
	k := &v1alpha1.KontainSource{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), Generation: generation},
	}
	k.Spec.Image = image
	k.Spec.Isolation = sinksv1alpha1.IsolationVM // which needs no worker processes
	k.Spec.Interval = &metav1.Duration{Duration: time.Second}
	uri, err := apis.ParseURL(p.sink.URL)
	if err != nil {
		t.Fatal(err)
	}
	k.Spec.Sink = duckv1.Destination{URI: uri}
	k.SetDefaults(t.Context())
	k.Status.ObservedGeneration = generation
	k.Status.SinkURI = uri
	k.Status.MarkDeadLetterSinkNotConfigured()
	k.Status.MarkOIDCIdentityCreatedSucceeded()
	return k
}

// adapter starts one, which has no bucket yet. It ends with the test, or before by stop.
func (p *place) adapter(t *testing.T, name string) (o *Origin, stop func()) {
	t.Helper()
	o = New(Config{
		Informer: p, Lister: listers.NewKontainSourceLister(p.indexer),
		States:   func(string) object.Client { return p.states },
		Identity: name, Images: p.images, Machines: p.engine,
		NoKVM: p.noKVM, AllowPtrace: func() bool { return true },
		Events: record.NewFakeRecorder(1000),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	await(t, func() error {
		p.informer.mu.Lock()
		defer p.informer.mu.Unlock()
		if len(p.handlers) == 0 {
			return errors.New("the adapter does not listen")
		}
		return nil
	})
	return o, stop
}

// came returns how many events of a source there were, and how many of them were there before.
func (p *place) came(name string) (n, again int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[string]bool{}
	for source, ids := range p.ids {
		if !strings.HasSuffix(source, "/"+name) {
			continue
		}
		for _, id := range ids {
			if seen[id] {
				again++
			}
			seen[id] = true
		}
	}
	return len(seen), again
}

// more waits for three further events of each of these sources.
func (p *place) more(t *testing.T, names ...string) {
	t.Helper()
	before := map[string]int{}
	for _, name := range names {
		before[name], _ = p.came(name)
	}
	await(t, func() error {
		for _, name := range names {
			if n, _ := p.came(name); n < before[name]+3 {
				r, holder := p.states.report(name)
				return fmt.Errorf("%s: %d events, %d before; %s reports %+v", name, n, before[name], holder, r)
			}
		}
		return nil
	})
}

// found waits for what an adapter reports.
func (p *place) found(t *testing.T, name string, is func(v1alpha1.Report) bool) {
	t.Helper()
	await(t, func() error {
		if r, holder := p.states.report(name); !is(r) {
			return fmt.Errorf("%s reports %+v", holder, r)
		}
		return nil
	})
}

// A generation runs on until the next one can; and that takes what the one before has
// reached over.
func TestTakeOver(t *testing.T) {
	p := newPlace(t)
	o, stop := p.adapter(t, "a")
	p.set(t, p.source(t, "beat", "example.com/beat:1", 1))
	if err := o.Promote(reconciler.UniversalBucket(), func(reconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	p.more(t, "beat")
	p.set(t, p.source(t, "beat", "example.com/beat:2", 2))
	p.found(t, "beat", func(r v1alpha1.Report) bool {
		return r.Generation == 2 && r.Image == "" && r.ImageResolved.Status == v1alpha1.FindingFalse &&
			strings.Contains(r.ImageResolved.Message, "example.com/beat:2: there is no such image") &&
			r.Scheduled.Status == "" && strings.Contains(r.Scheduled.Message, "generation 1 runs on") && r.History.Runs > 0
	})
	p.more(t, "beat")
	// The author has another idea, which is no better.
	p.set(t, p.source(t, "beat", "example.com/beat:3", 3))
	p.found(t, "beat", func(r v1alpha1.Report) bool {
		return r.Generation == 3 && strings.Contains(r.ImageResolved.Message, "example.com/beat:3")
	})
	p.more(t, "beat")
	before, _ := p.states.report("beat")
	p.add(t, "example.com/beat:3")
	p.found(t, "beat", func(r v1alpha1.Report) bool {
		return r.Generation == 3 && strings.HasPrefix(r.Image, "example.com/beat@sha256:") && r.ImageResolved.Status == v1alpha1.FindingTrue &&
			r.Scheduled.Status == v1alpha1.FindingTrue && r.History.Runs >= before.History.Runs
	})
	p.more(t, "beat")
	// What shall rest does so at once, whatever its image.
	k := p.source(t, "beat", "example.com/beat:4", 4)
	k.Spec.Suspend = true
	p.set(t, k)
	p.found(t, "beat", func(r v1alpha1.Report) bool {
		return r.Generation == 4 && strings.Contains(r.ImageResolved.Message, "example.com/beat:4") && !strings.Contains(r.Scheduled.Message, "runs on")
	})
	if s := o.Stats(); len(s) != 1 {
		t.Errorf("%v", s)
	}
	stop()
	if s := o.Stats(); len(s) != 0 {
		t.Errorf("when it has ended: %v", s)
	}
}

// bucket has the sources whose names begin with it.
type bucket string

func (b bucket) Name() string                      { return string(b) }
func (b bucket) Has(key types.NamespacedName) bool { return strings.HasPrefix(key.Name, string(b)) }

// Two adapters share sources out by buckets. One that has lost a bucket, and knows it or
// not, makes no run of its sources once the other one has it.
func TestAdapters(t *testing.T) {
	p := newPlace(t)
	one, stopOne := p.adapter(t, "one")
	two, _ := p.adapter(t, "two")
	names := []string{"a1", "a2", "b1", "b2"}
	for _, name := range names {
		p.set(t, p.source(t, name, "example.com/beat:1", 1))
	}
	enqueue := func(reconciler.Bucket, types.NamespacedName) {}
	promote := func(o *Origin, b bucket) {
		t.Helper()
		if err := o.Promote(b, enqueue); err != nil {
			t.Fatal(err)
		}
	}
	promote(one, "a")
	promote(two, "b")
	held := func(name, by string) {
		t.Helper()
		await(t, func() error {
			if _, holder := p.states.report(name); !strings.HasPrefix(holder, by+"/") {
				return fmt.Errorf("%s has %s", holder, name)
			}
			return nil
		})
	}
	p.more(t, names...)
	held("a1", "one")
	held("b1", "two")
	if n, m := len(one.Stats()), len(two.Stats()); n != 2 || m != 2 {
		t.Errorf("they have %d and %d sources", n, m)
	}
	// The first one has lost its bucket and does not know it.
	promote(two, "a")
	held("a1", "two")
	held("a2", "two")
	p.more(t, names...)
	held("a1", "two")
	if s := one.Stats()["ns/a1"]; s.Runs+s.Failed+s.Missed > 0 {
		t.Errorf("the one that has lost the source says of it %+v", s)
	}
	one.Demote(bucket("a"))
	if n, m := len(one.Stats()), len(two.Stats()); n != 0 || m != 4 {
		t.Errorf("they have %d and %d sources", n, m)
	}
	// And back, as at an upgrade: the one stops first.
	two.Demote(bucket("a"))
	promote(one, "a")
	held("a2", "one")
	p.more(t, names...)
	stopOne()
	for _, name := range names {
		if _, again := p.came(name); again > 2 { // one may have been on its way each time
			t.Errorf("%d events of %s came again", again, name)
		}
	}
}
