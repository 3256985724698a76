// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/eventing/pkg/apis/eventing/v1"
	eventingv1alpha1 "knative.dev/eventing/pkg/apis/eventing/v1alpha1"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	eventinglisters "knative.dev/eventing/pkg/client/listers/eventing/v1alpha1"
	"knative.dev/pkg/configmap"
	logtesting "knative.dev/pkg/logging/testing"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/receiver"
	"kontain.dev/eventing/pkg/reply"
)

// issuer issues tokens as a cluster does.
type issuer struct {
	t   *testing.T
	url string
	key *rsa.PrivateKey
	up  atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		if !i.up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

// token returns the header for a subject and a sink.
func (i *issuer) token(subject, sink string, expires time.Duration) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: i.key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: i.url, Subject: subject, Audience: jwt.Audience{"sinks.kontain.dev/kontainsink/" + sink},
		Expiry: jwt.NewNumericDate(time.Now().Add(expires)), IssuedAt: jwt.NewNumericDate(time.Now()),
	}).CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return "Bearer " + token
}

// taken is a dispatcher that takes every event.
type taken struct{ events atomic.Int64 }

func (d *taken) Has(namespace, name string) bool { return namespace == "ns" && name != "none" }
func (d *taken) Dispatch(_ context.Context, _, _ string, events []*event.Event) ([]*event.Event, *reply.Failure) {
	d.events.Add(int64(len(events)))
	return nil, nil
}

