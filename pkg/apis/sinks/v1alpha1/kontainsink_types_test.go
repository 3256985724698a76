// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/yaml"
)

func TestKontainSinkIdentity(t *testing.T) {
	s := &KontainSink{}
	if got, want := s.GetGroupVersionKind().String(), "sinks.kontain.dev/v1alpha1, Kind=KontainSink"; got != want {
		t.Errorf("GetGroupVersionKind: got %s, want %s", got, want)
	}
	if s.GetStatus() != &s.Status.Status {
		t.Error("GetStatus does not point into the sink")
	}
	if _, ok := s.GetListType().(*KontainSinkList); !ok {
		t.Errorf("GetListType: got %T", s.GetListType())
	}
	if _, ok := s.GetUntypedSpec().(KontainSinkSpec); !ok {
		t.Errorf("GetUntypedSpec: got %T", s.GetUntypedSpec())
	}
}

// TestJSONNames holds the names of the API: a change breaks manifests.
func TestJSONNames(t *testing.T) {
	const every = `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata:
  name: uppercase
  namespace: default
spec:
  image: example.com/uppercase:1
  program: ./uppercase
  root: /
  command: [a]
  args: [b]
  env:
  - name: A
    value: x
  - name: B
    valueFrom:
      configMapKeyRef: {name: c, key: k}
  - name: C
    valueFrom:
      secretKeyRef: {name: s, key: k, optional: true}
  contract:
    type: http
    http: {port: 8080, path: /, readiness: /health/readiness}
    lambda: {payload: Event}
    openwhisk: {protocol: HTTP, main: main, code: /action.zip, binary: true, payload: Data}
    azure: {function: f, binding: b, enableForwardingHttpRequest: true}
  resources:
    limits: {memory: 128Mi, cpu: "1"}
  timeout: 10s
  concurrency: 16
  queue: {length: 100, timeout: 5s}
  isolation: Process
  platform: Auto
  snapshot:
    mode: Ready
    storage: Disk
    warmup:
    - {specversion: "1.0", id: "1", source: /x, type: t, data: {n: 1}}
  idleTimeout: 1m0s
  egress: ["example.com:443"]
  reply:
    type: t
    source: /s
    extensions: {tenant: a}
  imagePullPolicy: IfNotPresent
  imagePullSecrets:
  - name: pull
  receiver: Shared
status:
  observedGeneration: 1
  conditions:
  - {type: Ready, status: "True", lastTransitionTime: null}
  address: {name: http, url: http://example.com/default/uppercase, CACerts: pem, audience: a}
  addresses:
  - {name: http, url: http://example.com/default/uppercase}
  policies:
  - {name: p, apiVersion: eventing.knative.dev/v1alpha1}
  imageDigest: sha256:0
`
	var s KontainSink
	if err := yaml.UnmarshalStrict([]byte(every), &s); err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := yaml.Unmarshal([]byte(every), &want); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected JSON (-want +got):\n%s", diff)
	}

	clone := s.DeepCopy()
	if diff := cmp.Diff(text, mustJSON(t, clone)); diff != "" {
		t.Errorf("the deep copy differs (-want +got):\n%s", diff)
	}
	clone.Spec.Env[0].Name = "Z"
	*clone.Spec.Concurrency = 1
	clone.Spec.Snapshot.Warmup[0].Raw[0] = ' '
	clone.Status.Conditions[0].Type = "Other"
	if diff := cmp.Diff(string(text), string(mustJSON(t, &s))); diff != "" {
		t.Errorf("a change of the deep copy changed the original (-want +got):\n%s", diff)
	}
}

// TestDuckTypes reads a sink as Knative's own types for addressables and
// conditions do.
func TestDuckTypes(t *testing.T) {
	s := &KontainSink{}
	s.Status.SetAddresses(duckv1.Addressable{URL: mustURL(t, "http://example.com/default/uppercase")})
	s.Status.MarkAddressable()
	text := mustJSON(t, s)

	var addressable duckv1.AddressableType
	if err := json.Unmarshal(text, &addressable); err != nil {
		t.Fatal(err)
	}
	if got, want := addressable.Status.Address.URL.String(), "http://example.com/default/uppercase"; got != want {
		t.Errorf("address: got %s, want %s", got, want)
	}
	var resource duckv1.KResource
	if err := json.Unmarshal(text, &resource); err != nil {
		t.Fatal(err)
	}
	if !resource.Status.GetCondition(ConditionAddressable).IsTrue() {
		t.Errorf("conditions: got %v, want Addressable to be true", resource.Status.Conditions)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestExplain holds what kubectl explain says against the code: the bounds are numbers,
// and those that Validate holds fields to.
func TestExplain(t *testing.T) {
	data, err := os.ReadFile("../../../../config/300-kontainsink.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	about := map[string]string{}
	describe("", crd.Spec.Versions[0].Schema.OpenAPIV3Schema, about)
	for field, says := range map[string]string{
		"spec.timeout":                 fmt.Sprintf("at most %.0fh.", MaxTimeout.Hours()),
		"spec.queue.timeout":           fmt.Sprintf("from 0 to %.0fh.", MaxTimeout.Hours()),
		"spec.idleTimeout":             fmt.Sprintf("from 0 to %.0fh.", MaxIdleTimeout.Hours()),
		"spec.concurrency":             fmt.Sprintf("from 1 to %d.", MaxConcurrency),
		"spec.queue.length":            fmt.Sprintf("to %d.", MaxQueueLength),
		"spec.resources.limits.memory": fmt.Sprintf("From %s to %s.", MinMemory, MaxMemory),
		"spec.resources.limits.cpu":    fmt.Sprintf("From %s to %s.", MinCPU, MaxCPU),
	} {
		if !strings.Contains(about[field], says) {
			t.Errorf("%s: %q does not say %q", field, about[field], says)
		}
	}
	constant := regexp.MustCompile(`\b(Min|Max|Default|Allow)[A-Z][A-Za-z]+`)
	for field, text := range about {
		if name := constant.FindString(text); name != "" {
			t.Errorf("%s names the Go identifier %s", field, name)
		}
		if text == "" && strings.HasPrefix(field, "spec.") {
			t.Errorf("%s has no description", field)
		}
	}
}

// describe collects the descriptions of the fields of a schema.
func describe(path string, s *apiextensionsv1.JSONSchemaProps, about map[string]string) {
	for name, p := range s.Properties {
		field := strings.TrimPrefix(path+"."+name, ".")
		about[field] = strings.Join(strings.Fields(p.Description), " ")
		describe(field, &p, about)
	}
	if s.Items != nil && s.Items.Schema != nil {
		describe(path+"[]", s.Items.Schema, about)
	}
}
