// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kontain.dev/eventing/test/e2e/cluster"
)

// uppercase is a sink that runs samples/uppercase-go.
const uppercase = `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "IMAGE"}
---
`

// TestSubscription is a Channel whose Subscription has a KontainSink as its subscriber, and
// a collector for the replies.
func TestSubscription(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	replies := collector(t, nil)
	apply(t, ns, uppercase+`
apiVersion: messaging.knative.dev/v1
kind: Channel
metadata: {name: questions, namespace: NAMESPACE}
---
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: ask, namespace: NAMESPACE}
spec:
  channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: questions}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: uppercase}}
  reply: {uri: "REPLIES"}
`, "IMAGE", function(t, "uppercase-go"), "REPLIES", replies.URL)
	ready(t, sinks, "KontainSink", ns, "uppercase")
	ready(t, "messaging.knative.dev/v1", "Subscription", ns, "ask")
	reply := exchange(t, fmt.Sprintf("http://questions-kn-channel.%s.svc.cluster.local", ns), ask("1", `{"text":"hello"}`), replies, "1-uppercase")
	if reply.Data != `{"text":"HELLO"}` || reply.Attributes["type"] != "dev.kontain.samples.uppercase" {
		t.Errorf("reply %+v", reply)
	}
}

// TestSequence is a Sequence of two KontainSinks: what the first one answers is the event
// of the second one, whose answer a collector has.
func TestSequence(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	replies := collector(t, nil)
	image := function(t, "uppercase-go")
	apply(t, ns, uppercase+strings.ReplaceAll(uppercase, "name: uppercase", "name: again")+`
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: twice, namespace: NAMESPACE}
spec:
  channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}
  steps:
    - ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: uppercase}
    - ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: again}
  reply: {uri: "REPLIES"}
`, "IMAGE", image, "REPLIES", replies.URL)
	ready(t, sinks, "KontainSink", ns, "uppercase")
	ready(t, sinks, "KontainSink", ns, "again")
	ready(t, "flows.knative.dev/v1", "Sequence", ns, "twice")
	reply := exchange(t, fmt.Sprintf("http://twice-kn-sequence-0-kn-channel.%s.svc.cluster.local", ns), ask("1", `{"text":"hello"}`), replies, "1-uppercase-uppercase")
	if reply.Data != `{"text":"HELLO"}` {
		t.Errorf("reply %+v", reply)
	}
	for _, e := range replies.Events() {
		if !strings.HasSuffix(e.Attributes["id"], "-uppercase-uppercase") {
			t.Errorf("the first step has answered the collector: %+v", e)
		}
	}
}

// metric returns the sum of a metric of the shared receiver over the rows that have all of
// these labels, such as namespace="a".
func metric(ctx context.Context, name string, labels ...string) (sum float64, rows int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://kontain-receiver.%s.svc.cluster.local:9090/metrics", cluster.System), nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // Only read.
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("metrics: %s: %w", resp.Status, err)
	}
line:
	for line := range strings.Lines(string(text)) {
		of, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || of != name && !strings.HasPrefix(of, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(of, label) {
				continue line
			}
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("metrics: %q: %w", line, err)
		}
		sum += n
		rows++
	}
	return sum, rows, nil
}

