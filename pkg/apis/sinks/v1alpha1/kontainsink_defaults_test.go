// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const defaulted = `
contract:
  type: stdio
resources:
  limits: {memory: 128Mi, cpu: "1"}
timeout: 10s
concurrency: 16
queue: {length: 100, timeout: 5s}
isolation: Process
platform: Auto
snapshot: {mode: Ready, storage: Disk}
idleTimeout: 60s
imagePullPolicy: IfNotPresent
receiver: Shared
`

func readSpec(t *testing.T, text string) *KontainSink {
	t.Helper()
	s := &KontainSink{}
	if err := yaml.UnmarshalStrict([]byte(text), &s.Spec); err != nil {
		t.Fatal(err)
	}
	s.Name = "a"
	return s
}

func TestSetDefaults(t *testing.T) {
	const stdio = "type: stdio"
	for _, tc := range []struct{ name, spec, want string }{
		{"nothing given", "{}", defaulted},
		{"everything given", strings.NewReplacer("128Mi", "64Mi", "10s", "1s", "16", "1", "Process", "VM", "Auto", "KVM", "Ready", "Never",
			"Disk", "Memory", "60s", "0s", "IfNotPresent", "Always", "Shared", "Dedicated").Replace(defaulted), ""},
		{
			"zero is a value", "concurrency: 0\nqueue: {length: 0, timeout: 0s}\ntimeout: 0s\nidleTimeout: 0s\nresources: {limits: {memory: 0, cpu: 0}}",
			strings.NewReplacer("10s", "0s", "16", "0", "length: 100, timeout: 5s", "length: 0, timeout: 0s", "60s", "0s", "128Mi", "0", `"1"`, "0").Replace(defaulted),
		},
		{"platform KM", "platform: KM", strings.NewReplacer("Auto", "KM", "Ready", "Never").Replace(defaulted)},
		{"platform KM with a snapshot", "platform: KM\nsnapshot: {mode: Ready}", strings.NewReplacer("Auto", "KM").Replace(defaulted)},
		{
			"http", "contract: {type: http}",
			strings.Replace(defaulted, stdio, "type: http\n  http: {port: 8080, path: /, mode: Binary}", 1),
		},
		{
			"http with a port", "contract: {type: http, http: {port: 0, readiness: /ready}}",
			strings.Replace(defaulted, stdio, "type: http\n  http: {port: 0, path: /, readiness: /ready, mode: Binary}", 1),
		},
		{
			"lambda", "contract: {type: lambda}",
			strings.Replace(defaulted, stdio, "type: lambda\n  lambda: {payload: Event}", 1),
		},
		{
			"openwhisk", "contract: {type: openwhisk}",
			strings.Replace(defaulted, stdio, "type: openwhisk\n  openwhisk: {protocol: HTTP, main: main, payload: Event}", 1),
		},
		{
			"openwhisk action loop", "contract: {type: openwhisk, openwhisk: {protocol: ActionLoop}}",
			strings.Replace(defaulted, stdio, "type: openwhisk\n  openwhisk: {protocol: ActionLoop, payload: Event}", 1),
		},
		{
			"azure", "contract: {type: azure}",
			strings.Replace(defaulted, stdio, "type: azure", 1),
		},
		{
			"azure with a function", "contract: {type: azure, azure: {function: f}}",
			strings.Replace(defaulted, stdio, "type: azure\n  azure: {function: f, binding: event}", 1),
		},
		{
			"azure with a function app", "contract: {type: azure, azure: {function: f, app: /}}",
			strings.Replace(defaulted, stdio, "type: azure\n  azure: {function: f, app: /}", 1),
		},
		{
			"part of another contract", "contract: {lambda: {}}",
			strings.Replace(defaulted, stdio, "type: stdio\n  lambda: {}", 1),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if want == "" {
				want = tc.spec
			}
			s := readSpec(t, tc.spec)
			s.SetDefaults(t.Context())
			if diff := cmp.Diff(string(mustJSON(t, readSpec(t, want))), string(mustJSON(t, s))); diff != "" {
				t.Errorf("unexpected spec (-want +got):\n%s", diff)
			}
			again := s.DeepCopy()
			again.SetDefaults(t.Context())
			if diff := cmp.Diff(string(mustJSON(t, s)), string(mustJSON(t, again))); diff != "" {
				t.Errorf("the second time changed (-first +second):\n%s", diff)
			}
		})
	}
}
