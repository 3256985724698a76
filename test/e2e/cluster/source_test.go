// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kontain.dev/eventing/test/e2e/cluster"
)

const sources = "sources.kontain.dev/v1alpha1"

// adapters selects the pods of the source adapter.
const adapters = "app.kubernetes.io/name=kontain-source"

// beat is a source that runs samples/heartbeat-go each second.
const beat = `
apiVersion: sources.kontain.dev/v1alpha1
kind: KontainSource
metadata: {name: beat, namespace: NAMESPACE}
spec: {image: "IMAGE", interval: 1s, sink: SINK}
---
`

// condition returns status, reason and message of a condition of a source.
func condition(ctx context.Context, namespace, name, kind string) (status, reason, message string, err error) {
	o, err := shared.Get(ctx, sources, "KontainSource", namespace, name)
	if err != nil {
		return "", "", "", err
	}
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			text := func(key string) string { s, _ := m[key].(string); return s }
			return text("status"), text("reason"), text("message"), nil
		}
	}
	return "", "", "", err
}

// TestSource is the whole way: a source in a machine, Broker, Trigger, a sink in a machine,
// its reply, a second Trigger, a collector.
func TestSource(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	replies := collector(t, nil)
	apply(t, ns, broker+`
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "SINKIMAGE"}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: beat, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.kontain.samples.heartbeat}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: uppercase}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: reply, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.kontain.samples.uppercase}}
  subscriber: {uri: "REPLIES"}
---
`+beat, "SINKIMAGE", function(t, "uppercase-go"), "IMAGE", function(t, "heartbeat-go"),
		"SINK", "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}", "REPLIES", replies.URL)
	ready(t, sinks, "KontainSink", ns, "uppercase")
	o, err := shared.WaitReady(t.Context(), sources, "KontainSource", ns, "beat", "Ready")
	if err != nil {
		t.Fatal(err)
	}
	if uri, _, _ := unstructured.NestedString(o.Object, "status", "sinkUri"); uri != cluster.BrokerURL(ns, "default") {
		t.Errorf("sinkUri %q", uri)
	}
	if d, _, _ := unstructured.NestedString(o.Object, "status", "imageDigest"); !strings.Contains(d, "@sha256:") {
		t.Errorf("imageDigest %q", d)
	}
	attributes, _, _ := unstructured.NestedSlice(o.Object, "status", "ceAttributes")
	if len(attributes) != 1 {
		t.Errorf("ceAttributes %v", attributes)
	}
	err = cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		events := replies.Events()
		if len(events) < 3 {
			return fmt.Errorf("%d replies", len(events))
		}
		if !strings.Contains(events[0].Data, "STILL HERE") {
			return fmt.Errorf("a reply has %q", events[0].Data)
		}
		o, err := shared.Get(ctx, sources, "KontainSource", ns, "beat")
		if err != nil {
			return err
		}
		history, _, err := unstructured.NestedMap(o.Object, "status", "history")
		if err != nil || history["lastRun"] == nil || history["lastSuccess"] == nil || history["nextRun"] == nil || history["sent"] == nil {
			return fmt.Errorf("history %v, %w", history, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// A source that is suspended, and one that is deleted, runs no more.
	for _, step := range []struct {
		name string
		do   func() error
		done func(context.Context) error
	}{
		{"suspend", func() error {
			return shared.Apply(t.Context(), strings.NewReplacer("NAMESPACE", ns, "IMAGE", function(t, "heartbeat-go"),
				"SINK}", `{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}, suspend: true}`).Replace(beat))
		}, func(ctx context.Context) error {
			if _, reason, _, err := condition(ctx, ns, "beat", "Scheduled"); err != nil || reason != "Suspended" {
				return fmt.Errorf("reason %q, %w", reason, err)
			}
			return nil
		}},
		{"delete", func() error { return shared.Delete(t.Context(), sources, "KontainSource", ns, "beat") }, func(ctx context.Context) error {
			if _, err := shared.Get(ctx, sources, "KontainSourceState", ns, "beat"); err == nil {
				return fmt.Errorf("its state is still there")
			}
			return nil
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(step.name, ": ", err)
		}
		if err := cluster.Eventually(t.Context(), cluster.Patience, step.done); err != nil {
			t.Error(step.name, ": ", err)
		}
	}
}

// TestSourceImageGone changes a source to an image that is not to be had: what ran runs
// on, the source says why, and the next image that is there takes over.
func TestSourceImageGone(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	k := collector(t, nil)
	image := function(t, "heartbeat-go")
	with := func(image string) string {
		return strings.NewReplacer("NAMESPACE", ns, "IMAGE", image, "SINK", `{uri: "`+k.URL+`"}`).Replace(beat)
	}
	apply(t, ns, with(image))
	ready(t, sources, "KontainSource", ns, "beat")
	if err := shared.Apply(t.Context(), with(image+"-that-nobody-has")); err != nil {
		t.Fatal(err)
	}
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		status, reason, message, err := condition(ctx, ns, "beat", "ImageResolved")
		if err != nil || status != "False" || reason != "ImagePullFailed" {
			return fmt.Errorf("ImageResolved is %s, %s: %s, %w", status, reason, message, err)
		}
		_, reason, message, err = condition(ctx, ns, "beat", "Scheduled")
		if err != nil || !strings.Contains(message, "generation 1 runs on") {
			return fmt.Errorf("Scheduled is %s: %s, %w", reason, message, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	more := func(what string) {
		t.Helper()
		ids, _ := due(k)
		err := cluster.Eventually(t.Context(), cluster.Patience, func(context.Context) error {
			if now, _ := due(k); len(now) < len(ids)+3 {
				return fmt.Errorf("%d events, %d before", len(now), len(ids))
			}
			return nil
		})
		if err != nil {
			t.Fatal(what, ": ", err)
		}
	}
	more("with an image that is not to be had")
	if err := shared.Apply(t.Context(), with(image)); err != nil {
		t.Fatal(err)
	}
	ready(t, sources, "KontainSource", ns, "beat")
	more("with an image that is there again")
	ids, _ := due(k)
	inOrder(t, ids)
}

// due returns the distinct ids that a collector was given, in the order of their first
// time, and how many were given again.
func due(k *cluster.Collector) (ids []string, again int) {
	seen := map[string]bool{}
	for _, e := range k.Events() {
		id := e.Attributes["id"]
		if seen[id] {
			again++
			continue
		}
		seen[id] = true
		ids = append(ids, id)
	}
	return ids, again
}

// inOrder wants the ids of runs, which end in the time that these were due, in order.
func inOrder(t *testing.T, ids []string) {
	t.Helper()
	if !slices.IsSortedFunc(ids, func(a, b string) int { return dueAt(t, a).Compare(dueAt(t, b)) }) {
		t.Errorf("out of order: %v", ids)
	}
}

func dueAt(t *testing.T, id string) time.Time {
	t.Helper()
	parts := strings.SplitN(id, ".", 3) // NAMESPACE.NAME.TIME
	at, err := time.Parse(time.RFC3339Nano, parts[len(parts)-1])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestSourceSinkDown has a sink by its URI away for half a minute: nothing is lost, the
// order is kept, and there is no storm when it is back.
func TestSourceSinkDown(t *testing.T) {
	needSinks(t)
	const away = 30 * time.Second
	ns := namespace(t)
	var down atomic.Bool
	var refused atomic.Int64
	taken := collector(t, nil)
	front := collector(t, func(e cluster.Event) (int, *cluster.Event) {
		if down.Load() {
			refused.Add(1)
			return http.StatusServiceUnavailable, nil
		}
		if code, _, err := cluster.Send(t.Context(), taken.URL, e); err != nil || code/100 != 2 {
			return http.StatusBadGateway, nil
		}
		return http.StatusAccepted, nil
	})
	apply(t, ns, beat, "IMAGE", function(t, "heartbeat-go"), "SINK", `{uri: "`+front.URL+`"}`)
	ready(t, sources, "KontainSource", ns, "beat")
	count := func(n int) {
		t.Helper()
		err := cluster.Eventually(t.Context(), 2*cluster.Patience, func(context.Context) error {
			if ids, _ := due(taken); len(ids) < n {
				return fmt.Errorf("%d of %d events", len(ids), n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count(3)
	down.Store(true)
	time.Sleep(away) // what is tested: it is away so long
	before, _ := due(taken)
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		status, reason, _, err := condition(ctx, ns, "beat", "Delivering")
		if err != nil || status != "False" || reason != "SinkFails" {
			return fmt.Errorf("Delivering is %q, %q: %w", status, reason, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	attempts := refused.Load()
	down.Store(false)
	count(len(before) + int(away/time.Second)/2)
	ids, again := due(taken)
	inOrder(t, ids)
	if again > 5 { // an answer may come too late on a slow machine
		t.Errorf("%d events were sent again", again)
	}
	gap := time.Duration(0)
	for i := 1; i < len(ids); i++ {
		gap = max(gap, dueAt(t, ids[i]).Sub(dueAt(t, ids[i-1])))
	}
	if attempts > int64(away/time.Second)*5 {
		t.Errorf("the sink was tried %d times in %v", attempts, away)
	}
	t.Logf("%d attempts in %v; %d events, %d again, the longest time between two runs %v", attempts, away, len(ids), again, gap)
}

// TestSourceKilled kills the program of the adapter while a source runs each second, and
// then takes its pod away: what a run has written is sent, and what is sent again has the
// same id.
func TestSourceKilled(t *testing.T) {
	needSinks(t)
	const kills = 5
	ns := namespace(t)
	k := collector(t, nil)
	apply(t, ns, beat, "IMAGE", function(t, "heartbeat-go"), "SINK", `{uri: "`+k.URL+`"}`)
	ready(t, sources, "KontainSource", ns, "beat")
	more := func(n int) {
		t.Helper()
		before, _ := due(k)
		err := cluster.Eventually(t.Context(), 2*cluster.Patience, func(context.Context) error {
			if ids, _ := due(k); len(ids) < len(before)+n {
				return fmt.Errorf("%d of %d events", len(ids)-len(before), n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pod := func() string {
		t.Helper()
		pods, err := shared.Kube.CoreV1().Pods(cluster.System).List(t.Context(), metav1.ListOptions{LabelSelector: adapters})
		if err != nil || len(pods.Items) == 0 {
			t.Fatalf("no adapter runs: %v", err)
		}
		return pods.Items[0].Name
	}
	more(2)
	for range kills {
		if err := shared.Node.Kill(cluster.System, pod()); err != nil {
			t.Fatal(err)
		}
		more(2)
	}
	// Another pod, as on another node: it has nothing but the API server.
	now := int64(0)
	if err := shared.Kube.CoreV1().Pods(cluster.System).Delete(t.Context(), pod(), metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	more(3)
	ids, again := due(k)
	inOrder(t, ids)
	o, err := shared.Get(t.Context(), sources, "KontainSource", ns, "beat")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills: %d events, %d of them again; history %v", kills+1, len(ids), again, o.Object["status"].(map[string]any)["history"])
}

// TestSourceWebhook sees manifests refused, by the path of the field.
func TestSourceWebhook(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	const sink = `sink: {uri: "http://x.example"}`
	for _, c := range []struct{ name, spec, says string }{
		{"cron", `{image: "r.example/a", schedule: "61 * * * *", ` + sink + `}`, "spec.schedule"},
		{"zone", `{image: "r.example/a", schedule: "@daily", timeZone: Mars/Base, ` + sink + `}`, "spec.timeZone"},
		{"interval", `{image: "r.example/a", interval: 1ms, ` + sink + `}`, "spec.interval"},
		{"two", `{image: "r.example/a", interval: 1s, once: true, ` + sink + `}`, "spec.once"},
		{"never", `{image: "r.example/a", ` + sink + `}`, "expected exactly one of"},
		{"nowhere", `{image: "r.example/a", once: true}`, "spec.sink"},
		{"program", `{program: /bin/sh, once: true, ` + sink + `}`, "spec.program"},
		{"egress", `{image: "r.example/a", once: true, egress: ["x.example"], ` + sink + `}`, "spec.egress"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := shared.Apply(t.Context(), fmt.Sprintf("apiVersion: %s\nkind: KontainSource\nmetadata: {name: %s, namespace: %s}\nspec: %s\n", sources, c.name, ns, c.spec))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that names %s", err, c.says)
			}
		})
	}
}

// TestSourceBad has programs that do what they must not: each is bounded, and people are
// told by a condition and an event about the source.
func TestSourceBad(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	k := collector(t, nil)
	image, err := shared.BuildFunction(t.Context(), "test/e2e/cluster/testdata/badsource", "badsource:1", "--contract", "stdio")
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{"never": "DeadlineExceeded", "half": "line 2", "large": "", "many": "", "crash": ""}
	for name := range bad {
		timeout := "1m"
		if name == "never" {
			timeout = "3s"
		}
		apply(t, ns, `
apiVersion: sources.kontain.dev/v1alpha1
kind: KontainSource
metadata: {name: PROGRAM, namespace: NAMESPACE}
spec: {image: "IMAGE", args: [PROGRAM], once: true, timeout: TIME, snapshot: {mode: Never}, sink: {uri: "SINK"}}
`, "IMAGE", image, "SINK", k.URL, "PROGRAM", name, "TIME", timeout)
	}
	for name, says := range bad {
		err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
			status, reason, message, err := condition(ctx, ns, name, "Succeeding")
			if err != nil || status != "False" || reason != "RunFailed" || !strings.Contains(message, says) {
				return fmt.Errorf("Succeeding is %q, %q, %q: %w", status, reason, message, err)
			}
			events, err := shared.Kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name + ",reason=RunFailed"})
			if err != nil || len(events.Items) == 0 {
				return fmt.Errorf("no event about it: %w", err)
			}
			t.Logf("%s: %s", name, message)
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(k.Events()); n != 0 {
		t.Errorf("%d events were sent", n)
	}
	// Output that is no event is the data of one.
	apply(t, ns, `
apiVersion: sources.kontain.dev/v1alpha1
kind: KontainSource
metadata: {name: garbage, namespace: NAMESPACE}
spec: {image: "IMAGE", args: [garbage], once: true, snapshot: {mode: Never}, sink: {uri: "SINK"}}
`, "IMAGE", image, "SINK", k.URL)
	if _, err := k.Wait(t.Context(), "type", "dev.kontain.garbage.output"); err != nil {
		t.Error(err)
	}
}

// TestSourceRights holds the adapter to what it may do: no Secret, and no token but of the
// service accounts of sources.
func TestSourceRights(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	token, err := shared.Kube.CoreV1().ServiceAccounts(cluster.System).CreateToken(t.Context(), "kontain-source", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(shared.Config)
	config.BearerToken, config.UserAgent = token.Status.Token, cluster.TestAgent
	adapter, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("it may list Secrets")
	}
	if _, err := adapter.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("it may list ConfigMaps")
	}
	const own = "beat-oidc-sources.kontain.dev-kontainsource"
	apply(t, ns, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: "+own+", namespace: NAMESPACE}\n")
	for _, c := range []struct {
		namespace, account, audience string
		may                          bool
	}{
		{ns, own, "some-sink", true},
		{ns, own, "https://kubernetes.default.svc", false},
		{ns, "default", "some-sink", false},
		{cluster.System, "kontain-controller", "some-sink", false},
	} {
		err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
			_, err := adapter.CoreV1().ServiceAccounts(c.namespace).CreateToken(ctx, c.account,
				&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{c.audience}}}, metav1.CreateOptions{})
			if (err == nil) != c.may {
				return fmt.Errorf("a token of %s for %s: %v", c.account, c.audience, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
