// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kontain.dev/eventing/test/e2e/cluster"
)

// TestOIDC sees who may send to a sink with the feature authentication-oidc: by default,
// and where EventPolicies say it.
func TestOIDC(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	other := ns + "-other"
	if err := shared.Namespace(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	replies, dead := collector(t, nil), collector(t, nil)
	apply(t, ns, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: trusted, namespace: NAMESPACE}
---
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "IMAGE"}
`, "IMAGE", function(t, "uppercase-go"))
	ready(t, sinks, "KontainSink", ns, "uppercase")
	url := sinkURL(ns, "uppercase")
	plain := &http.Client{Timeout: time.Minute}

	features(t, map[string]string{"authentication-oidc": "enabled", "default-authorization-mode": "allow-same-namespace"})
	audience := "sinks.kontain.dev/kontainsink/" + ns + "/uppercase"
	awaitObject(t, sinks, "KontainSink", ns, "uppercase", func(o *unstructured.Unstructured) error {
		if got := text(o, "status", "address", "audience"); got != audience {
			return fmt.Errorf("audience %q, want %q", got, audience)
		}
		return nil
	})
	awaitCode(t, plain, nil, url, ask("1", `{"text":"x"}`), http.StatusUnauthorized)
	mine := bearer(token(t, ns, "default", audience))
	trusted := bearer(token(t, ns, "trusted", audience))
	foreign := bearer(token(t, other, "default", audience))

	refuse := func(name string, header http.Header, e cluster.Event, want int, says string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			code, body, err := cluster.SendWith(t.Context(), plain, header, url, e)
			if err != nil || code != want || !strings.Contains(body, says) {
				t.Errorf("%d %v: %s; want %d and %q", code, err, body, want, says)
			}
		})
	}
	event := ask("2", `{"text":"x"}`)
	refuse("no token", nil, event, 401, "a valid token for the audience "+audience)
	refuse("no JWT", bearer("a.b.c"), event, 401, "Unauthorized")
	refuse("another audience", bearer(token(t, ns, "default", audience+"2")), event, 401, "Unauthorized")
	refuse("the API server's audience", bearer(token(t, ns, "default", "https://kubernetes.default.svc")), event, 401, "Unauthorized")
	refuse("another namespace", foreign, event, 403, "Forbidden")
	refuse("the same namespace", mine, event, 200, "X")

	features(t, map[string]string{"default-authorization-mode": "deny-all"})
	awaitCode(t, plain, mine, url, event, http.StatusForbidden)
	features(t, map[string]string{"default-authorization-mode": "allow-all"})
	awaitCode(t, plain, foreign, url, event, http.StatusOK)
	refuse("no token, with allow-all", nil, event, 401, "Unauthorized")
	features(t, map[string]string{"default-authorization-mode": "allow-same-namespace"})
	awaitCode(t, plain, foreign, url, event, http.StatusForbidden)

	// The Broker's filter has the identity of the Trigger.
	apply(t, ns, broker+`
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ask, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.ask}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: uppercase}}
  delivery: {retry: 1, backoffPolicy: linear, backoffDelay: PT0.1S, deadLetterSink: {uri: "DEAD"}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: reply, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.kontain.samples.uppercase}}
  subscriber: {uri: "REPLIES"}
`, "REPLIES", replies.URL, "DEAD", dead.URL)
	ready(t, eventing, "Broker", ns, "default")
	ready(t, eventing, "Trigger", ns, "ask")
	ready(t, eventing, "Trigger", ns, "reply")
	b, err := shared.Get(t.Context(), eventing, "Broker", ns, "default")
	if err != nil {
		t.Fatal(err)
	}
	toBroker := bearer(token(t, ns, "default", text(b, "status", "address", "audience")))
	brokerURL := cluster.BrokerURL(ns, "default")
	exchangeAs(t, plain, toBroker, brokerURL, ask("3", `{"text":"hello"}`), replies, "3-uppercase")

	// A policy for one account, and for events of one type.
	apply(t, ns, `
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: trusted, namespace: NAMESPACE}
spec:
  to: [{ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: uppercase}}]
  from: [{sub: "system:serviceaccount:NAMESPACE:trusted"}]
  filters: [{exact: {type: dev.test.ask}}]
`)
	policies(t, ns, "trusted")
	awaitCode(t, plain, mine, url, event, http.StatusForbidden)
	refuse("who the policy names", trusted, event, 200, "X")
	wrong := ask("4", `{"text":"x"}`)
	wrong.Attributes["type"] = "dev.test.other"
	refuse("an event that the policy does not name", trusted, wrong, 403, "Forbidden")
	e := exchangeAs(t, plain, toBroker, brokerURL, ask("5", `{"text":"hello"}`), dead, "5")
	if got := e.Attributes["knativeerrorcode"]; got != "403" {
		t.Errorf("a Trigger that no policy names: knativeerrorcode %q, want 403", got)
	}

	// And one for the Trigger.
	apply(t, ns, `
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: trigger, namespace: NAMESPACE}
spec:
  to: [{ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: uppercase}}]
  from: [{ref: {apiVersion: eventing.knative.dev/v1, kind: Trigger, name: ask, namespace: NAMESPACE}}]
`)
	policies(t, ns, "trigger", "trusted")
	exchangeAs(t, plain, toBroker, brokerURL, ask("6", `{"text":"hello"}`), replies, "6-uppercase")

	// Without policies the default holds again.
	for _, name := range []string{"trusted", "trigger"} {
		if err := shared.Delete(t.Context(), "eventing.knative.dev/v1alpha1", "EventPolicy", ns, name); err != nil {
			t.Fatal(err)
		}
	}
	policies(t, ns)
	awaitCode(t, plain, mine, url, event, http.StatusOK)
}

// policies waits until these are the policies that the sink says it has.
func policies(t *testing.T, namespace string, want ...string) {
	t.Helper()
	awaitObject(t, sinks, "KontainSink", namespace, "uppercase", func(o *unstructured.Unstructured) error {
		all, _, err := unstructured.NestedSlice(o.Object, "status", "policies")
		if err != nil {
			return err
		}
		var got []string
		for _, one := range all {
			if p, ok := one.(map[string]any); ok {
				got = append(got, fmt.Sprint(p["name"]))
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || !strings.HasPrefix(conditionOf(o, "EventPoliciesReady"), "True") {
			return fmt.Errorf("policies %v (%s), want %v", got, conditionOf(o, "EventPoliciesReady"), want)
		}
		return nil
	})
}

// exchangeAs is exchange for those who need a client or headers of their own.
func exchangeAs(t *testing.T, client *http.Client, header http.Header, url string, e cluster.Event, k *cluster.Collector, id string) cluster.Event {
	t.Helper()
	var sent time.Time
	var found cluster.Event
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		if time.Since(sent) > 10*time.Second {
			sent = time.Now()
			if code, body, err := cluster.SendWith(ctx, client, header, url, e); err != nil || code/100 != 2 {
				return fmt.Errorf("sending to %s: %d %w: %s", url, code, err, body)
			}
		}
		for _, one := range k.Events() {
			if one.Attributes["id"] == id {
				found = one
				return nil
			}
		}
		return fmt.Errorf("none of %d events has the id %s", len(k.Events()), id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
