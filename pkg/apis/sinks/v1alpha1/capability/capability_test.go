// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package capability

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

func TestCheck(t *testing.T) {
	const able = "program: a\nisolation: VM\n"
	const never = "snapshot: {mode: Never}\n"
	for _, tc := range []struct{ name, spec, want string }{
		{"least", able + never, ""},
		{"most", able + never + "root: /\nargs: [b]\nenv: [{name: A, value: b}]\ncontract: {type: stdio}\n" +
			"resources: {limits: {memory: 64Mi, cpu: 1000m}}\ntimeout: 1s\nconcurrency: 2\nqueue: {length: 0, timeout: 1s}\n" +
			"platform: KVM\nidleTimeout: 61s\nreply: {type: t, source: /s, extensions: {a: b}}\nreceiver: Shared\n", ""},
		{"image", "image: a\ncommand: [b]\nimagePullPolicy: Always\nisolation: VM\n" + never, ""},
		{"valueFrom", able + never + "env: [{name: A}, {name: B, valueFrom: {configMapKeyRef: {name: a, key: b}}}]", "values from a ConfigMap or Secret are there in a cluster only; write value: TEXT: env[1].valueFrom"},
		{"http", able + never + "contract: {type: http}", ""},
		{"openwhisk", able + never + "contract: {type: openwhisk}", ""},
		{"azure", able + never + "contract: {type: azure, azure: {function: f}}", ""},
		{"cpu", able + never + "resources: {limits: {cpu: 2}}", `a virtual machine has exactly one processor in this release; write cpu: "1": resources.limits.cpu`},
		{"default isolation", "program: a\n" + never, ""},
		{"Ready", able + "snapshot: {mode: Ready, storage: Memory}", ""},
		{"Ready by default", able + "snapshot: {storage: Memory}", ""},
		{"Reset", "program: a\nisolation: Reset\nsnapshot: {storage: Memory}", ""},
		{"Ptrace", able + never + "platform: Ptrace", ""},
		{"KM", "program: a\nplatform: KM", ""},
		{"KM in full", "program: a\nplatform: KM\nisolation: Process\n" + never, ""},
		{"KM with another isolation", able + never + "platform: KM", "platform KM starts a process for each event; write isolation: Process: isolation"},
		{"KM with a snapshot", "program: a\nplatform: KM\nsnapshot: {mode: Ready}", "platform KM starts a process for each event; it has no snapshot, write snapshot: {mode: Never}: snapshot.mode"},
		{"KM with an image", "image: a\nplatform: KM", "platform KM runs a program with the files of the machine it is on; write program, or another platform: image"},
		{"KM with a root", "program: a\nroot: /\nplatform: KM", "platform KM runs a program with the files of the machine it is on; remove root: root"},
		{"default storage", able, ""},
		{"storage without a snapshot", able + "snapshot: {mode: Never, storage: Memory}", ""},
		{"warm-up", able + "snapshot: {storage: Memory, warmup: [{}]}", ""},
		{"egress", able + never + "egress: ['a:1']", ""},
		{"KM with egress", "program: a\nplatform: KM\nisolation: Process\n" + never + "egress: ['a:1']", "platform KM has no network; remove egress, or write another platform: egress"},
		{"pull secrets", able + never + "imagePullSecrets: [{name: a}]", "Secrets are there in a cluster only: here the credentials of docker login are used; remove imagePullSecrets: imagePullSecrets"},
		{"receiver", able + never + "receiver: Dedicated", "Dedicated is there in a cluster only; write receiver: Shared: receiver"},
		{"unknown values are for Validate", able + never + "platform: kvm\nreceiver: Mine", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var spec v1alpha1.KontainSinkSpec
			if err := yaml.UnmarshalStrict([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}
			spec.SetDefaults(t.Context())
			got := ""
			if err := Check(&spec); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("unexpected error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckInCluster(t *testing.T) {
	for _, tc := range []struct{ name, spec, want string }{
		{"dedicated", "image: a\nreceiver: Dedicated\nimagePullSecrets: [{name: a}]\nenv: [{name: B, valueFrom: {configMapKeyRef: {name: a, key: b}}}]", ""},
		{"cpu", "image: a\nresources: {limits: {cpu: 2}}", `a virtual machine has exactly one processor in this release; write cpu: "1": resources.limits.cpu`},
		{"KM", "image: a\nplatform: KM", "platform KM runs a program with the files of the machine it is on; write program, or another platform: image"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var spec v1alpha1.KontainSinkSpec
			if err := yaml.UnmarshalStrict([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}
			spec.SetDefaults(t.Context())
			got := ""
			if err := CheckInCluster(&spec); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("unexpected error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, row := range Table() {
		if row.Field == "" || row.Can == "" || seen[row.Field] || strings.HasPrefix(row.Field, "spec") {
			t.Errorf("row %+v: wants a path below spec, once, and what works", row)
		}
		seen[row.Field] = true
	}
}
