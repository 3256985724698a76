// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kontain.dev/eventing/test/e2e/cluster"
)

// authority is a certificate authority of a test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// secret writes the Secret with a new certificate for a Service, as cert-manager does,
// and returns the certificate's serial number. It goes when the test ends.
func (a *authority) secret(t *testing.T, namespace, name, service string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	number := serial(t)
	host := service + "." + namespace + ".svc"
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: service}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{host, host + ".cluster.local"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			"ca.crt":  a.pem,
			"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	}
	secrets := shared.Kube.CoreV1().Secrets(namespace)
	_, err = secrets.Create(t.Context(), s, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		_, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{})
	case err == nil:
		t.Cleanup(func() {
			if err := secrets.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return number.String()
}

// client trusts the authority and no other; it keeps no connection, so that each request
// sees the certificate of now.
func (a *authority) client() *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
}

// TestTLS has the feature transport-encryption strict, with certificates that nobody but
// this test makes, and sees them replaced while events are sent: first the certificate,
// then its authority.
func TestTLS(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	replies := collector(t, nil)
	ca := newAuthority(t)
	for secret, service := range map[string]string{
		"mt-broker-ingress-server-tls": "broker-ingress", "mt-broker-filter-server-tls": "broker-filter",
		"imc-dispatcher-server-tls": "imc-dispatcher",
	} {
		ca.secret(t, cluster.System, secret, service)
	}
	certificate := ca.secret(t, cluster.System, "kontain-receiver-server-tls", "kontain-receiver")
	// Knative's controller looks for cert-manager's Certificates, of which there are none.
	apply(t, ns, certificates)
	t.Cleanup(func() {
		if err := shared.Delete(context.Background(), "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "certificates.cert-manager.io"); err != nil {
			t.Error(err)
		}
	})
	features(t, map[string]string{"transport-encryption": "strict"})
	// A dedicated receiver's certificate is its tenant's; senders know its authority by
	// Knative's trust bundles.
	tenant := newAuthority(t)
	dedicated := tenant.secret(t, ns, "own-kontain-receiver-server-tls", "own-kontain-receiver")
	bundle(t, tenant)
	apply(t, ns, broker+`
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "IMAGE"}
---
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: own, namespace: NAMESPACE}
spec: {image: "IMAGE", receiver: Dedicated, reply: {type: dev.kontain.samples.uppercase}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ask, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.ask}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: uppercase}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ask-own, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.ask.own}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: own}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: reply, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.kontain.samples.uppercase}}
  subscriber: {uri: "REPLIES"}
`, "IMAGE", function(t, "uppercase-go"), "REPLIES", replies.URL)
	ready(t, sinks, "KontainSink", ns, "uppercase")
	ready(t, sinks, "KontainSink", ns, "own")
	for _, name := range []string{"ask", "ask-own", "reply"} {
		ready(t, eventing, "Trigger", ns, name)
	}
	address := func(name string, host string, authority []byte) string {
		t.Helper()
		url := "https://" + host + "/" + ns + "/" + name
		awaitObject(t, sinks, "KontainSink", ns, name, func(o *unstructured.Unstructured) error {
			if u, c := text(o, "status", "address", "url"), text(o, "status", "address", "CACerts"); u != url || c != string(authority) {
				return fmt.Errorf("address %s with authority %.60q", u, c)
			}
			return nil
		})
		return url
	}
	host := "kontain-receiver." + cluster.System + ".svc.cluster.local"
	url := address("uppercase", host, ca.pem)
	own := "own-kontain-receiver." + ns + ".svc.cluster.local"
	ownURL := address("own", own, nil)
	pods := receiverPods(t)

	event := ask("1", `{"text":"x"}`)
	awaitCode(t, ca.client(), nil, url, event, http.StatusOK)
	awaitCode(t, tenant.client(), nil, ownURL, event, http.StatusOK)
	awaitCode(t, http.DefaultClient, nil, strings.Replace(url, "https:", "http:", 1), event, http.StatusNotFound)
	if _, _, err := cluster.SendWith(t.Context(), newAuthority(t).client(), nil, url, event); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("a client with another authority: %v", err)
	}
	ingress := strings.Replace(cluster.BrokerURL(ns, "default"), "http:", "https:", 1)
	exchangeAs(t, ca.client(), nil, ingress, ask("2", `{"text":"hello"}`), replies, "2-uppercase")
	ofOwn := ask("3", `{"text":"hello"}`)
	ofOwn.Attributes["type"] = "dev.test.ask.own"
	exchangeAs(t, ca.client(), nil, ingress, ofOwn, replies, "3-uppercase")

	served(t, host, certificate)
	served(t, own, dedicated)
	served(t, host, ca.secret(t, cluster.System, "kontain-receiver-server-tls", "kontain-receiver"))
	served(t, own, tenant.secret(t, ns, "own-kontain-receiver-server-tls", "own-kontain-receiver"))
	awaitCode(t, ca.client(), nil, url, event, http.StatusOK)

	// Another authority: the address says so, and the Broker follows.
	next := newAuthority(t)
	served(t, host, next.secret(t, cluster.System, "kontain-receiver-server-tls", "kontain-receiver"))
	address("uppercase", host, next.pem)
	awaitCode(t, next.client(), nil, url, event, http.StatusOK)
	exchangeAs(t, ca.client(), nil, ingress, ask("4", `{"text":"hello"}`), replies, "4-uppercase")
	if now := receiverPods(t); now != pods {
		t.Errorf("receivers were %s and are %s", pods, now)
	}
}

// served waits until a server has the certificate of a serial number.
func served(t *testing.T, host, want string) {
	t.Helper()
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // Which it is, is compared.
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, "443"))
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // Nothing was written.
		if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(); got != want {
			return fmt.Errorf("%s serves certificate %s, want %s", host, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// receiverPods are the pods of all receivers, with their restarts.
func receiverPods(t *testing.T) string {
	t.Helper()
	pods, err := shared.Kube.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: receiver})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			all = append(all, fmt.Sprintf("%s/%s:%d", p.Namespace, p.Name, c.RestartCount))
		}
	}
	return strings.Join(all, " ")
}

// bundle makes an authority one that Knative's senders trust, until the test ends.
func bundle(t *testing.T, a *authority) {
	t.Helper()
	maps := shared.Kube.CoreV1().ConfigMaps(cluster.System)
	_, err := maps.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "tenant-bundle", Labels: map[string]string{"networking.knative.dev/trust-bundle": "true"}},
		Data:       map[string]string{"ca.crt": string(a.pem)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := maps.Delete(context.Background(), "tenant-bundle", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

const certificates = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  names: {kind: Certificate, listKind: CertificateList, plural: certificates, singular: certificate}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
