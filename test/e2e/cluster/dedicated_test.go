// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kontain.dev/eventing/test/e2e/cluster"
)

// dedicatedURL is the address of a sink at the receiver of its own of another sink.
func dedicatedURL(namespace, receiver, name string) string {
	return fmt.Sprintf("http://%s-kontain-receiver.%s.svc.cluster.local/%s/%s", receiver, namespace, namespace, name)
}

// TestDedicated has two sinks with receivers of their own, in a namespace where pods must
// be restricted: their Secrets, a registry that asks for a password, what is said while
// they are missing, and what is left when they are deleted.
func TestDedicated(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	apply(t, ns, `
apiVersion: v1
kind: Namespace
metadata:
  name: NAMESPACE
  labels: {pod-security.kubernetes.io/enforce: restricted}
`)
	ref, err := shared.BuildFunction(t.Context(), "test/e2e/cluster/testdata/environment", "environment:1", "--contract", "stdio")
	if err != nil {
		t.Fatal(err)
	}
	private := strings.Replace(ref, shared.Registry(), shared.PrivateRegistry(), 1)
	apply(t, ns, `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: shared, namespace: NAMESPACE}
spec: {image: "IMAGE"}
---
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: one, namespace: NAMESPACE}
spec:
  image: "IMAGE"
  receiver: Dedicated
  imagePullSecrets: [{name: registry}]
  env:
  - {name: TOKEN, valueFrom: {secretKeyRef: {name: one, key: token}}}
  - {name: GREETING, valueFrom: {configMapKeyRef: {name: greetings, key: one}}}
  - {name: ABSENT, valueFrom: {secretKeyRef: {name: one, key: absent, optional: true}}}
---
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: two, namespace: NAMESPACE}
spec:
  image: "IMAGE"
  receiver: Dedicated
  imagePullSecrets: [{name: registry}]
`, "IMAGE", private)
	says := func(name, about string, parts ...string) {
		t.Helper()
		awaitObject(t, sinks, "KontainSink", ns, name, func(o *unstructured.Unstructured) error {
			got := conditionOf(o, about)
			for _, part := range parts {
				if !strings.Contains(got, part) {
					return fmt.Errorf("%s is %q and does not say %q", about, got, part)
				}
			}
			return nil
		})
	}
	// The kubelet starts nothing without what variables come from; a pull secret that is
	// missing is the receiver's to tell.
	says("one", "Addressable", "False NoReceiver", "Secret one (key token)", "ConfigMap greetings (key one)")
	says("two", "ImageResolved", "False ImagePullFailed", "in the namespace "+ns+" there is no Secret registry with the key .dockerconfigjson")
	// The shared receiver has no credentials, and its own pod's are nobody's.
	says("shared", "ImageResolved", "False ImagePullFailed")
	steady(t, ns, "two")

	auth := base64.StdEncoding.EncodeToString([]byte(cluster.RegistryUser + ":" + cluster.RegistryPassword))
	config, err := json.Marshal(map[string]any{"auths": map[string]any{shared.PrivateRegistry(): map[string]string{"auth": auth}}})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, ns, `
apiVersion: v1
kind: Secret
metadata: {name: one, namespace: NAMESPACE}
stringData: {token: of-one}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: greetings, namespace: NAMESPACE}
data: {one: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: registry, namespace: NAMESPACE}
type: kubernetes.io/dockerconfigjson
data: {.dockerconfigjson: "CONFIG"}
`, "CONFIG", base64.StdEncoding.EncodeToString(config))
	ready(t, sinks, "KontainSink", ns, "one")
	ready(t, sinks, "KontainSink", ns, "two")

	environment := func(name string) map[string]string {
		t.Helper()
		code, body, err := cluster.Send(t.Context(), dedicatedURL(ns, name, name), ask("1", `{}`))
		var env map[string]string
		if err = errors.Join(err, json.Unmarshal([]byte(body), &env)); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %v: %s", name, code, err, body)
		}
		return env
	}
	if env := environment("one"); env["TOKEN"] != "of-one" || env["GREETING"] != "hello" {
		t.Errorf("one has %v", env)
	} else if _, there := env["ABSENT"]; there {
		t.Errorf("one has a variable whose key is absent: %v", env)
	}
	for name, value := range environment("two") {
		if value == "of-one" || strings.HasPrefix(name, "KONTAIN") {
			t.Errorf("two has %s=%s", name, value)
		}
	}
	// Neither receiver has the other's sink, and the shared one has neither.
	for _, url := range []string{dedicatedURL(ns, "one", "two"), dedicatedURL(ns, "two", "one"), sinkURL(ns, "one"), sinkURL(ns, "two")} {
		if code, body, err := cluster.Send(t.Context(), url, ask("2", `{}`)); err != nil || code != http.StatusNotFound {
			t.Errorf("%s: %d %v: %s", url, code, err, body)
		}
	}
	// What the kubelet mounts, the receiver itself may not read.
	may(t, ns, "one-kontain-receiver", "get", "", "secrets", ns, false)
	may(t, ns, "one-kontain-receiver", "list", "", "configmaps", ns, false)
	may(t, ns, "one-kontain-receiver", "list", "sinks.kontain.dev", "kontainsinks", ns, true)
	may(t, ns, "one-kontain-receiver", "list", "sinks.kontain.dev", "kontainsinks", cluster.System, false)
	may(t, ns, "one-kontain-receiver", "update", "sinks.kontain.dev", "kontainsinks", ns, false)
	getSecret(t, ns, "one-kontain-receiver", ns, "one")

	// A sink that is deleted, and one that is shared from now on, leave nothing.
	if err := shared.Delete(t.Context(), sinks, "KontainSink", ns, "one"); err != nil {
		t.Fatal(err)
	}
	apply(t, ns, `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: two, namespace: NAMESPACE}
spec: {image: "IMAGE", receiver: Shared}
`, "IMAGE", ref)
	for _, kind := range []struct{ group, kind string }{
		{appsv1.SchemeGroupVersion.String(), "Deployment"},
		{appsv1.SchemeGroupVersion.String(), "ReplicaSet"},
		{corev1.SchemeGroupVersion.String(), "Service"},
		{corev1.SchemeGroupVersion.String(), "ServiceAccount"},
		{corev1.SchemeGroupVersion.String(), "Pod"},
		{rbacv1.SchemeGroupVersion.String(), "RoleBinding"},
	} {
		err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
			left, err := shared.List(ctx, kind.group, kind.kind, ns, "app.kubernetes.io/part-of=kontain-eventing")
			if err != nil {
				return err
			}
			if len(left) > 0 {
				return fmt.Errorf("%d are left, among them %s", len(left), left[0].GetName())
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", kind.kind, err)
		}
	}
	if _, err := shared.Get(t.Context(), "v1", "Secret", ns, "one"); err != nil {
		t.Errorf("the tenant's own Secret: %v", err)
	}
	ready(t, sinks, "KontainSink", ns, "two")
	awaitCode(t, http.DefaultClient, nil, sinkURL(ns, "two"), ask("3", `{}`), http.StatusOK)
}

