// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imageOf makes an image of layers.
func imageOf(t testing.TB, c v1.Config, layers ...[]byte) v1.Image {
	t.Helper()
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: c})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, l); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

func simpleImage(t testing.TB, text string) v1.Image {
	return imageOf(t, v1.Config{Entrypoint: []string{"/bin/app"}, Env: []string{"A=b"}, User: "65532"},
		layerOf(t, file{name: "bin/app", body: "#!" + text, mode: 0o755}), layerOf(t, file{name: "etc/version", body: text}))
}

// testRegistry is a registry in this process whose answers can be changed.
type testRegistry struct {
	*httptest.Server
	host     string
	requests atomic.Int64
	blobs    atomic.Int64 // layers and configurations that were asked for
	before   atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

// intercept has f answer instead of the registry when it returns true.
func (r *testRegistry) intercept(f func(http.ResponseWriter, *http.Request) bool) { r.before.Store(&f) }

func newRegistry(t testing.TB, https bool) *testRegistry {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &testRegistry{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.requests.Add(1)
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			r.blobs.Add(1)
		}
		if f := r.before.Load(); f != nil && (*f)(w, q) {
			return
		}
		inner.ServeHTTP(w, q)
	})
	if https {
		r.Server = httptest.NewUnstartedServer(handler)
		r.Config.ErrorLog = log.New(io.Discard, "", 0)
		r.StartTLS()
	} else {
		r.Server = httptest.NewServer(handler)
	}
	t.Cleanup(r.Close)
	r.host = r.Listener.Addr().String()
	return r
}

