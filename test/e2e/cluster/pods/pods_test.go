// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package pods_test runs what is released as pods of a real kubelet and containerd, and
// measures it beside a JobSink and a Deployment (make e2e-pods).
package pods_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kontain.dev/eventing/test/e2e/cluster"
)

const (
	root  = "../../../.." // the repository
	sinks = "sinks.kontain.dev/v1alpha1"

	// asked must be set: these tests need Debian's packages, and have the machine for minutes.
	asked = "KONTAIN_E2E_PODS"
)

// shared is the cluster of all tests, which run in the order of this file.
var shared *cluster.Cluster

func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		fmt.Fprintln(os.Stderr, "pods: skipped: make e2e-pods runs these tests")
		return
	}
	cluster.MainPods(m, func(c *cluster.Cluster) { shared = c })
}

// kubectl runs kubectl as the administrator.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shared.Kubectl(), append([]string{"--kubeconfig", shared.Kubeconfig(), "--cache-dir", t.TempDir()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}

func apply(t *testing.T, documents string, values ...string) {
	t.Helper()
	if err := shared.Apply(t.Context(), strings.NewReplacer(values...).Replace(documents)); err != nil {
		t.Fatal(err)
	}
}

func ready(t *testing.T, apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	o, err := shared.WaitReady(t.Context(), apiVersion, kind, namespace, name, "Ready")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func deployed(t *testing.T) {
	t.Helper()
	if err := shared.WaitDeployments(t.Context(), cluster.System); err != nil {
		t.Fatal(err)
	}
}

// configure sets a key of config-kontain, and has the receivers start anew: they read their
// registries then.
func configure(t *testing.T, key, value string) {
	t.Helper()
	kubectl(t, "patch", "-n", cluster.System, "configmap/config-kontain", "--type=merge", "-p", fmt.Sprintf(`{"data":{%q:%q}}`, key, value))
	kubectl(t, "rollout", "restart", "-n", cluster.System, "deployment/kontain-receiver")
	kubectl(t, "rollout", "status", "-n", cluster.System, "deployment/kontain-receiver", "--timeout=3m")
}

// function builds the image of a folder of the repository.
func function(t *testing.T, folder, contract string) string {
	t.Helper()
	ref, err := shared.BuildFunction(t.Context(), folder, filepath.Base(folder)+":"+contract, "--contract", contract)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

const brokered = `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "IMAGE"}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: NAMESPACE}
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
metadata: {name: replies, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {source: /samples/uppercase-go}}
  subscriber: {uri: "REPLIES"}
`

// replied waits until the sink is Ready and the reply to an event that was sent to the
// Broker has come through the second Trigger.
func replied(t *testing.T, namespace string, replies *cluster.Collector) {
	t.Helper()
	ready(t, sinks, "KontainSink", namespace, "uppercase")
	for _, name := range []string{"ask", "replies"} {
		ready(t, "eventing.knative.dev/v1", "Trigger", namespace, name)
	}
	if err := shared.WaitChannels(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	before := len(replies.Events())
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		code, body, err := cluster.Send(ctx, cluster.BrokerURL(namespace, "default"), cluster.Event{
			Attributes:  map[string]string{"id": t.Name(), "source": "/test", "type": "dev.test.ask"},
			ContentType: "application/json", Data: `{"text":"kontain"}`,
		})
		if err != nil || code/100 != 2 {
			return fmt.Errorf("%d: %w: %s", code, err, body)
		}
		for _, e := range replies.Events()[before:] {
			if e.Attributes["id"] == t.Name()+"-uppercase" && strings.Contains(e.Data, "KONTAIN") {
				return nil
			}
		}
		return errors.New("no reply")
	})
	if err != nil {
		t.Fatal(err)
	}
}

// refused waits until the sink is not Ready, for the reason.
func refused(t *testing.T, namespace, reason string) {
	t.Helper()
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		o, err := shared.Get(ctx, sinks, "KontainSink", namespace, "uppercase")
		if err != nil {
			return err
		}
		err = cluster.IsReady(o, "Ready")
		if err == nil || !strings.Contains(err.Error(), reason) {
			return fmt.Errorf("not %s: %w", reason, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRelease installs the released manifest as users do: without /dev/kvm, then with
// ptrace allowed, then with each overlay, under which sinks have KVM.
func TestRelease(t *testing.T) {
	kubectl(t, "apply", "-f", shared.Release())
	deployed(t)
	configure(t, "insecure-registries", shared.Registry())
	const ns = "release"
	if err := shared.Namespace(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	replies, err := cluster.NewCollector(t.Context(), func(cluster.Event) (int, *cluster.Event) { return http.StatusAccepted, nil })
	if err != nil {
		t.Fatal(err)
	}
	apply(t, brokered, "NAMESPACE", ns, "IMAGE", function(t, "samples/uppercase-go", "stdio"), "REPLIES", replies.URL)
	steps := []struct {
		name string
		kvm  bool
		do   func(*testing.T)
	}{
		{"no KVM", false, func(t *testing.T) { refused(t, ns, "NoKVM") }},
		{"ptrace allowed", false, func(t *testing.T) {
			configure(t, "allow-ptrace", "enabled")
			replied(t, ns, replies)
			configure(t, "allow-ptrace", "disabled")
			refused(t, ns, "NoKVM")
		}},
		{"privileged", true, func(t *testing.T) {
			kubectl(t, "apply", "-k", filepath.Join(root, "overlays", "privileged"))
			deployed(t)
			replied(t, ns, replies)
		}},
		{"device plugin", true, func(t *testing.T) {
			if err := shared.OfferKVM(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
			kubectl(t, "apply", "-k", filepath.Join(root, "overlays", "device-plugin"))
			deployed(t)
			replied(t, ns, replies)
		}},
	}
	for _, s := range steps {
		ok := t.Run(s.name, func(t *testing.T) {
			if _, err := os.Stat("/dev/kvm"); err != nil && s.kvm {
				t.Skip("this machine has no /dev/kvm")
			}
			s.do(t)
		})
		if !ok {
			t.FailNow()
		}
	}
}
