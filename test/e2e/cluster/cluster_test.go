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
	"testing"
	"time"

	"kontain.dev/eventing/test/e2e/cluster"
)

// shared is the cluster of all tests; each test has a namespace of its own.
var shared *cluster.Cluster

func TestMain(m *testing.M) {
	cluster.Main(m, func(c *cluster.Cluster) { shared = c })
}

// namespace makes a namespace named after the test, and has it deleted after it: a
// receiver that starts brings up all sinks that there are. What failed is left to look at.
func namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	if err := shared.Namespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if err := shared.Delete(context.WithoutCancel(t.Context()), "v1", "Namespace", "", name); err != nil {
			t.Error(err)
		}
	})
	return name
}

func apply(t *testing.T, namespace, documents string, values ...string) {
	t.Helper()
	documents = strings.NewReplacer(append(values, "NAMESPACE", namespace)...).Replace(documents)
	if err := shared.Apply(t.Context(), documents); err != nil {
		t.Fatal(err)
	}
}

// ready waits until an object is Ready and, if events pass through channels to reach it,
// these know of it.
func ready(t *testing.T, apiVersion, kind, namespace, name string) {
	t.Helper()
	if _, err := shared.WaitReady(t.Context(), apiVersion, kind, namespace, name, "Ready"); err != nil {
		t.Fatal(err)
	}
	if err := shared.WaitChannels(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
}

func collector(t *testing.T, answer func(cluster.Event) (int, *cluster.Event)) *cluster.Collector {
	t.Helper()
	k, err := cluster.NewCollector(t.Context(), answer)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// send posts an event and wants it accepted.
func send(t *testing.T, url string, e cluster.Event) {
	t.Helper()
	code, body, err := cluster.Send(t.Context(), url, e)
	if err != nil || code/100 != 2 {
		t.Fatalf("sending to %s: %d %v: %s", url, code, err, body)
	}
}

// exchange sends an event, each three seconds anew, until the collector has one with the
// id. What is Ready may be news to the programs that pass events on, for a moment that
// nothing shows (see WaitChannels); the first event of a way that others are counted on
// is one of exchange.
func exchange(t *testing.T, url string, e cluster.Event, k *cluster.Collector, id string) cluster.Event {
	t.Helper()
	var sent time.Time
	var found cluster.Event
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		if time.Since(sent) > 3*time.Second {
			sent = time.Now()
			if code, body, err := cluster.Send(ctx, url, e); err != nil || code/100 != 2 {
				return fmt.Errorf("sending to %s: %d %w: %s", url, code, err, body)
			}
		}
		events := k.Events()
		i := slices.IndexFunc(events, func(e cluster.Event) bool { return e.Attributes["id"] == id })
		if i < 0 {
			return fmt.Errorf("none of %d events has the id %s", len(events), id)
		}
		found = events[i]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const eventing = "eventing.knative.dev/v1"

// TestKnative sees the harness itself work: a Broker and two Triggers, whose
// second gets what the first's subscriber answers.
func TestKnative(t *testing.T) {
	ns := namespace(t)
	asked := collector(t, func(e cluster.Event) (int, *cluster.Event) {
		return http.StatusOK, &cluster.Event{
			Attributes:  map[string]string{"id": "r-" + e.Attributes["id"], "source": "/answer", "type": "dev.test.reply"},
			ContentType: "application/json", Data: `{"answer":42}`,
		}
	})
	replies := collector(t, nil)
	apply(t, ns, `
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
  subscriber: {uri: "ASKED"}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: reply, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.reply}}
  subscriber: {uri: "REPLIES"}
`, "ASKED", asked.URL, "REPLIES", replies.URL)
	ready(t, eventing, "Broker", ns, "default")
	ready(t, eventing, "Trigger", ns, "ask")
	ready(t, eventing, "Trigger", ns, "reply")
	reply := exchange(t, cluster.BrokerURL(ns, "default"), cluster.Event{
		Attributes:  map[string]string{"id": "1", "source": "/test", "type": "dev.test.ask"},
		ContentType: "application/json", Data: `{"q":1}`,
	}, replies, "r-1")
	if reply.Data != `{"answer":42}` {
		t.Errorf("reply %q", reply.Data)
	}
	if e, err := asked.Wait(t.Context(), "id", "1"); err != nil || e.Data != `{"q":1}` {
		t.Errorf("the first subscriber got %v, %v", e, err)
	}
}
