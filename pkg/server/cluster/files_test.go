// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/webhook/certificates/resources"

	listers "kontain.dev/eventing/pkg/client/listers/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/server"
)

func lister(indexer cache.Indexer) listers.KontainSinkLister {
	return listers.NewKontainSinkLister(indexer)
}

func TestPullSecrets(t *testing.T) {
	dir := PullSecrets(t.TempDir())
	resolve := func(registry string) string {
		t.Helper()
		r, err := name.NewRepository(registry)
		if err != nil {
			t.Fatal(err)
		}
		a, err := dir.Resolve(r)
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Authorization()
		if err != nil {
			t.Fatal(err)
		}
		return c.Username + c.Auth
	}
	if got := resolve("example.com/app"); got != "" {
		t.Errorf("without secrets: %q", got)
	}
	if got := PullSecrets(filepath.Join(string(dir), "absent")).Scope("ns"); got != "ns" {
		t.Errorf("scope without secrets: %q", got)
	}
	put := func(secret, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(string(dir), secret), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(string(dir), secret, ".dockerconfigjson"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a", `{"auths":{"example.com":{"username":"ann","password":"x"}}}`)
	put("b", `{"auths":{"other.example.com":{"username":"bob","password":"y"}}}`)
	if err := os.Mkdir(filepath.Join(string(dir), "later"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := resolve("example.com/app"); !strings.HasPrefix(got, "ann") {
		t.Errorf("example.com: %q", got)
	}
	if got := resolve("other.example.com/app"); !strings.HasPrefix(got, "bob") {
		t.Errorf("other.example.com: %q", got)
	}
	if got := resolve("third.example.com/app"); got != "" {
		t.Errorf("a registry without credentials: %q", got)
	}
	if got := dir.Missing([]string{"a", "later", "b", "never"}); !slices.Equal(got, []string{"later", "never"}) {
		t.Errorf("missing %v", got)
	}
	scope := dir.Scope("ns")
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		dir.Watch(ctx, time.Millisecond, func() {
			select {
			case changed <- struct{}{}:
			default: // A Secret is being written, and may be seen twice.
			}
		})
	}()
	if !strings.HasPrefix(scope, "ns/") || dir.Scope("ns") != scope || dir.Scope("other") == scope {
		t.Errorf("scope %q", scope)
	}
	put("a", `{"auths":{"example.com":{"username":"ann","password":"z"}}}`)
	if dir.Scope("ns") == scope {
		t.Error("other credentials have the same scope")
	}
	// Who watches may have begun after a change: it goes on until one is seen.
	for i, seen := 0, false; !seen; i++ {
		put("a", fmt.Sprintf(`{"auths":{"example.com":{"username":"ann","password":"%d"}}}`, i))
		select {
		case <-changed:
			seen = true
		case <-time.After(10 * time.Millisecond):
			if i == 6000 {
				t.Fatal("other credentials are not noticed")
			}
		}
	}
	cancel()
	<-ended
	put("a", "{")
	r, err := name.NewRegistry("example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Resolve(r); err == nil {
		t.Error("half a Secret was read")
	}
	var _ authn.Keychain = dir
}

// TestTLS holds that events are taken over TLS with the certificate of now.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	config, err := TLS(CertificateFiles(dir))
	if err != nil {
		t.Fatal(err)
	}
	var addr string
	h := start(t, newRegistry(t), func(_ *Config, sc *server.Config) { sc.TLS, sc.ListenTLS = config, "127.0.0.1:0" },
		newSink("a", "example.com/app@"+digest("1"), 1))
	addr = h.secure
	if c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}); err == nil {
		_ = c.Close()
		t.Error("a connection without a certificate")
	}
	serial := func() string {
		key, cert, _, err := resources.CreateCerts(t.Context(), "receiver", "ns", time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for file, data := range map[string][]byte{"tls.key": key, "tls.crt": cert} {
			temp := filepath.Join(dir, file+".tmp")
			if err := os.WriteFile(temp, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(temp, filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	time.Sleep(10 * time.Millisecond) // another time of change
	if second := serial(); second == first {
		t.Error("a certificate that was renewed is not used")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPost, "https://"+addr+"/ns/a", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("%d over %s", resp.StatusCode, resp.Proto)
	}
}