// push puts an image into the registry, beside the cache.
func (r *testRegistry) push(t testing.TB, ref string, image v1.Image) {
	t.Helper()
	n, err := name.ParseReference(r.host+"/"+ref, name.Insecure)
	if err == nil {
		err = remote.Write(n, image, remote.WithTransport(r.Client().Transport))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func openStore(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.Registries.Backoff.Steps == 0 {
		o.Registries.Backoff = remote.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 3}
	}
	if o.Registries.Keychain == nil {
		o.Registries.Keychain = authn.NewMultiKeychain()
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func insecure(r *testRegistry) Options {
	return Options{Registries: Registries{Insecure: []string{r.host}}}
}

func get(t testing.TB, s *Store, r Request) *Image {
	t.Helper()
	i, err := s.Get(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

func version(t testing.TB, i *Image) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(i.Root, "etc/version"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantError(t testing.TB, err error, is error, parts ...string) {
	t.Helper()
	if err == nil || is != nil && !errors.Is(err, is) {
		t.Fatalf("error %v, want %v", err, is)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q lacks %q", err, p)
		}
	}
}

func TestPull(t *testing.T) {
	r := newRegistry(t, false)
	one, two := simpleImage(t, "one"), simpleImage(t, "two")
	r.push(t, "team/app:1", one)
	digest, err := one.Digest()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var warned []string
	o := insecure(r)
	o.Warn = func(s string) { warned = append(warned, s) }
	s := openStore(t, dir, o)
	tag := r.host + "/team/app:1"

	i := get(t, s, Request{Ref: tag})
	if i.Digest != digest.String() || i.Manifest != digest.String() || version(t, i) != "one" || i.Ref != tag {
		t.Errorf("got %+v with version %q, want digest %s", i, version(t, i), digest)
	}
	want := Config{Entrypoint: []string{"/bin/app"}, Env: []string{"A=b"}, User: "65532", WorkingDir: "/"}
	if diff := cmp.Diff(want, i.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}

	t.Run("a second time nothing is asked", func(t *testing.T) {
		before := r.requests.Load()
		get(t, s, Request{Ref: tag})
		if n := r.requests.Load() - before; n != 0 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("by digest the blobs are there", func(t *testing.T) {
		before := r.blobs.Load()
		got := get(t, s, Request{Ref: r.host + "/team/app@" + digest.String(), Policy: Always})
		if n := r.blobs.Load() - before; n != 0 || got.Root != i.Root {
			t.Errorf("%d blobs fetched, root %s", n, got.Root)
		}
	})
	r.push(t, "team/app:1", two)
	t.Run("IfNotPresent keeps what the tag meant", func(t *testing.T) {
		if got := version(t, get(t, s, Request{Ref: tag, Policy: IfNotPresent})); got != "one" {
			t.Errorf("version %q", got)
		}
	})
	t.Run("Always asks", func(t *testing.T) {
		if got := version(t, get(t, s, Request{Ref: tag, Policy: Always})); got != "two" {
			t.Errorf("version %q", got)
		}
	})
	t.Run("Never does not", func(t *testing.T) {
		_, err := s.Get(t.Context(), Request{Ref: r.host + "/team/app:2", Policy: Never})
		wantError(t, err, ErrNotCached, "imagePullPolicy is Never")
	})
	t.Run("another scope is no cache hit", func(t *testing.T) {
		before := r.blobs.Load()
		get(t, s, Request{Ref: tag, Scope: "tenant"})
		if n := r.blobs.Load() - before; n == 0 {
			t.Error("a scope was given blobs that it had not fetched")
		}
	})
	t.Run("not found", func(t *testing.T) {
		_, err := s.Get(t.Context(), Request{Ref: r.host + "/team/absent:1"})
		wantError(t, err, ErrNotFound, r.host+"/team/absent:1")
		if Temporary(err) {
			t.Error("it is called temporary")
		}
	})
	r.Close()
	t.Run("registry down, cached", func(t *testing.T) {
		if got := version(t, get(t, s, Request{Ref: tag})); got != "two" {
			t.Errorf("version %q", got)
		}
		if got := version(t, get(t, s, Request{Ref: tag, Policy: Always})); got != "two" || len(warned) != 1 || !strings.Contains(warned[0], "connection refused") {
			t.Errorf("version %q, warned %q", got, warned)
		}
	})
	t.Run("registry down, not cached", func(t *testing.T) {
		_, err := s.Get(t.Context(), Request{Ref: r.host + "/team/app:3"})
		wantError(t, err, nil, "connection refused", "team/app:3")
		if !Temporary(err) {
			t.Error("it is not called temporary")
		}
		_, err = s.Get(t.Context(), Request{Ref: tag, Scope: "another tenant"})
		wantError(t, err, nil, "connection refused")
	})
}

func TestPullTLS(t *testing.T) {
	r := newRegistry(t, true)
	r.push(t, "app:1", simpleImage(t, "tls"))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	ref := r.host + "/app:1"
	t.Run("unknown certificate", func(t *testing.T) {
		_, err := openStore(t, t.TempDir(), Options{}).Get(t.Context(), Request{Ref: ref})
		wantError(t, err, nil, "certificate signed by unknown authority")
	})
	t.Run("custom CA", func(t *testing.T) {
		s := openStore(t, t.TempDir(), Options{Registries: Registries{CAFile: ca}})
		if got := version(t, get(t, s, Request{Ref: ref})); got != "tls" {
			t.Errorf("version %q", got)
		}
	})
	t.Run("insecure by name", func(t *testing.T) {
		get(t, openStore(t, t.TempDir(), insecure(r)), Request{Ref: ref})
	})
	t.Run("no PEM", func(t *testing.T) {
		_, err := Open(t.TempDir(), Options{Registries: Registries{CAFile: "store_test.go"}})
		wantError(t, err, nil, "holds none in PEM form")
	})
}

// TestPullHTTPOnlyByName holds that not even a registry of this machine is
// spoken to by HTTP unless it is named.
func TestPullHTTPOnlyByName(t *testing.T) {
	r := newRegistry(t, false)
	r.push(t, "app:1", simpleImage(t, "x"))
	before := r.requests.Load()
	_, err := openStore(t, t.TempDir(), Options{}).Get(t.Context(), Request{Ref: r.host + "/app:1"})
	wantError(t, err, nil, "plain HTTP is only used for registries that are named")
	if r.requests.Load() != before {
		t.Error("it was asked")
	}
}

func TestPullAuth(t *testing.T) {
	r := newRegistry(t, false)
	r.push(t, "app:1", simpleImage(t, "secret"))
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if user, password, _ := q.BasicAuth(); user == "me" && password == "pass" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := openStore(t, t.TempDir(), insecure(r)).Get(t.Context(), Request{Ref: r.host + "/app:1"})
	wantError(t, err, ErrDenied, "docker login")

	config := t.TempDir()
	auths := fmt.Sprintf(`{"auths":{%q:{"username":"me","password":"pass"}}}`, r.host)
	if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(auths), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", config)
	o := insecure(r)
	o.Registries.Keychain = authn.DefaultKeychain
	if got := version(t, get(t, openStore(t, t.TempDir(), o), Request{Ref: r.host + "/app:1"})); got != "secret" {
		t.Errorf("version %q", got)
	}
}

func TestPullMirror(t *testing.T) {
	hub, mirror := newRegistry(t, false), newRegistry(t, false)
	hub.push(t, "library/app:1", simpleImage(t, "hub"))
	hub.push(t, "library/app:2", simpleImage(t, "hub"))
	mirror.push(t, "cache/library/app:1", simpleImage(t, "mirror"))
	o := Options{Registries: Registries{Insecure: []string{hub.host, mirror.host}, Mirrors: map[string]string{hub.host: mirror.host + "/cache"}}}
	s := openStore(t, t.TempDir(), o)
	for tag, want := range map[string]string{"1": "mirror", "2": "hub"} {
		if got := version(t, get(t, s, Request{Ref: hub.host + "/library/app:" + tag})); got != want {
			t.Errorf("tag %s came from %q, want %q", tag, got, want)
		}
	}
}

// TestPullBroken holds that what a registry sends is checked, and that a
// transfer which breaks off is tried again.
func TestPullBroken(t *testing.T) {
	image := simpleImage(t, "x")
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	body, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	blob, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(b []byte, announced int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(announced))
			_, _ = w.Write(b)
		}
	}
	flipped := bytes.Clone(blob)
	flipped[len(flipped)/2] ^= 1
	for _, tc := range []struct {
		name  string
		send  func(http.ResponseWriter)
		times int64 // that it is broken; 0: for ever
		want  string
	}{
		{"truncated", answer(blob[:len(blob)/2], len(blob)), 0, "unexpected EOF"},
		{"truncated once", answer(blob[:len(blob)/2], len(blob)), 1, ""},
		{"shorter", answer(blob[:len(blob)/2], len(blob)/2), 0, "verifying sha256"},
		{"longer", answer(append(bytes.Clone(blob), 0), len(blob)+1), 0, ""},
		{"flipped", answer(flipped, len(blob)), 0, "verifying sha256 checksum"},
		{"server error", func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, 0, "500"},
		{"server error once", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, 1, ""},
		{"gone", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, 0, "no such image"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRegistry(t, false)
			r.push(t, "app:1", image)
			var broken atomic.Int64
			r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Method != http.MethodGet || !strings.HasSuffix(q.URL.Path, "/blobs/"+digest.String()) {
					return false
				}
				if n := broken.Add(1); tc.times > 0 && n > tc.times {
					return false
				}
				tc.send(w)
				return true
			})
			s := openStore(t, t.TempDir(), insecure(r))
			_, err := s.Get(t.Context(), Request{Ref: r.host + "/app:1"})
			switch {
			case tc.want == "" && tc.name != "longer":
				if err != nil {
					t.Fatal(err)
				}
			case tc.want != "":
				wantError(t, err, nil, tc.want, digest.String())
			}
			if err != nil {
				if list, e := s.List(t.Context()); e != nil || len(list) != 0 {
					t.Errorf("in the cache: %v, %v", list, e)
				}
				if left, e := os.ReadDir(s.path("tmp")); e != nil || len(left) != 0 {
					t.Errorf("left behind: %v, %v", left, e)
				}
			}
		})
	}
}

// TestPullStalls holds that a transfer that stands still is given up.
func TestPullStalls(t *testing.T) {
	r := newRegistry(t, false)
	r.push(t, "app:1", simpleImage(t, "x"))
	release := make(chan struct{})
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			w.Header().Set("Content-Length", "100000")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-release
		}
		return false
	})
	defer close(release)
	o := insecure(r)
	o.Registries.Stall = 50 * time.Millisecond
	o.Registries.Backoff = remote.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 1}
	_, err := openStore(t, t.TempDir(), o).Get(t.Context(), Request{Ref: r.host + "/app:1"})
	wantError(t, err, nil, "nothing came for 50ms")
}

