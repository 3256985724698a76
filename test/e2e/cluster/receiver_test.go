// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kontain.dev/eventing/test/e2e/cluster"
)

// receiver selects the pods of the shared receiver.
const receiver = "app.kubernetes.io/name=kontain-receiver,kontain.dev/receiver=shared"

// pipeline is a Broker whose events reach a function in namespace, and the function's
// replies a collector. Failed deliveries are tried again for some minutes, at distances
// that grow slowly: doubled ones soon are longer than any test waits, and with
// kills that come at regular intervals an event can meet every one of them.
func pipeline(t *testing.T, namespace, sinkSpec string, replies *cluster.Collector) {
	t.Helper()
	const policy = "retry: 60, backoffPolicy: linear, backoffDelay: PT0.2S"
	apply(t, namespace, broker+`
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: function, namespace: NAMESPACE}
spec: SPEC
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ask, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.ask}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: function}}
  delivery: {POLICY}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: reply, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.kontain.samples.uppercase}}
  subscriber: {uri: "REPLIES"}
  delivery: {POLICY}
`, "SPEC", sinkSpec, "REPLIES", replies.URL, "POLICY", policy)
	ready(t, sinks, "KontainSink", namespace, "function")
	ready(t, eventing, "Trigger", namespace, "ask")
	ready(t, eventing, "Trigger", namespace, "reply")
	exchange(t, cluster.BrokerURL(namespace, "default"), ask("first", `{"text":"x"}`), replies, "first-uppercase")
}

// TestReceiverKilled sends events through the Broker while the receiver's program is
// killed: each is answered at least once.
func TestReceiverKilled(t *testing.T) {
	needSinks(t)
	const (
		events = 10_000
		rate   = 200 // a second
		kills  = 4
	)
	ns := namespace(t)
	replies := collector(t, nil)
	pipeline(t, ns, `{image: "`+function(t, "uppercase-go")+`", isolation: Reset, queue: {length: 1000, timeout: 30s}}`, replies)
	load := &cluster.Load{
		URL: cluster.BrokerURL(ns, "default"), Rate: rate, InFlight: 500, Again: 5,
		Event: func(i int) cluster.Event { return ask(fmt.Sprint(i), `{"text":"x"}`) },
	}
	before, err := restarts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	killed := make(chan int, 1)
	go func() {
		n := 0
		defer func() { killed <- n }()
		for ; n < kills; n++ {
			// The next kill is for a receiver that has come back and works.
			at := events/kills*n + events/kills/2
			err := cluster.Eventually(t.Context(), 2*cluster.Patience, func(context.Context) error {
				if load.Taken() < at {
					return fmt.Errorf("%d of %d events are taken", load.Taken(), at)
				}
				return nil
			})
			if err == nil {
				err = killReceiver(t.Context())
			}
			if err != nil {
				t.Errorf("kill %d: %v", n+1, err)
				return
			}
		}
	}()
	result := load.Run(t.Context(), func(begun int) bool { return begun < events })
	t.Log(result)
	for i, r := range result.Refused {
		if i == 5 {
			t.Errorf("and %d more", len(result.Refused)-i)
			break
		}
		t.Error("refused: ", r)
	}
	if n := <-killed; n != kills {
		t.Errorf("killed %d times, want %d", n, kills)
	}
	answered(t, replies, events, "-uppercase")
	after, err := restarts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after-before < kills {
		t.Errorf("the receiver was started again %d times, and killed %d times", after-before, kills)
	}
	t.Logf("%d events, %d answers, %d restarts of the receiver", events, len(replies.Events()), after-before)
}

// answered wants replies with the ids of all events of a Load, which are their number and
// the suffix.
func answered(t *testing.T, replies *cluster.Collector, events int, suffix string) {
	t.Helper()
	err := cluster.Eventually(t.Context(), 2*cluster.Patience, func(context.Context) error {
		seen := map[string]bool{}
		for _, e := range replies.Events() {
			seen[e.Attributes["id"]] = true
		}
		missing, first := 0, -1
		for i := range events {
			if !seen[fmt.Sprint(i)+suffix] {
				if missing++; first < 0 {
					first = i
				}
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d events have no reply, the first of them is %d", missing, events, first)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// receivers are the pods of the shared receiver that are not on their way out.
func receivers(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := shared.Kube.CoreV1().Pods(cluster.System).List(ctx, metav1.ListOptions{LabelSelector: receiver})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }), nil
}

// restarts is how often the programs of receivers were started again.
func restarts(ctx context.Context) (int, error) {
	pods, err := receivers(ctx)
	n := 0
	for _, p := range pods {
		for _, c := range p.Status.ContainerStatuses {
			n += int(c.RestartCount)
		}
	}
	return n, err
}

// killReceiver kills the program of one pod of the shared receiver and waits until it is
// ready again.
func killReceiver(ctx context.Context) error {
	before, err := restarts(ctx)
	if err != nil {
		return err
	}
	pods, err := receivers(ctx)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return errors.New("no receiver runs")
	}
	if err := shared.Node.Kill(cluster.System, pods[0].Name); err != nil {
		return err
	}
	return cluster.Eventually(ctx, cluster.Patience, func(ctx context.Context) error {
		pods, err := receivers(ctx)
		if err != nil {
			return err
		}
		again := 0
		for _, p := range pods {
			for _, c := range p.Status.ContainerStatuses {
				if again += int(c.RestartCount); !c.Ready {
					return fmt.Errorf("pod %s is not ready", p.Name)
				}
			}
		}
		if again <= before {
			return errors.New("its end was not noticed yet")
		}
		return nil
	})
}
