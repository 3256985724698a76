// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/client/clientset/versioned/fake"
	"kontain.dev/eventing/pkg/client/informers/externalversions"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/sinkstatus"
	"kontain.dev/eventing/vmexec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// digest returns a digest that is told apart by one character.
func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// registry is a server.Images whose tags are set by tests.
type registry struct {
	t     *testing.T
	root  string
	mu    sync.Mutex
	tags  map[string]string // full reference to digest
	asked []image.Request
}

func newRegistry(t *testing.T) *registry {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "app"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return &registry{t: t, root: root, tags: map[string]string{}}
}

func (r *registry) set(ref, digest string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags[ref] = digest
}

func (r *registry) requests() []image.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]image.Request(nil), r.asked...)
}

func (r *registry) Get(_ context.Context, req image.Request) (*image.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, req)
	ref, err := image.ParseReference(req.Ref)
	if err != nil {
		return nil, err
	}
	_, d, byDigest := strings.Cut(ref.String(), "@")
	if !byDigest {
		if d = r.tags[ref.String()]; d == "" {
			return nil, image.ErrNotFound
		}
	}
	// Each digest has a folder of its own, as in the cache.
	root := filepath.Join(r.root, d)
	if err := os.Symlink(r.root, root); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return &image.Image{Ref: ref.String(), Digest: d, Manifest: d, Root: root, Config: image.Config{Entrypoint: []string{"app"}, WorkingDir: "/"}}, nil
}

// source answers with what the program is started with.
type source struct{ spec dispatcher.Sink }

func (s source) Lease(context.Context, lease.Request) (lease.VM, error) { return s, nil }
func (s source) Prepare(context.Context) error                          { return nil }
func (s source) Stats() lease.Stats {
	return lease.Stats{Tier: s.spec.Tier, Snapshot: s.spec.Snapshot, Start: time.Second, Jail: &vmexec.JailReport{Level: 2}}
}
func (s source) Close() error { return nil }
func (s source) Run(context.Context, vmexec.IO) (*vmexec.Result, error) {
	return &vmexec.Result{Stdout: fmt.Appendf(nil, "%s %s %q %q", s.spec.ImageDigest[7:8], s.spec.Platform, s.spec.Args, s.spec.Env[2:])}, nil
}

