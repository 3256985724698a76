// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"kontain.dev/eventing/test/e2e/cluster"
)

const sinks = "sinks.kontain.dev/v1alpha1"

// install installs this project, once.
var install = sync.OnceValue(func() error { return shared.Install(context.Background()) })

// needSinks installs this project. What cannot be installed is a failure.
func needSinks(t *testing.T) {
	t.Helper()
	if err := install(); err != nil {
		t.Fatal("installing: ", err)
	}
}

// function builds the image of a sample.
func function(t *testing.T, sample string) string {
	t.Helper()
	ref, err := shared.BuildFunction(t.Context(), "samples/"+sample, sample+":"+strings.ToLower(t.Name()), "--contract", "stdio")
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

const broker = `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: NAMESPACE}
---
`

// sinkURL is the address of a sink in the shared receiver.
func sinkURL(namespace, name string) string {
	return fmt.Sprintf("http://kontain-receiver.%s.svc.cluster.local/%s/%s", cluster.System, namespace, name)
}

// TestSink is the way of an event: Broker, Trigger, a function in a machine of
// its own, its reply through the Broker, a second Trigger, a collector.
func TestSink(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	replies := collector(t, nil)
	apply(t, ns, broker+`
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "IMAGE"}
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
metadata: {name: reply, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.kontain.samples.uppercase}}
  subscriber: {uri: "REPLIES"}
`, "IMAGE", function(t, "uppercase-go"), "REPLIES", replies.URL)
	ready(t, sinks, "KontainSink", ns, "uppercase")
	ready(t, eventing, "Trigger", ns, "ask")
	ready(t, eventing, "Trigger", ns, "reply")
	reply := exchange(t, cluster.BrokerURL(ns, "default"), ask("1", `{"text":"hello"}`), replies, "1-uppercase")
	if reply.Data != `{"text":"HELLO"}` || reply.Attributes["source"] != "/samples/uppercase-go" {
		t.Errorf("reply %+v", reply)
	}
	// The image is there now: another sink with it is quick.
	begin := time.Now()
	apply(t, ns, `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: again, namespace: NAMESPACE}
spec: {image: "IMAGE"}
`, "IMAGE", shared.Registry()+"/uppercase-go:testsink")
	o, err := shared.WaitReady(t.Context(), sinks, "KontainSink", ns, "again", "Ready")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a sink whose image is there is Ready after %v", time.Since(begin).Round(time.Millisecond))
	status, ok := o.Object["status"].(map[string]any)
	if !ok {
		t.Fatal("no status")
	}
	if address, ok := status["address"].(map[string]any); !ok || address["url"] != sinkURL(ns, "again") {
		t.Errorf("address %v", status["address"])
	}
	if d, ok := status["imageDigest"].(string); !ok || !strings.Contains(d, "@sha256:") {
		t.Errorf("imageDigest %v", status["imageDigest"])
	}
}

func ask(id, data string) cluster.Event {
	return cluster.Event{
		Attributes:  map[string]string{"id": id, "source": "/test", "type": "dev.test.ask"},
		ContentType: "application/json", Data: data,
	}
}

// TestDeadLetter sees what Knative tells a dead-letter sink of a function that
// fails for good.
func TestDeadLetter(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	dead := collector(t, nil)
	apply(t, ns, broker+`
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: faulty, namespace: NAMESPACE}
spec: {image: "IMAGE", snapshot: {mode: Never}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ask, namespace: NAMESPACE}
spec:
  broker: default
  filter: {attributes: {type: dev.test.ask}}
  subscriber: {ref: {apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, name: faulty}}
  delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT0.1S, deadLetterSink: {uri: "DEAD"}}
`, "IMAGE", function(t, "faulty"), "DEAD", dead.URL)
	ready(t, sinks, "KontainSink", ns, "faulty")
	ready(t, eventing, "Trigger", ns, "ask")
	for _, c := range []struct {
		mode, code, says string
	}{
		{"reject", "422", "this event will never do"},
		{"exit", "502", "asked to exit with status 3"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			e := exchange(t, cluster.BrokerURL(ns, "default"), ask(c.mode, `{"mode":"`+c.mode+`"}`), dead, c.mode)
			if got := e.Attributes["knativeerrorcode"]; got != c.code {
				t.Errorf("knativeerrorcode %q, want %s", got, c.code)
			}
			data := e.Attributes["knativeerrordata"]
			if text, err := base64.StdEncoding.DecodeString(data); err == nil {
				data = string(text)
			}
			if !strings.Contains(data, c.says) {
				t.Errorf("knativeerrordata %q does not say %q", data, c.says)
			}
			if got := e.Attributes["knativeerrordest"]; got != sinkURL(ns, "faulty") {
				t.Errorf("knativeerrordest %q", got)
			}
		})
	}
}

// TestWebhook sees manifests refused, by the path of the field.
func TestWebhook(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	for _, c := range []struct{ name, spec, says string }{
		{"none", `{}`, "spec.image"},
		{"program", `{program: /bin/sh}`, "spec.program"},
		{"timeout", `{image: "r.example/a", timeout: "-1s"}`, "spec.timeout"},
		{"secret", `{image: "r.example/a", imagePullSecrets: [{name: x}]}`, "spec.imagePullSecrets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := shared.Apply(t.Context(), fmt.Sprintf(`
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: %s, namespace: %s}
spec: %s
`, c.name, ns, c.spec))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that names %s", err, c.says)
			}
		})
	}
}

// TestSinkDeleted sees a deleted sink answer 404.
func TestSinkDeleted(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	apply(t, ns, `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: uppercase, namespace: NAMESPACE}
spec: {image: "IMAGE"}
`, "IMAGE", function(t, "uppercase-go"))
	ready(t, sinks, "KontainSink", ns, "uppercase")
	send(t, sinkURL(ns, "uppercase"), ask("1", `{"text":"x"}`))
	if err := shared.Delete(t.Context(), sinks, "KontainSink", ns, "uppercase"); err != nil {
		t.Fatal(err)
	}
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		code, body, err := cluster.Send(ctx, sinkURL(ns, "uppercase"), ask("2", `{"text":"x"}`))
		if err == nil && code != http.StatusNotFound {
			err = fmt.Errorf("%d: %s", code, body)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
