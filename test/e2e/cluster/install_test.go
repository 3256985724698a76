// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kontain.dev/eventing/test/e2e/cluster"
)

// root is the repository.
const root = "../../.."

// kubectl runs kubectl as the administrator.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	// What it keeps of the API would outlive what is taken away.
	all := append([]string{"--kubeconfig", shared.Kubeconfig(), "--cache-dir", t.TempDir()}, args...)
	cmd := exec.CommandContext(t.Context(), shared.Kubectl(), all...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}

// overlay is what this machine's receivers need.
func overlay() string {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return filepath.Join(root, "config")
	}
	return filepath.Join(root, "overlays", "device-plugin")
}

// TestApplyAgain applies what is installed again, as a release that is newer and as the
// one from before, while events are sent; takes it all away, and installs it anew.
func TestApplyAgain(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	image := function(t, "uppercase-go")
	sink := `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "IMAGE"}
`
	apply(t, ns, sink, "IMAGE", image)
	ready(t, sinks, "KontainSink", ns, "uppercase")
	manifests := kubectl(t, "", "kustomize", overlay())

	// The harness is no kubectl: the first time it takes the objects over.
	kubectl(t, manifests, "apply", "-f", "-")
	if err := shared.WaitDeployments(t.Context(), cluster.System); err != nil {
		t.Fatal(err)
	}
	before := installed(t, manifests)
	kubectl(t, manifests, "apply", "-f", "-")
	if d := cmp.Diff(before, installed(t, manifests)); d != "" {
		t.Errorf("applied again (-before +after):\n%s", d)
	}

	stop := sending(t, sinkURL(ns, "uppercase"))
	const old, next = "app.kubernetes.io/version: devel", "app.kubernetes.io/version: next"
	for _, release := range []string{strings.ReplaceAll(manifests, old, next), manifests} {
		kubectl(t, release, "apply", "-f", "-")
		for _, name := range []string{"kontain-controller", "kontain-webhook", "kontain-receiver"} {
			kubectl(t, "", "rollout", "status", "-n", cluster.System, "deployment/"+name, "--timeout=5m")
		}
		// What the administrator has set is as it was, and what there is, works.
		cm, err := shared.Kube.CoreV1().ConfigMaps(cluster.System).Get(t.Context(), "config-kontain", metav1.GetOptions{})
		if err != nil || !strings.Contains(cm.Data["insecure-registries"], shared.Registry()) {
			t.Errorf("config-kontain: %v, %v", cm.Data, err)
		}
		ready(t, sinks, "KontainSink", ns, "uppercase")
		if err := shared.Apply(t.Context(), strings.NewReplacer("NAMESPACE", ns, "IMAGE", image, "name: uppercase", "name: another").Replace(sink)); err != nil {
			t.Errorf("a sink after the change: %v", err)
		}
	}
	sent, lost := stop()
	t.Logf("%d events while everything was rolled twice", sent)
	if lost != nil {
		t.Error(lost)
	}

	restored := shared.Removed()
	kubectl(t, manifests, "delete", "--wait=true", "-f", "-")
	if list, err := shared.Kube.AppsV1().Deployments(cluster.System).List(t.Context(), metav1.ListOptions{}); err != nil ||
		!slices.ContainsFunc(list.Items, func(d appsv1.Deployment) bool { return d.Name == "eventing-controller" }) {
		t.Errorf("Knative Eventing is gone too: %v", err)
	}
	for _, kind := range []string{"deployments", "services", "configmaps", "secrets", "serviceaccounts", "roles", "rolebindings", "networkpolicies", "poddisruptionbudgets"} {
		if left := kubectl(t, "", "get", kind, "-n", cluster.System, "-l", "app.kubernetes.io/part-of=kontain-eventing", "-o", "name"); left != "" {
			t.Errorf("left of %s: %s", kind, left)
		}
	}
	for _, kind := range []string{"clusterroles", "clusterrolebindings", "crds", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"} {
		if left := kubectl(t, "", "get", kind, "-o", "name"); strings.Contains(left, "kontain") {
			t.Errorf("left of %s: %s", kind, left)
		}
	}
	// Pods end in their own time.
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		pods, err := shared.List(ctx, "v1", "Pod", cluster.System, "app.kubernetes.io/part-of=kontain-eventing")
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	if err := shared.Install(t.Context()); err != nil {
		t.Fatal("installing again: ", err)
	}
	restored()
	apply(t, ns, sink, "IMAGE", image)
	ready(t, sinks, "KontainSink", ns, "uppercase")
	awaitCode(t, http.DefaultClient, nil, sinkURL(ns, "uppercase"), ask("last", `{"text":"x"}`), http.StatusOK)
}