// harness is a receiver with a fake API server's informer.
type harness struct {
	*testing.T
	client   *fake.Clientset
	images   *registry
	origin   *Origin
	url      string
	status   string
	secure   string // address of TLS
	log      *syncBuffer
	stop     context.CancelFunc
	ended    chan error
	stopOnce sync.Once
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func start(t *testing.T, images *registry, change func(*Config, *server.Config), sinks ...*v1alpha1.KontainSink) *harness {
	t.Helper()
	h := &harness{T: t, images: images, client: fake.NewSimpleClientset(), log: &syncBuffer{}, ended: make(chan error, 1)}
	for _, s := range sinks {
		h.put(s)
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	factory := externalversions.NewSharedInformerFactory(h.client, 0)
	informer := factory.Sinks().V1alpha1().KontainSinks()
	log := slog.New(slog.NewTextHandler(h.log, nil))
	oc := Config{Informer: informer.Informer(), Lister: informer.Lister(), Logger: log}
	sc := server.Config{
		Listen: "127.0.0.1:0", ListenProbes: "127.0.0.1:0", Images: images, Logger: log, QuietPeriod: 50 * time.Millisecond,
		Source:      func(s dispatcher.Sink) (lease.Source, error) { return source{s}, nil },
		PullBackoff: 20 * time.Millisecond,
	}
	if change != nil {
		change(&oc, &sc)
	}
	h.origin = New(oc)
	sc.Origin, sc.Probes = h.origin, sinkstatus.Handler(h.origin.Status)
	srv, err := server.New(sc)
	if err != nil {
		t.Fatal(err)
	}
	h.url, h.status = "http://"+srv.Addr().String(), srv.ProbeAddr().String()
	if a := srv.TLSAddr(); a != nil {
		h.secure = a.String()
	}
	factory.Start(ctx.Done())
	go func() {
		err := srv.Run(ctx)
		factory.Shutdown()
		h.ended <- err
	}()
	t.Cleanup(h.end)
	select {
	case <-srv.Ready():
	case err := <-h.ended:
		t.Fatalf("the server ended: %v\n%s", err, h.log)
	case <-time.After(60 * time.Second):
		t.Fatalf("not ready\n%s", h.log)
	}
	return h
}

func (h *harness) end() {
	h.stopOnce.Do(func() {
		h.stop()
		if err := <-h.ended; err != nil {
			h.Errorf("the server ended: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
		if h.Failed() {
			h.Log(h.log)
		}
	})
}

// put writes a sink to the API server.
func (h *harness) put(k *v1alpha1.KontainSink) {
	h.Helper()
	sinks := h.client.SinksV1alpha1().KontainSinks(k.Namespace)
	_, err := sinks.Update(context.Background(), k.DeepCopy(), metav1.UpdateOptions{})
	if err != nil {
		_, err = sinks.Create(context.Background(), k.DeepCopy(), metav1.CreateOptions{})
	}
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) remove(k *v1alpha1.KontainSink) {
	h.Helper()
	if err := h.client.SinksV1alpha1().KontainSinks(k.Namespace).Delete(context.Background(), k.Name, metav1.DeleteOptions{}); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) post(path string, headers ...string) (int, string) {
	h.Helper()
	req, err := http.NewRequest(http.MethodPost, h.url+path, strings.NewReader(`"data"`))
	if err != nil {
		h.Fatal(err)
	}
	req.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"}}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (h *harness) await(what string, cond func() bool) {
	h.Helper()
	for deadline := time.Now().Add(60 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("waited in vain for %s\n%s", what, h.log)
		}
	}
}

func (h *harness) awaitAnswer(path string, code int, part string) {
	h.Helper()
	h.await(fmt.Sprintf("%s to answer %d with %q", path, code, part), func() bool {
		got, body := h.post(path)
		return got == code && strings.Contains(body, part)
	})
}

// ask asks the status endpoint as the controller does.
func (h *harness) ask(name string) *sinkstatus.Status {
	h.Helper()
	s, err := sinkstatus.NewClient(30*time.Second).Get(context.Background(), h.status, "ns", name)
	if errors.Is(err, sinkstatus.ErrUnknownSink) {
		return nil
	}
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func newSink(name, ref string, generation int64, args ...string) *v1alpha1.KontainSink {
	k := &v1alpha1.KontainSink{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Generation: generation, UID: types.UID("uid-" + name)},
		Spec:       v1alpha1.KontainSinkSpec{FunctionSpec: v1alpha1.FunctionSpec{Image: ref, Args: args}},
	}
	return k
}

// settle writes the status that the controller would.
func settle(k *v1alpha1.KontainSink, digest string) *v1alpha1.KontainSink {
	k = k.DeepCopy()
	k.Status.InitializeConditions()
	k.Status.ObservedGeneration = k.Generation
	k.Status.MarkImageResolved(digest)
	return k
}

func TestImageByDigest(t *testing.T) {
	images := newRegistry(t)
	k := newSink("a", "example.com/app@"+digest("1"), 1, "x")
	h := start(t, images, nil, k)
	if code, body := h.post("/ns/a"); code != 200 || body != `1 kvm ["x"] []` {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := h.post("/ns/b"); code != 404 {
		t.Errorf("an unknown sink: %d", code)
	}
	if code, _ := h.post("/ns/a/b"); code != 404 {
		t.Errorf("a path below a sink: %d", code)
	}
	s := h.ask("a")
	if s == nil || !s.Ready || s.Generation != 1 || s.Image != "example.com/app@"+digest("1") || !s.ImageResolved.True() ||
		!s.Snapshot.True() || !s.Isolated.True() || s.Jail != 2 || s.Platform != sinkstatus.PlatformKVM {
		t.Errorf("status %+v", s)
	}
	if h.ask("b") != nil {
		t.Error("the status of an unknown sink")
	}
	h.remove(k)
	h.awaitAnswer("/ns/a", 404, "there is no sink")
	h.await("the status to go", func() bool { return h.ask("a") == nil })
}

// TestSettled holds that a tag is reported and served only as the controller settled it,
// and that the generation before serves until then.
func TestSettled(t *testing.T) {
	const ref, repo = "example.com/team/app:1", "example.com/team/app@"
	images := newRegistry(t)
	images.set(ref, digest("1"))
	first := newSink("a", ref, 1)
	h := start(t, images, nil, first)
	if code, body := h.post("/ns/a"); code != 503 || !strings.Contains(body, "the controller has not settled") {
		t.Errorf("before the controller: %d %s", code, body)
	}
	if s := h.ask("a"); s.Ready || s.Image != repo+digest("1") || !s.ImageResolved.True() || s.Reason != reasonNotSettled {
		t.Errorf("status %+v", s)
	}
	h.put(settle(first, repo+digest("1")))
	h.awaitAnswer("/ns/a", 200, "1 kvm")
	if n := len(images.requests()); n != 1 {
		t.Errorf("the registry was asked %d times", n)
	}

	// The tag means something else for the next generation, and another receiver, which
	// was asked first, found a third thing.
	images.set(ref, digest("2"))
	second := newSink("a", ref, 2, "y")
	second.Status = settle(first, repo+digest("1")).Status
	h.put(second)
	h.await("the new generation's image", func() bool { s := h.ask("a"); return s.Generation == 2 && s.Image == repo+digest("2") })
	if code, body := h.post("/ns/a"); code != 200 || !strings.HasPrefix(body, "1 kvm []") {
		t.Errorf("the generation before does not serve: %d %s", code, body)
	}
	h.put(settle(second, repo+digest("3")))
	h.awaitAnswer("/ns/a", 200, `3 kvm ["y"]`)
	h.await("the status", func() bool { s := h.ask("a"); return s.Ready && s.Image == repo+digest("3") })

	// One whose image is not to be had leaves it serving, and says so.
	third := newSink("a", "example.com/team/none:1", 3)
	third.Status = settle(second, repo+digest("3")).Status
	h.put(third)
	h.await("the failure", func() bool {
		s := h.ask("a")
		return s.Generation == 3 && s.ImageResolved.False() && s.Reason == sinkstatus.ReasonImagePullFailed && strings.Contains(s.Message, "no such image")
	})
	if code, body := h.post("/ns/a"); code != 200 || !strings.HasPrefix(body, "3 kvm") {
		t.Errorf("the generation before does not serve: %d %s", code, body)
	}
	for _, r := range images.requests() {
		if r.Scope != "ns" {
			t.Errorf("asked for %s in scope %q", r.Ref, r.Scope)
		}
	}
}

// TestSwitchUnderLoad holds that a new generation loses no event, and that each is answered
// by one version as a whole.
func TestSwitchUnderLoad(t *testing.T) {
	images := newRegistry(t)
	version := func(n int) *v1alpha1.KontainSink {
		return newSink("a", "example.com/app@"+digest(fmt.Sprint(n)), int64(n), fmt.Sprint(n))
	}
	h := start(t, images, nil, version(1))
	ctx, stop := context.WithCancel(t.Context())
	var answered atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				code, body := h.post("/ns/a")
				var of, arg string
				if n, _ := fmt.Sscanf(body, "%s kvm [%q]", &of, &arg); code != 200 || n != 2 || of != arg {
					t.Errorf("%d %s", code, body)
					return
				}
				answered.Add(1)
			}
		})
	}
	for n := 2; n <= 6; n++ {
		before := answered.Load()
		h.await("events of a version", func() bool { return answered.Load() >= before+20 || t.Failed() })
		h.put(version(n))
	}
	h.awaitAnswer("/ns/a", 200, `6 kvm ["6"]`)
	stop()
	load.Wait()
}