func TestPullHostile(t *testing.T) {
	r := newRegistry(t, false)
	r.push(t, "escape:1", imageOf(t, v1.Config{}, layerOf(t, file{name: "ok"}), layerOf(t, file{name: "a/../../x"})))
	r.push(t, "layers:1", imageOf(t, v1.Config{}, layerOf(t, file{name: "1"}), layerOf(t, file{name: "2"}), layerOf(t, file{name: "3"})))
	arm, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "arm64"})
	if err != nil {
		t.Fatal(err)
	}
	r.push(t, "arm:1", arm)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	n, err := name.ParseReference(r.host+"/onlyarm:1", name.Insecure)
	if err == nil {
		err = remote.WriteIndex(n, index)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := insecure(r)
	o.Limits.Layers = 2
	s := openStore(t, t.TempDir(), o)
	for ref, want := range map[string][]string{
		"escape:1":  {`entry "a/../../x"`, "layer sha256:", `contains ".."`},
		"layers:1":  {"3 layers, more than 2"},
		"arm:1":     {"for linux/arm64"},
		"onlyarm:1": {"no image for linux/amd64, only for linux/arm64"},
	} {
		_, err := s.Get(t.Context(), Request{Ref: r.host + "/" + ref})
		wantError(t, err, nil, want...)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("in the cache: %v, %v", list, err)
	}
}