func TestAuth(t *testing.T) {
	const ours, theirs = "system:serviceaccount:ns:sa", "system:serviceaccount:other:sa"
	tokens := newIssuer(t)
	ctx, stop := context.WithCancel(logtesting.TestContextWithLogger(t))
	defer stop()

	sinks := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	policies := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	open := newSink("open", "app:1", 1)
	held := newSink("held", "app:1", 1)
	held.Status.Policies = []v1alpha1.AppliedEventPolicyRef{{APIVersion: "eventing.knative.dev/v1alpha1", Name: "p"}}
	lost := newSink("lost", "app:1", 1)
	lost.Status.Policies = []v1alpha1.AppliedEventPolicyRef{{APIVersion: "eventing.knative.dev/v1alpha1", Name: "absent"}}
	for _, k := range []*v1alpha1.KontainSink{open, held, lost} {
		if err := sinks.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := policies.Add(&eventingv1alpha1.EventPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"},
		Spec:       eventingv1alpha1.EventPolicySpec{Filters: []v1.SubscriptionsAPIFilter{{Exact: map[string]string{"type": "good"}}}},
		Status:     eventingv1alpha1.EventPolicyStatus{From: []string{theirs}},
	}); err != nil {
		t.Fatal(err)
	}

	configs := configmap.NewStaticWatcher(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: feature.FlagsConfigName},
		Data:       map[string]string{feature.OIDCAuthentication: "enabled", feature.OIDCDiscoveryBaseURL: tokens.url},
	})
	features := feature.NewStore(logtesting.TestLogger(t))
	features.WatchConfigs(configs)
	replay := &Replay{Watcher: configs, Name: feature.FlagsConfigName}
	verifier := auth.NewVerifier(ctx, eventinglisters.NewEventPolicyLister(policies), nil, replay)
	dispatched := &taken{}
	h := receiver.New(dispatched, receiver.Options{MaxBody: 1000, Authorizer: &Auth{
		Verifier: verifier, Features: features.Load, Sinks: lister(sinks), Logger: slog.New(slog.DiscardHandler),
	}})
	post := func(sink, token, contentType, body, kind string) (int, string) {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/ns/"+sink, strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {contentType}}
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		if kind != "" {
			r.Header["Ce-Specversion"], r.Header["Ce-Id"], r.Header["Ce-Source"], r.Header["Ce-Type"] = []string{"1.0"}, []string{"1"}, []string{"/s"}, []string{kind}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}

	// To refuse for good while the issuer is not known would lose events.
	if code, body := post("open", tokens.token(ours, "ns/open", time.Hour), "application/json", "{}", "t"); code != 503 {
		t.Errorf("without an issuer: %d %s", code, body)
	}
	tokens.up.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		replay.Repeat(ctx, 10*time.Millisecond, func() bool { return !verifier.IsReady() })
	}()
	for deadline := time.Now().Add(60 * time.Second); !verifier.IsReady(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the issuer was never asked again")
		}
	}

	one := func(kind string) string { return `{"specversion":"1.0","id":"1","source":"/s","type":"` + kind + `"}` }
	const structured, batch = event.MediaTypeJSON, event.MediaTypeBatchJSON
	for _, tc := range []struct {
		name, sink, token, contentType, body, kind string
		want                                       int
	}{
		{"no token", "open", "", "application/json", "{}", "t", 401},
		{"no token, and a body that is none", "open", "", structured, "{", "", 401},
		{"nonsense", "open", "Bearer x", "application/json", "{}", "t", 401},
		{"for another sink", "open", tokens.token(ours, "ns/held", time.Hour), "application/json", "{}", "t", 401},
		{"expired", "open", tokens.token(ours, "ns/open", -time.Hour), "application/json", "{}", "t", 401},
		{"same namespace", "open", tokens.token(ours, "ns/open", time.Hour), "application/json", "{}", "t", 200},
		{"other namespace", "open", tokens.token(theirs, "ns/open", time.Hour), "application/json", "{}", "t", 403},
		{"malformed", "open", tokens.token(ours, "ns/open", time.Hour), structured, "{", "", 400},
		{"too large", "open", tokens.token(ours, "ns/open", time.Hour), "application/json", strings.Repeat("x", 2000), "t", 413},
		{"policy allows", "held", tokens.token(theirs, "ns/held", time.Hour), "application/json", "{}", "good", 200},
		{"policy allows, structured", "held", tokens.token(theirs, "ns/held", time.Hour), structured, one("good"), "", 200},
		{"policy allows, batch", "held", tokens.token(theirs, "ns/held", time.Hour), batch, "[" + one("good") + "," + one("good") + "]", "", 200},
		{"policy filters", "held", tokens.token(theirs, "ns/held", time.Hour), "application/json", "{}", "bad", 403},
		{"policy filters one of a batch", "held", tokens.token(theirs, "ns/held", time.Hour), batch, "[" + one("good") + "," + one("bad") + "]", "", 403},
		{"policy names others", "held", tokens.token(ours, "ns/held", time.Hour), "application/json", "{}", "good", 403},
		{"policy, no token", "held", "", "application/json", "{}", "good", 401},
		{"policy, malformed", "held", tokens.token(theirs, "ns/held", time.Hour), structured, "{", "", 400},
		{"policy that is not there", "lost", tokens.token(ours, "ns/lost", time.Hour), "application/json", "{}", "t", 500},
		{"unknown sink", "none", "", "application/json", "{}", "t", 404},
	} {
		before := dispatched.events.Load()
		code, body := post(tc.sink, tc.token, tc.contentType, tc.body, tc.kind)
		if code != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.name, code, body, tc.want)
		}
		if ran := dispatched.events.Load() > before; ran != (code == 200) {
			t.Errorf("%s: %d, and dispatched: %v", tc.name, code, ran)
		}
		if strings.Contains(body, theirs) {
			t.Errorf("%s: who is allowed is told to a sender: %s", tc.name, body)
		}
	}
	stop()
	<-done
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestTransport(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, tc := range []struct {
		mode          feature.Flag
		plain, secure int
	}{
		{feature.Disabled, 200, 404}, {feature.Permissive, 200, 200}, {feature.Strict, 404, 200},
	} {
		wrap := Transport(func() feature.Flags { return feature.Flags{feature.TransportEncryption: tc.mode} })
		for secure, want := range map[bool]int{false: tc.plain, true: tc.secure} {
			w := httptest.NewRecorder()
			wrap(ok, secure).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/ns/a", nil))
			if w.Code != want {
				t.Errorf("%s, over TLS %v: %d, want %d", tc.mode, secure, w.Code, want)
			}
		}
	}
}