// TestPlatform holds that a sink runs without KVM only where the administrator allows it,
// and stops when that is withdrawn.
func TestPlatform(t *testing.T) {
	var allow atomic.Bool
	named := func(name string, p v1alpha1.Platform) *v1alpha1.KontainSink {
		k := newSink(name, "example.com/app@"+digest("1"), 1)
		k.Spec.Platform = p
		return k
	}
	h := start(t, newRegistry(t), func(c *Config, _ *server.Config) {
		c.NoKVM, c.AllowPtrace = errors.New("/dev/kvm: no such file or directory"), allow.Load
	}, named("auto", ""), named("kvm", v1alpha1.PlatformKVM), named("ptrace", v1alpha1.PlatformPtrace))
	for name, reason := range map[string]string{"auto": sinkstatus.ReasonNoKVM, "kvm": sinkstatus.ReasonNoKVM, "ptrace": sinkstatus.ReasonPlatformNotAllowed} {
		if code, body := h.post("/ns/" + name); code != 503 {
			t.Errorf("%s: %d %s", name, code, body)
		}
		if s := h.ask(name); s.Ready || s.Reason != reason || !s.ImageResolved.True() || !strings.Contains(s.Message, "KVM") {
			t.Errorf("%s: %+v", name, s)
		}
	}
	allow.Store(true)
	h.origin.Changed()
	h.awaitAnswer("/ns/auto", 200, "1 ptrace")
	h.awaitAnswer("/ns/ptrace", 200, "1 ptrace")
	if s := h.ask("auto"); !s.Isolated.False() || s.Platform != sinkstatus.PlatformPtrace {
		t.Errorf("status %+v", s)
	}
	if code, _ := h.post("/ns/kvm"); code != 503 {
		t.Errorf("a sink that asks for KVM: %d", code)
	}
	allow.Store(false)
	h.origin.Changed()
	h.awaitAnswer("/ns/auto", 503, "there is no KVM where its machines would run")
	h.awaitAnswer("/ns/ptrace", 503, "allows no platform but KVM")
}