// TestPullIndex holds that of several platforms that of this machine is taken,
// and that both digests are told.
func TestPullIndex(t *testing.T) {
	r := newRegistry(t, false)
	amd, arm := simpleImage(t, "amd64"), simpleImage(t, "arm64")
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
	)
	n, err := name.ParseReference(r.host+"/app:1", name.Insecure)
	if err == nil {
		err = remote.WriteIndex(n, index)
	}
	if err != nil {
		t.Fatal(err)
	}
	i := get(t, openStore(t, t.TempDir(), insecure(r)), Request{Ref: r.host + "/app:1"})
	named, _ := index.Digest()
	manifest, _ := amd.Digest()
	if version(t, i) != "amd64" || i.Digest != named.String() || i.Manifest != manifest.String() {
		t.Errorf("got %s (%s) with %q; want %s (%s)", i.Digest, i.Manifest, version(t, i), named, manifest)
	}
}

func TestLocalSources(t *testing.T) {
	dir := t.TempDir()
	one, two := simpleImage(t, "one"), simpleImage(t, "two")
	l, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err == nil {
		err = l.AppendImage(one, layout.WithAnnotations(map[string]string{refName: "one"}))
	}
	if err == nil {
		err = l.AppendImage(two, layout.WithAnnotations(map[string]string{refName: "two"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("example.com/app:2")
	if err == nil {
		err = tarball.WriteToFile(filepath.Join(dir, "save.tar"), tag, two)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain.tar"), layerOf(t, file{name: "x"}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, t.TempDir(), Options{})
	for ref, want := range map[string]string{
		"oci:" + dir + "/layout:one":            "one",
		"oci:" + dir + "/layout:two":            "two",
		dir + "/save.tar":                       "two",
		"docker-archive:" + dir + "/save.tar:2": "two",
	} {
		i := get(t, s, Request{Ref: ref})
		if version(t, i) != want || i.Config.User != "65532" {
			t.Errorf("%s: version %q, config %+v", ref, version(t, i), i.Config)
		}
	}
	for ref, want := range map[string]string{
		"oci:" + dir + "/layout":                "2 images; add :TAG",
		"oci:" + dir + "/layout:three":          `no image "three"`,
		"oci:" + dir:                            "no such file",
		dir + "/plain.tar":                      "no archive of docker save",
		dir + "/save.tar:9":                     "no such file",
		"docker-archive:" + dir + "/save.tar:9": `no image "9"`,
		"dir:" + dir + "/none":                  "no such file",
	} {
		_, err := s.Get(t.Context(), Request{Ref: ref})
		wantError(t, err, nil, want)
	}
	if i := get(t, s, Request{Ref: "dir:" + dir}); i.Root != dir {
		t.Errorf("root %s", i.Root)
	}
}

func TestPutAndPush(t *testing.T) {
	r := newRegistry(t, false)
	s := openStore(t, t.TempDir(), insecure(r))
	made, err := s.Put(t.Context(), "localhost/app:1", simpleImage(t, "made"))
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	for _, policy := range []Policy{Always, IfNotPresent, Never} {
		if got := version(t, get(t, s, Request{Ref: "localhost/app:1", Policy: policy})); got != "made" {
			t.Errorf("%s: version %q", policy, got)
		}
	}
	_, err = s.Get(t.Context(), Request{Ref: "localhost/other"})
	wantError(t, err, ErrNotCached, "kontain build")
	_, err = s.Push(t.Context(), made, "localhost/app:1")
	wantError(t, err, nil, "names no registry")
	digest, err := s.Push(t.Context(), made, r.host+"/pushed:1")
	if err != nil {
		t.Fatal(err)
	}
	got := get(t, openStore(t, t.TempDir(), insecure(r)), Request{Ref: r.host + "/pushed:1"})
	if got.Digest != digest || version(t, got) != "made" {
		t.Errorf("pulled %s %q, pushed %s", got.Digest, version(t, got), digest)
	}
}

func TestRemoveAndGC(t *testing.T) {
	r := newRegistry(t, false)
	for _, n := range []string{"a", "b", "c"} {
		r.push(t, n+":1", imageOf(t, v1.Config{}, layerOf(t, file{name: "shared", body: "s"}), layerOf(t, file{name: "own", body: strings.Repeat(n, 100_000)})))
	}
	s := openStore(t, t.TempDir(), insecure(r))
	images := map[string]*Image{}
	for at, n := range []string{"a", "b", "c"} {
		images[n] = get(t, s, Request{Ref: r.host + "/" + n + ":1"})
		used := time.Now().Add(time.Duration(at-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(images[n].Root, "../image.json"), used, used); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, s.Remove(t.Context(), r.host+"/a:1"), ErrInUse)
	wantError(t, s.Remove(t.Context(), r.host+"/none:1"), ErrNotCached)

	if err := os.WriteFile(s.path("tmp", "left"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.GC(t.Context(), 0, 0)
	if err != nil || len(got.Removed) != 0 || got.Left.Images != 3 {
		t.Errorf("images in use were removed: %+v, %v", got, err)
	}
	for _, i := range images {
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err = s.GC(t.Context(), got.Left.Bytes-1, 0)
	if err != nil || len(got.Removed) != 1 || got.Removed[0] != images["a"].Manifest || got.Freed < 100_000 {
		t.Errorf("by size: %+v, %v", got, err)
	}
	if got, err = s.GC(t.Context(), -1, 8*time.Hour+30*time.Minute); err != nil || len(got.Removed) != 1 || got.Removed[0] != images["b"].Manifest {
		t.Errorf("by age: %+v, %v", got, err)
	}
	if left, err := os.ReadDir(s.path("tmp")); err != nil || len(left) != 0 {
		t.Errorf("tmp: %v, %v", left, err)
	}
	// What is left must still be whole: the shared layer too.
	again := get(t, s, Request{Ref: r.host + "/c:1", Policy: Never})
	if list := tree(t, again.Root); len(list) != 2 {
		t.Errorf("root: %v", list)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), r.host+"/c:1"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"images", "blobs", "refs", "locks"} {
		if left, err := os.ReadDir(s.path(dir)); err != nil || len(left) != 0 {
			t.Errorf("%s: %v, %v", dir, left, err)
		}
	}
}

// TestCacheSize holds that a pull removes what was not used for longest, never
// what was made here.
func TestCacheSize(t *testing.T) {
	r := newRegistry(t, false)
	for _, n := range []string{"a", "b"} {
		r.push(t, n+":1", imageOf(t, v1.Config{}, layerOf(t, file{name: "own", body: strings.Repeat(n, 300_000)})))
	}
	o := insecure(r)
	o.CacheSize = 500_000
	s := openStore(t, t.TempDir(), o)
	made, err := s.Put(t.Context(), "localhost/made:1", imageOf(t, v1.Config{}, layerOf(t, file{name: "x", body: strings.Repeat("m", 100_000)})))
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a", "b"} {
		i, err := s.Get(t.Context(), Request{Ref: r.host + "/" + n + ":1"})
		if err == nil {
			err = i.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, i := range list {
		refs = append(refs, i.Refs...)
	}
	if diff := cmp.Diff([]string{r.host + "/b:1", "localhost/made:1"}, refs); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

// TestMain lets a test run this program as a second process that pulls.
func TestMain(m *testing.M) {
	if args := os.Getenv("IMAGE_TEST_PULL"); args != "" {
		var q struct{ Dir, Host, Ref string }
		if err := json.Unmarshal([]byte(args), &q); err != nil {
			panic(err)
		}
		s, err := Open(q.Dir, Options{Registries: Registries{Insecure: []string{q.Host}, Keychain: authn.NewMultiKeychain()}})
		if err == nil {
			_, err = s.Get(context.Background(), Request{Ref: q.Ref})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func puller(t *testing.T, dir, host, ref string) *exec.Cmd {
	t.Helper()
	args, err := json.Marshal(map[string]string{"Dir": dir, "Host": host, "Ref": ref})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "IMAGE_TEST_PULL="+string(args))
	cmd.Stderr = os.Stderr
	return cmd
}

// TestTwoProcesses pulls the same image in several processes at once: each layer
// is fetched once.
func TestTwoProcesses(t *testing.T) {
	r := newRegistry(t, false)
	r.push(t, "app:1", imageOf(t, v1.Config{}, layerOf(t, file{name: "a", body: strings.Repeat("a", 1<<20)}), layerOf(t, file{name: "b"})))
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := puller(t, dir, r.host, r.host+"/app:1").Run(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := r.blobs.Load(); n != 3 {
		t.Errorf("%d blobs were fetched, want 3", n)
	}
	get(t, openStore(t, dir, insecure(r)), Request{Ref: r.host + "/app:1", Policy: Never})
}

// TestKilled kills a process in the middle of a pull: the next one succeeds, and
// what the first left is removed.
func TestKilled(t *testing.T) {
	r := newRegistry(t, false)
	r.push(t, "app:1", simpleImage(t, "x"))
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") && q.Header.Get("Range") == "" {
			arrived <- struct{}{}
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(make([]byte, 100))
			w.(http.Flusher).Flush()
			<-release
			return true
		}
		return false
	})
	dir := t.TempDir()
	cmd := puller(t, dir, r.host, r.host+"/app:1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-arrived
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) > 0 {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	close(release)
	r.intercept(func(http.ResponseWriter, *http.Request) bool { return false })
	s := openStore(t, dir, insecure(r))
	if got := version(t, get(t, s, Request{Ref: r.host + "/app:1"})); got != "x" {
		t.Errorf("version %q", got)
	}
	if _, err := s.GC(t.Context(), -1, 0); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBlobsDecay holds that content which changed on disk is noticed, dropped
// and fetched again.
func TestBlobsDecay(t *testing.T) {
	r := newRegistry(t, false)
	image := simpleImage(t, "x")
	r.push(t, "app:1", image)
	s := openStore(t, t.TempDir(), insecure(r))
	i, err := s.Get(t.Context(), Request{Ref: r.host + "/app:1"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Inspect(t.Context(), i.Ref)
	if err == nil {
		err = i.Close()
	}
	if err == nil {
		err = os.RemoveAll(filepath.Dir(i.Root))
	}
	if err == nil {
		err = os.WriteFile(s.path("blobs", strings.TrimPrefix(info.Layers[0], "sha256:")), []byte("decayed"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), Request{Ref: r.host + "/app:1"})
	wantError(t, err, ErrDigest, info.Layers[0])
	if got := version(t, get(t, s, Request{Ref: r.host + "/app:1"})); got != "x" {
		t.Errorf("version %q", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{})
	wantError(t, err, nil, "others can write")
	_, err = Open("/proc/self/images", Options{})
	wantError(t, err, nil, "open the image cache")
}

// TestDebianRegistry pushes to and pulls from the docker-registry of Debian,
// where that is installed.
func TestDebianRegistry(t *testing.T) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" {
			t.Fatal("KONTAIN_REQUIRE_TOOLS=1, but docker-registry is not installed")
		}
		t.Skip("docker-registry is not installed (Debian: apt-get install docker-registry)")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, host)
	if err := os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "serve", filepath.Join(dir, "config.yml"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	defer stop()
	up := false
	for deadline := time.Now().Add(20 * time.Second); !up && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			up = resp.StatusCode == http.StatusOK
			_ = resp.Body.Close()
		}
	}
	o := Options{Registries: Registries{Insecure: []string{host}}}
	s := openStore(t, t.TempDir(), o)
	made, err := s.Put(t.Context(), "localhost/app:1", simpleImage(t, "debian"))
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	digest, err := s.Push(t.Context(), made, host+"/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	other := openStore(t, t.TempDir(), o)
	for _, ref := range []string{host + "/team/app:1", host + "/team/app@" + digest} {
		if i := get(t, other, Request{Ref: ref}); i.Digest != digest || version(t, i) != "debian" {
			t.Errorf("%s: %s, %q", ref, i.Digest, version(t, i))
		}
	}
	_, err = other.Get(t.Context(), Request{Ref: host + "/team/app:2"})
	wantError(t, err, ErrNotFound)
	stop()
	get(t, other, Request{Ref: host + "/team/app:1"})
	_, err = openStore(t, t.TempDir(), o).Get(t.Context(), Request{Ref: host + "/team/app:1"})
	wantError(t, err, nil, "connection refused")
}