// TestDedicatedRefused sees a sink say why its pods are not there, where the API server
// refuses them.
func TestDedicatedRefused(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	apply(t, ns, `
apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: NAMESPACE}
spec: {hard: {pods: "0"}}
`)
	// There is no controller of quotas here, which fills the status that admission looks at.
	quota, err := shared.Kube.CoreV1().ResourceQuotas(ns).Get(t.Context(), "none", getOptions)
	if err != nil {
		t.Fatal(err)
	}
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{}}
	for name := range quota.Spec.Hard {
		quota.Status.Used[name] = zero
	}
	if _, err := shared.Kube.CoreV1().ResourceQuotas(ns).UpdateStatus(t.Context(), quota, updateOptions); err != nil {
		t.Fatal(err)
	}
	apply(t, ns, `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: a, namespace: NAMESPACE}
spec: {image: "registry.example/a:1", receiver: Dedicated}
`)
	awaitObject(t, sinks, "KontainSink", ns, "a", func(o *unstructured.Unstructured) error {
		if got := conditionOf(o, "Addressable"); !strings.Contains(got, "False NoReceiver") || !strings.Contains(got, "exceeded quota") {
			return fmt.Errorf("Addressable is %q", got)
		}
		return nil
	})
}

// steady sees that the status of a sink that fails is not written again and again.
func steady(t *testing.T, namespace, name string) {
	t.Helper()
	o, err := shared.Get(t.Context(), sinks, "KontainSink", namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	// Several attempts to pull, which begin after 5 s. Other conditions may settle
	// meanwhile, which is one more write.
	versions := map[string]bool{o.GetResourceVersion(): true}
	_ = cluster.Eventually(t.Context(), pulls, func(ctx context.Context) error {
		if o, err = shared.Get(ctx, sinks, "KontainSink", namespace, name); err == nil {
			versions[o.GetResourceVersion()] = true
		}
		return errors.New("until the time is over")
	})
	if len(versions) > 2 {
		t.Errorf("the status of a sink whose image cannot be had was written %d times: %s", len(versions)-1, conditionOf(o, "ImageResolved"))
	}
}

// getSecret has a service account ask for a Secret, with a token of its own.
func getSecret(t *testing.T, namespace, account, of, name string) {
	t.Helper()
	client := as(t, namespace, account)
	if _, err := client.CoreV1().Secrets(of).Get(t.Context(), name, getOptions); !apierrors.IsForbidden(err) {
		t.Errorf("%s/%s reads the Secret %s/%s: %v", namespace, account, of, name, err)
	}
}