func TestRefused(t *testing.T) {
	dedicated := newSink("dedicated", "example.com/app@"+digest("1"), 1)
	dedicated.Spec.Receiver = v1alpha1.ReceiverDedicated
	program := newSink("program", "", 1)
	program.Spec.Program = "/bin/sh"
	h := start(t, newRegistry(t), nil, dedicated, program, newSink("folder", "dir:/etc", 1), newSink("path", "/etc", 1))
	if code, _ := h.post("/ns/dedicated"); code != 404 || h.ask("dedicated") != nil {
		t.Errorf("the shared receiver has a sink that asks for its own: %d", code)
	}
	for _, name := range []string{"program", "folder", "path"} {
		s := h.ask(name)
		if code, body := h.post("/ns/" + name); code != 503 || s == nil || s.Reason != sinkstatus.ReasonInvalid {
			t.Errorf("%s: %d %s, %+v", name, code, body, s)
		}
	}
}

// TestDedicated holds that a receiver of one sink has no other, and gives it the values
// that its pod was started with.
func TestDedicated(t *testing.T) {
	secret := func(optional bool) *v1alpha1.EnvVarSource {
		return &v1alpha1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k", LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Optional: &optional}}
	}
	k := newSink("a", "example.com/app@"+digest("1"), 1)
	k.Spec.Receiver = v1alpha1.ReceiverDedicated
	k.Spec.Env = []v1alpha1.EnvVar{{Name: "A", Value: "a"}, {Name: "B", ValueFrom: secret(false)}, {Name: "C", ValueFrom: secret(true)}}
	values := map[int]string{1: "secret"}
	var made atomic.Pointer[dispatcher.Sink]
	h := start(t, newRegistry(t), func(c *Config, sc *server.Config) {
		c.Only = types.NamespacedName{Namespace: "ns", Name: "a"}
		c.Value = func(i int) (string, bool) { v, ok := values[i]; return v, ok }
		c.Values = install.SinkValues(k.Spec.Env)
		make := sc.Source
		sc.Source = func(s dispatcher.Sink) (lease.Source, error) { made.Store(&s); return make(s) }
	}, k, newSink("b", "example.com/app@"+digest("1"), 1))
	if code, body := h.post("/ns/a"); code != 200 || !strings.Contains(body, `["A=a" "B=secret"]`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := h.post("/ns/b"); code != 404 {
		t.Errorf("another sink: %d", code)
	}
	if s := made.Load(); s == nil || !s.Secret {
		t.Error("what a Secret fed may come to rest on disk")
	}
	// The pod of before must not give one variable's value to another.
	swapped := k.DeepCopy()
	swapped.Generation = 2
	swapped.Spec.Env[1], swapped.Spec.Env[2] = swapped.Spec.Env[2], swapped.Spec.Env[1]
	h.put(swapped)
	h.await("values of other variables to be refused", func() bool {
		s := h.ask("a")
		return s.Generation == 2 && s.Reason == reasonMissingValue && strings.Contains(s.Message, "other variables")
	})
	if code, body := h.post("/ns/a"); code != 200 || !strings.Contains(body, `["A=a" "B=secret"]`) {
		t.Errorf("%d %s", code, body)
	}
}

// TestEgress holds that the shared receiver never runs a sink with egress, whoever let it
// through, says so, and goes on serving the generation before.
func TestEgress(t *testing.T) {
	var made sync.Map
	watch := func(_ *Config, sc *server.Config) {
		make := sc.Source
		sc.Source = func(s dispatcher.Sink) (lease.Source, error) {
			if len(s.Egress) > 0 {
				made.Store(s.Name, true)
			}
			return make(s)
		}
	}
	with := func(name string, generation int64) *v1alpha1.KontainSink {
		k := newSink(name, "example.com/app@"+digest("1"), generation)
		k.Spec.Egress = []string{"example.com:443"}
		return k
	}
	h := start(t, newRegistry(t), watch, with("new", 1), newSink("changed", "example.com/app@"+digest("1"), 1))
	if code, body := h.post("/ns/new"); code != 503 || !strings.Contains(body, "receiver: Dedicated") {
		t.Errorf("a sink with egress: %d %s", code, body)
	}
	if s := h.ask("new"); s.Ready || s.Reason != sinkstatus.ReasonEgressNotAllowed || !strings.Contains(s.Message, "write receiver: Dedicated, or remove egress") {
		t.Errorf("a sink with egress: %+v", s)
	}
	h.put(with("changed", 2))
	h.await("egress that was added to be refused", func() bool {
		s := h.ask("changed")
		return s.Generation == 2 && !s.Ready && s.Reason == sinkstatus.ReasonEgressNotAllowed
	})
	if code, _ := h.post("/ns/changed"); code != 200 {
		t.Errorf("the generation before: %d", code)
	}
	made.Range(func(name, _ any) bool {
		t.Errorf("machines were made for %s", name)
		return true
	})

	own := with("new", 1)
	own.Spec.Receiver = v1alpha1.ReceiverDedicated
	d := start(t, newRegistry(t), func(c *Config, sc *server.Config) {
		c.Only = types.NamespacedName{Namespace: "ns", Name: "new"}
		watch(c, sc)
	}, own)
	if code, body := d.post("/ns/new"); code != 200 {
		t.Errorf("in a receiver of its own: %d %s", code, body)
	}
	if _, ok := made.Load("new"); !ok {
		t.Error("in a receiver of its own it has no egress")
	}
}

// TestMissingValue holds that a sink is not served without a value that it needs.
func TestMissingValue(t *testing.T) {
	k := newSink("a", "example.com/app@"+digest("1"), 1)
	k.Spec.Receiver = v1alpha1.ReceiverDedicated
	k.Spec.Env = []v1alpha1.EnvVar{{Name: "A", ValueFrom: &v1alpha1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k", LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}}}}
	h := start(t, newRegistry(t), func(c *Config, _ *server.Config) { c.Only = types.NamespacedName{Namespace: "ns", Name: "a"} }, k)
	if s := h.ask("a"); s.Reason != reasonMissingValue || !strings.Contains(s.Message, "spec.env[0]") {
		t.Errorf("%+v", s)
	}
	if code, _ := h.post("/ns/a"); code != 503 {
		t.Errorf("%d", code)
	}
}

// TestProgramFails holds that a sink whose machines cannot be made is tried again.
func TestProgramFails(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	h := start(t, newRegistry(t), func(_ *Config, sc *server.Config) {
		make := sc.Source
		sc.Source = func(s dispatcher.Sink) (lease.Source, error) {
			if broken.Load() {
				return nil, errors.New("no memory")
			}
			return make(s)
		}
	}, newSink("a", "example.com/app@"+digest("1"), 1))
	if code, body := h.post("/ns/a"); code != 503 || !strings.Contains(body, "no memory") {
		t.Errorf("%d %s", code, body)
	}
	if s := h.ask("a"); s.Ready || s.Reason != reasonFailed || !s.ImageResolved.True() {
		t.Errorf("status %+v", s)
	}
	broken.Store(false)
	h.awaitAnswer("/ns/a", 200, "1 kvm")
}

// TestDrain holds that what is sent while a pod ends is answered: readiness fails on the
// status port first, and the listener closes last.
func TestDrain(t *testing.T) {
	h := start(t, newRegistry(t), func(_ *Config, sc *server.Config) { sc.QuietPeriod = 500 * time.Millisecond },
		newSink("a", "example.com/app@"+digest("1"), 1))
	ready := func() int {
		resp, err := http.Get("http://" + h.status + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if code := ready(); code != 200 {
		t.Errorf("readyz %d", code)
	}
	h.stop()
	h.await("readiness to fail", func() bool { return ready() == 503 })
	if code, _ := h.post("/ns/a"); code != 200 {
		t.Errorf("an event in the quiet period: %d", code)
	}
	h.end()
	if c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://")); err == nil {
		_ = c.Close()
		t.Error("the listener is still open")
	}
}

func TestSettledImage(t *testing.T) {
	const repo = "docker.io/library/app@"
	k := newSink("a", "app:1", 2)
	stale := settle(k, repo+digest("1"))
	stale.Generation = 3
	unknown := settle(k, repo+digest("1"))
	unknown.Status.MarkImageNotResolved("ImagePullFailed", "no")
	for name, tc := range map[string]struct {
		k    *v1alpha1.KontainSink
		want string
	}{
		"nothing":            {k, ""},
		"settled":            {settle(k, repo+digest("1")), repo + digest("1")},
		"settled, digest":    {settle(k, digest("1")), repo + digest("1")},
		"other repository":   {settle(k, "example.com/evil@"+digest("1")), repo + digest("1")},
		"no digest":          {settle(k, "sha256:1"), ""},
		"generation before":  {stale, ""},
		"not resolved":       {unknown, ""},
		"by digest":          {newSink("a", "app@"+digest("2"), 1), repo + digest("2")},
		"by tag and digest":  {newSink("a", "app:1@"+digest("2"), 1), repo + digest("2")},
		"no reference":       {newSink("a", "::", 1), ""},
		"without any status": {&v1alpha1.KontainSink{Status: v1alpha1.KontainSinkStatus{Status: duckv1.Status{Conditions: duckv1.Conditions{{Type: apis.ConditionReady}}}}}, ""},
	} {
		if got := settledImage(tc.k); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestMissingPullSecret holds that a sink whose image is refused says which of its pull
// secrets is not there, and that its message is the same after each attempt.
func TestMissingPullSecret(t *testing.T) {
	k := newSink("a", "example.com/app:1", 1)
	k.Spec.Receiver = v1alpha1.ReceiverDedicated
	k.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "there"}, {Name: "registry"}}
	var mu sync.Mutex
	missing := []string{"registry"}
	images := newRegistry(t)
	h := start(t, images, func(c *Config, _ *server.Config) {
		c.Only = types.NamespacedName{Namespace: "ns", Name: "a"}
		c.Missing = func(names []string) []string {
			mu.Lock()
			defer mu.Unlock()
			if len(names) != 2 || names[0] != "there" {
				t.Errorf("asked about %v", names)
			}
			return missing
		}
	}, k)
	const want = "in the namespace ns there is no Secret registry with the key .dockerconfigjson; its image cannot be had"
	var first string
	h.await("the message", func() bool {
		s := h.ask("a")
		first = s.Message
		return s.ImageResolved.False() && s.ImageResolved.Message == s.Message && strings.Contains(s.Message, want)
	})
	tries := len(images.requests())
	h.await("further attempts", func() bool { return len(images.requests()) > tries+4 })
	if now := h.ask("a").Message; now != first {
		t.Errorf("the message was %q and is %q", first, now)
	}
	mu.Lock()
	missing = nil
	mu.Unlock()
	h.origin.Changed()
	h.await("the Secret", func() bool { return !strings.Contains(h.ask("a").Message, "no Secret") })
}
