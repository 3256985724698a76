// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/eventingtls"

	"kontain.dev/eventing/pkg/reply"
)

// CertificateFiles returns what finds the certificate of a server in a folder with tls.crt
// and tls.key, as the kubelet mounts a Secret: again when the files are renewed.
func CertificateFiles(dir string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	var mu sync.Mutex
	var last *tls.Certificate
	var changed time.Time
	cert, key := filepath.Join(dir, corev1.TLSCertKey), filepath.Join(dir, corev1.TLSPrivateKeyKey)
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		info, err := os.Stat(cert)
		if err == nil && last != nil && info.ModTime().Equal(changed) {
			return last, nil
		}
		if err == nil {
			var pair tls.Certificate
			if pair, err = tls.LoadX509KeyPair(cert, key); err == nil {
				last, changed = &pair, info.ModTime()
			}
		}
		if last == nil {
			return nil, fmt.Errorf("there is no certificate: %w", err)
		}
		return last, nil // that of before, while the files are renewed
	}
}

// TLS returns the configuration of a server with these certificates, as Knative's data
// plane has it.
func TLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (*tls.Config, error) {
	c := eventingtls.NewDefaultServerConfig()
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		found, err := certificate(hello)
		if err == nil && found == nil {
			err = errors.New("there is no certificate yet")
		}
		return found, err
	}
	return eventingtls.GetTLSServerConfig(c)
}

// Transport returns what goes around the handler of events of each listener, so that the
// feature transport-encryption holds: disabled takes none over TLS, strict takes them over
// TLS alone. Since the parts of a cluster learn of a change at different times, senders
// are told to try again, by the 404 that Knative's own servers answer.
func Transport(features func() feature.Flags) func(next http.Handler, secure bool) http.Handler {
	return func(next http.Handler, secure bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f := features()
			if secure && f.IsDisabledTransportEncryption() || !secure && f.IsStrictTransportEncryption() {
				body := reply.Failf(http.StatusNotFound, reply.SinkNotFound, "the feature transport-encryption takes no events on this port").Body()
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write(body) // The sender may be gone.
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