// TestRetries counts how often, and notes when, Knative tries a function that fails: as
// often as its Trigger says, at distances that double, before the dead-letter sink; an
// event that the function refuses for good, once.
func TestRetries(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	dead := collector(t, nil)
	const retries, delay = 4, 200 * time.Millisecond
	apply(t, ns, broker+`
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: faulty, namespace: NAMESPACE}
spec: {image: "IMAGE"}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ask, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.ask}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: faulty}}
  delivery: {retry: RETRIES, backoffPolicy: exponential, backoffDelay: PT0.2S, deadLetterSink: {uri: "DEAD"}}
`, "IMAGE", function(t, "faulty"), "DEAD", dead.URL, "RETRIES", strconv.Itoa(retries))
	ready(t, sinks, "KontainSink", ns, "faulty")
	ready(t, eventing, "Trigger", ns, "ask")
	failed := func(reason string) float64 {
		n, _, err := metric(t.Context(), "kontain_events_total", `namespace="`+ns+`"`, `result="`+reason+`"`)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	// The way is there once this one has come through.
	exchange(t, cluster.BrokerURL(ns, "default"), ask("first", `{"mode":"reject"}`), dead, "first")

	refused := failed("PermanentFailure")
	exchange(t, cluster.BrokerURL(ns, "default"), ask("reject", `{"mode":"reject"}`), dead, "reject")
	if n := failed("PermanentFailure") - refused; n != 1 {
		t.Errorf("an event that is refused for good was tried %v times", n)
	}

	before := failed("FunctionFailed")
	// The Broker answers once the event is delivered, or given up.
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		if code, body, err := cluster.Send(t.Context(), cluster.BrokerURL(ns, "default"), ask("exit", `{"mode":"exit"}`)); err != nil || code/100 != 2 {
			t.Errorf("the Broker answers %d %s, %v", code, body, err)
		}
	})
	var times []time.Time
	err := cluster.Eventually(t.Context(), cluster.Patience, func(context.Context) error {
		for n := failed("FunctionFailed") - before; float64(len(times)) < n; {
			times = append(times, time.Now())
		}
		for _, e := range dead.Events() {
			if e.Attributes["id"] == "exit" {
				return nil
			}
		}
		return fmt.Errorf("%d attempts, and it is no dead letter", len(times))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := failed("FunctionFailed") - before; n != 1+retries {
		t.Errorf("%v attempts, want %d", n, 1+retries)
	}
	for i := 2; i < len(times); i++ {
		// What is seen of an attempt is seen up to that much later.
		const late = delay / 2
		if d, least := times[i].Sub(times[i-1]), delay<<(i-1); d+late < least {
			t.Errorf("%v between attempts %d and %d, want %v", d, i, i+1, least)
		}
	}
	t.Logf("attempts at %v", since(times))
}

func since(times []time.Time) (all []time.Duration) {
	for _, at := range times {
		all = append(all, at.Sub(times[0]).Round(time.Millisecond))
	}
	return all
}

// versionImage builds an image of testdata/version that says it is of this version.
func versionImage(t *testing.T, version string) string {
	t.Helper()
	source, err := os.ReadFile("testdata/version/main.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": strings.Replace(string(source), `"VERSION"`, strconv.Quote(version), 1),
		"go.mod":  "module version\n\ngo 1.24\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ref, err := shared.BuildFunction(t.Context(), dir, strings.ToLower(t.Name())+":"+version, "--contract", "stdio", "--env", "VERSION="+version)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// versions is a Broker whose events a function of testdata/version has, and a collector its
// answers. No delivery is tried again unless policy says so.
func versions(t *testing.T, namespace, image, policy string, replies *cluster.Collector) {
	t.Helper()
	apply(t, namespace, broker+versionSink+`
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ask, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.ask}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: version}}
  delivery: {POLICY}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: reply, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.version}}
  subscriber: {uri: "REPLIES"}
`, "IMAGE", image, "POLICY", policy, "REPLIES", replies.URL)
	ready(t, sinks, "KontainSink", namespace, "version")
	ready(t, eventing, "Trigger", namespace, "ask")
	ready(t, eventing, "Trigger", namespace, "reply")
	exchange(t, cluster.BrokerURL(namespace, "default"), ask("first", `{"ms":0}`), replies, "first-version")
}

const versionSink = `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: version, namespace: NAMESPACE}
spec: {image: "IMAGE", isolation: VM}
---
`

// TestImageUpdated changes a sink's image while events come: each is answered by the one
// version or by the other, none by a mixture, and after a while all by the new one.
func TestImageUpdated(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	replies := collector(t, nil)
	images := []string{versionImage(t, "one"), versionImage(t, "two"), versionImage(t, "three")}
	versions(t, ns, images[0], "retry: 0", replies)
	load := &cluster.Load{
		URL: cluster.BrokerURL(ns, "default"), Rate: 50, InFlight: 200,
		Event: func(i int) cluster.Event { return ask(fmt.Sprint(i), `{"ms":100}`) },
	}
	latest := func() string {
		events := replies.Events()
		return events[len(events)-1].Data
	}
	updated := make(chan error, 1)
	go func() {
		updated <- func() error {
			for i, image := range images[1:] {
				version := []string{"two", "three"}[i]
				if err := shared.Apply(t.Context(), strings.NewReplacer("NAMESPACE", ns, "IMAGE", image).Replace(versionSink)); err != nil {
					return err
				}
				err := cluster.Eventually(t.Context(), cluster.Patience, func(context.Context) error {
					if text := latest(); !strings.Contains(text, version) {
						return fmt.Errorf("the last answer is %s, not of version %s", text, version)
					}
					return nil
				})
				if err != nil {
					return err
				}
				time.Sleep(time.Second) // so that some are answered by it
			}
			return nil
		}()
	}()
	done := false
	result := load.Run(t.Context(), func(int) bool {
		select {
		case err := <-updated:
			if done = true; err != nil {
				t.Error(err)
			}
		default:
		}
		return !done
	})
	t.Log(result)
	for _, r := range result.Refused {
		t.Error("refused: ", r)
	}
	answered(t, replies, result.Events, "-version")
	counts := map[string]int{}
	for _, e := range replies.Events() {
		counts[e.Data]++
	}
	for data := range counts {
		switch data {
		case `["one","one","one"]`, `["two","two","two"]`, `["three","three","three"]`:
		default:
			t.Errorf("an answer of several versions: %s", data)
		}
	}
	if len(counts) < 3 {
		t.Errorf("not all versions have answered: %v", counts)
	}
	t.Logf("answers %v", counts)
}

// TestReceiverRolled rolls the shared receiver while events come through a Broker that
// tries nothing again: none is lost.
func TestReceiverRolled(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	replies := collector(t, nil)
	versions(t, ns, versionImage(t, "one"), "retry: 0", replies)
	const rolls = 2
	load := &cluster.Load{
		URL: cluster.BrokerURL(ns, "default"), Rate: 50, InFlight: 200,
		Event: func(i int) cluster.Event { return ask(fmt.Sprint(i), `{"ms":300}`) },
	}
	rolled := make(chan error, 1)
	go func() {
		rolled <- func() error {
			for range rolls {
				if err := rollReceiver(t.Context()); err != nil {
					return err
				}
				time.Sleep(time.Second)
			}
			return nil
		}()
	}()
	done := false
	result := load.Run(t.Context(), func(int) bool {
		select {
		case err := <-rolled:
			if done = true; err != nil {
				t.Error(err)
			}
		default:
		}
		return !done
	})
	t.Log(result)
	for _, r := range result.Refused {
		t.Error("refused: ", r)
	}
	answered(t, replies, result.Events, "-version")
}

// rollReceiver has the shared receiver's pods replaced, and waits until that is done.
func rollReceiver(ctx context.Context) error {
	before, err := receivers(ctx)
	if err != nil {
		return err
	}
	old := map[types.UID]bool{}
	for _, p := range before {
		old[p.UID] = true
	}
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := shared.Kube.AppsV1().Deployments(cluster.System).Patch(ctx, "kontain-receiver", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	return cluster.Eventually(ctx, 2*cluster.Patience, func(ctx context.Context) error {
		pods, err := shared.Kube.CoreV1().Pods(cluster.System).List(ctx, metav1.ListOptions{LabelSelector: receiver})
		if err != nil {
			return err
		}
		ready := 0
		for _, p := range pods.Items {
			if old[p.UID] {
				return fmt.Errorf("pod %s is still there", p.Name)
			}
			for _, c := range p.Status.ContainerStatuses {
				if c.Ready {
					ready++
				}
			}
		}
		if ready < len(old) {
			return fmt.Errorf("%d of %d pods are ready", ready, len(old))
		}
		return nil
	})
}

// TestSinkDeletedInFlight deletes a sink that has events: those that a program has begun
// are answered, later ones are told that there is no such sink, and nothing of it is left.
func TestSinkDeletedInFlight(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	apply(t, ns, versionSink, "IMAGE", versionImage(t, "one"))
	ready(t, sinks, "KontainSink", ns, "version")
	send(t, sinkURL(ns, "version"), ask("first", `{"ms":0}`))
	const events = 5
	var all sync.WaitGroup
	for i := range events {
		all.Go(func() {
			code, body, err := cluster.Send(t.Context(), sinkURL(ns, "version"), ask(fmt.Sprint(i), `{"ms":4000}`))
			if err != nil || code != http.StatusOK || body != `["one","one","one"]` {
				t.Errorf("event %d: %d %s, %v", i, code, body, err)
			}
		})
	}
	of := []string{`namespace="` + ns + `"`}
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		if n, _, err := metric(ctx, "kontain_events_running", of...); err != nil || n != events {
			return fmt.Errorf("%v events run, %w", n, err)
		}
		return nil
	})
	if err == nil {
		err = shared.Delete(t.Context(), sinks, "KontainSink", ns, "version")
	}
	if err != nil {
		t.Fatal(err)
	}
	err = cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		code, body, err := cluster.Send(ctx, sinkURL(ns, "version"), ask("late", `{"ms":0}`))
		if err == nil && code != http.StatusNotFound {
			err = fmt.Errorf("%d: %s", code, body)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	all.Wait()
	err = cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		for _, name := range []string{"kontain_events_running", "kontain_machines_alive"} {
			if _, rows, err := metric(ctx, name, of...); err != nil || rows > 0 {
				return errors.Join(fmt.Errorf("%s has %d rows", name, rows), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