// installed is what the API server has of the objects of manifests, without what it counts.
func installed(t *testing.T, manifests string) map[string]any {
	t.Helper()
	objects, err := cluster.Decode(strings.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for _, o := range objects {
		have, err := shared.Get(t.Context(), o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName())
		if err != nil {
			t.Fatal(err)
		}
		have.SetManagedFields(nil)
		have.SetResourceVersion("")
		delete(have.Object, "status")
		all[o.GetKind()+" "+o.GetName()] = have.Object
	}
	return all
}

// sending sends events, one after the other, each again as senders do until it is
// answered. The returned function ends it, and returns how many were sent and what became
// of one that was lost.
func sending(t *testing.T, url string) func() (int64, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var sent atomic.Int64
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			id := fmt.Sprint(sent.Add(1))
			err := cluster.Eventually(context.WithoutCancel(ctx), time.Minute, func(ctx context.Context) error {
				code, body, err := cluster.Send(ctx, url, ask(id, `{"text":"x"}`))
				if err == nil && code != http.StatusOK {
					err = fmt.Errorf("%d: %s", code, body)
				}
				return err
			})
			if err != nil {
				ended <- fmt.Errorf("event %s: %w", id, err)
				return
			}
		}
		ended <- nil
	}()
	return func() (int64, error) {
		cancel()
		return sent.Load(), <-ended
	}
}

// TestPodSecurity has the API server judge the pods of config/ and of each overlay by the
// pod security standards.
func TestPodSecurity(t *testing.T) {
	needSinks(t)
	for folder, least := range map[string]map[string]string{ // pods that need less than restricted
		"config": nil, "overlays/device-plugin": nil,
		"overlays/privileged": {"kontain-receiver": "privileged", "kontain-source": "privileged"},
		"overlays/daemonset":  {"kontain-receiver": "privileged", "kontain-source": "privileged"},
	} {
		objects, err := cluster.Decode(strings.NewReader(kubectl(t, "", "kustomize", filepath.Join(root, folder))))
		if err != nil {
			t.Fatal(err)
		}
		judged := 0
		for _, o := range objects {
			if o.GetKind() != "Deployment" && o.GetKind() != "DaemonSet" {
				continue
			}
			var d appsv1.Deployment // a DaemonSet's template is at the same place
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
				t.Fatal(err)
			}
			judged++
			t.Run(folder+"/"+o.GetName(), func(t *testing.T) {
				for _, level := range []string{"restricted", "baseline", "privileged"} {
					err := admits(t, level, d.Spec.Template.Spec)
					needs := least[o.GetName()]
					want := needs == "" || needs == level
					switch {
					case want && err != nil:
						t.Errorf("%s: %v", level, err)
					case !want && (err == nil || !strings.Contains(err.Error(), "violates PodSecurity")):
						t.Errorf("%s admits it: %v", level, err)
					}
				}
			})
		}
		if judged < 3 {
			t.Errorf("%s has %d Deployments", folder, judged)
		}
	}
}

// admits asks the API server whether it would take a pod into a namespace of a level.
func admits(t *testing.T, level string, spec corev1.PodSpec) error {
	t.Helper()
	name := "podsecurity-" + level
	err := shared.Namespace(t.Context(), name)
	if err == nil {
		err = shared.Apply(t.Context(), "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+", labels: {pod-security.kubernetes.io/enforce: "+level+"}}")
	}
	if err != nil {
		t.Fatal(err)
	}
	create := func(ctx context.Context, spec corev1.PodSpec) error {
		spec.ServiceAccountName = "default" // Theirs is not in this namespace.
		_, err := shared.Kube.CoreV1().Pods(name).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "judged"}, Spec: spec},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	if level != "privileged" {
		// The API server itself learns of a new namespace's level a moment later.
		err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
			if err := create(ctx, corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{Name: "a", Image: "a"}}}); !apierrors.IsForbidden(err) {
				return fmt.Errorf("a pod in the node's network is admitted: %w", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err = create(t.Context(), spec); err != nil && !apierrors.IsForbidden(err) {
		t.Fatal(err)
	}
	return err
}

// TestManifests has the API server read what is not installed here: the autoscaler, and
// what kubectl explain says.
func TestManifests(t *testing.T) {
	needSinks(t)
	kubectl(t, "", "apply", "--dry-run=server", "--validate=strict", "-f", filepath.Join(root, "overlays", "autoscaling", "hpa.yaml"))
	for _, name := range []string{"config", "overlays/device-plugin", "overlays/privileged", "overlays/daemonset"} {
		kubectl(t, kubectl(t, "", "kustomize", filepath.Join(root, name)), "apply", "--server-side", "--force-conflicts", "--field-manager=cluster", "--dry-run=server", "--validate=strict", "-f", "-")
	}
	for field, says := range map[string]string{
		"kontainsink":                  "runs a program in a virtual machine",
		"kontainsink.spec":             "from 1 to 1000",
		"kontainsink.spec.concurrency": "from 1 to 1000",
		"kontainsink.spec.receiver":    "Dedicated is one of the sink's own",
		"kontainsink.status":           "imageDigest",
	} {
		got := strings.Join(strings.Fields(kubectl(t, "", "explain", field)), " ")
		if !strings.Contains(got, says) {
			t.Errorf("kubectl explain %s does not say %q:\n%s", field, says, got)
		}
	}
	// KEDA's kind is KEDA's to define: here it is not known.
	cmd := exec.CommandContext(t.Context(), shared.Kubectl(), "--kubeconfig", shared.Kubeconfig(), "--cache-dir", t.TempDir(), "apply", "--dry-run=server", "-f", filepath.Join(root, "overlays", "autoscaling", "keda.yaml"))
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || !bytes.Contains(out, []byte(`no matches for kind "ScaledObject"`)) {
		t.Errorf("keda.yaml: %v: %s", err, out)
	}
}
