// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

// head starts a manifest; the spec's fields follow, from line 5 on.
const head = "apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nmetadata: {name: uppercase}\nspec:\n"

// able are the fields that this release needs besides program.
const able = "  isolation: VM\n  snapshot: {mode: Never}\n"

const minimal = head + "  program: ./uppercase\n" + able

func TestParse(t *testing.T) {
	sinks, err := Parse("dir/sink.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if len(sinks) != 1 {
		t.Fatalf("got %d sinks, want 1", len(sinks))
	}
	s := sinks[0]
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	type summary struct {
		Name, Namespace, File, Program, Root string
		Line                                 int
		Timeout                              time.Duration
		Memory                               string
	}
	got := summary{s.Name, s.Namespace, s.File, s.ProgramPath(), s.RootPath(), s.Line, s.Spec.Timeout.Duration, s.Spec.Resources.Limits.Memory.String()}
	want := summary{"uppercase", "default", "dir/sink.yaml", filepath.Join(wd, "dir/uppercase"), "", 1, 10 * time.Second, "128Mi"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected sink (-want +got):\n%s", diff)
	}
}

// TestParseAsKubernetes holds our decoder to the one that Kubernetes uses: what
// both accept means the same.
func TestParseAsKubernetes(t *testing.T) {
	const full = `
apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata:
  name: uppercase
  namespace: tools
  creationTimestamp: null
  labels: {app.kubernetes.io/name: uppercase, "on": "1"}
  annotations:
    note: |
      two
      lines
spec:
  program: bin/uppercase
  root: /
  args: [-v, "8080", 1.2.3, 2026-01-02]
  env:
  - name: A
    value: "yes"
  - {name: B, value: ""}
  - name: C
  contract: {type: stdio}
  resources:
    limits: {memory: 64Mi, cpu: 1}
  timeout: 1m30s
  concurrency: 0x10
  queue: {length: 0, timeout: 0s}
  isolation: VM
  platform: KVM
  snapshot: {mode: Never}
  idleTimeout: 60s
  egress: []
  reply:
    type: dev.example.upper
    source: /uppercase
    extensions: {tenant: "7"}
  imagePullPolicy: IfNotPresent
  imagePullSecrets:
  receiver: Shared
`
	asJSON, err := yaml.YAMLToJSON([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"yaml":    full,
		"json":    string(asJSON),
		"minimal": minimal,
		"anchors": "apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nmetadata: &m {name: &n uppercase, labels: {a: *n}}\nspec:\n  <<: {program: ./x}\n  isolation: VM\n  snapshot: {mode: Never}\n",
	} {
		t.Run(name, func(t *testing.T) {
			sinks, err := Parse("sink.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			var want v1alpha1.KontainSink
			if err := yaml.UnmarshalStrict([]byte(text), &want); err != nil {
				t.Fatal(err)
			}
			if want.Namespace == "" {
				want.Namespace = "default"
			}
			want.SetDefaults(t.Context())
			if diff := cmp.Diff(toJSON(t, &want), toJSON(t, sinks[0].KontainSink)); diff != "" {
				t.Errorf("unexpected sink (-want +got):\n%s", diff)
			}
		})
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseSeveral(t *testing.T) {
	named := func(name string) string {
		return strings.ReplaceAll(minimal, "uppercase}", name+"}")
	}
	item := "- " + strings.ReplaceAll(strings.TrimSuffix(named("c"), "\n"), "\n", "\n  ") + "\n"
	text := "# a comment only\n---\n" + named("a") + "---\n" + named("b, namespace: other") + "---\n---\n" +
		"apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n" + item +
		"---\napiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSinkList\nitems:\n" + strings.ReplaceAll(item, "name: c", "name: d")
	sinks, err := Parse("all.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sinks {
		got = append(got, fmt.Sprintf("%s/%s line %d", s.Namespace, s.Name, s.Line))
	}
	want := []string{"default/a line 3", "other/b line 11", "default/c line 24", "default/d line 35"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected sinks (-want +got):\n%s\n%s", diff, text)
	}
}

func TestParseErrors(t *testing.T) {
	program := head + "  program: ./uppercase\n"
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{
			"unknown field",
			program + able + "  isolaton: VM\n",
			[]string{
				`x.yaml:8:3: spec.isolaton: unknown field; did you mean "isolation"?`,
			},
		},
		{
			"unknown field in another case",
			program + able + "  Timeout: 1s\n",
			[]string{
				`x.yaml:8:3: spec.Timeout: unknown field; did you mean "timeout"?`,
			},
		},
		{
			"unknown field like no other",
			program + able + "  workingDirectory: /\n",
			[]string{
				`x.yaml:8:3: spec.workingDirectory: unknown field`,
			},
		},
		{
			"unknown nested field",
			program + able + "  resources:\n    limits: {memry: 64Mi}\n",
			[]string{
				`x.yaml:9:14: spec.resources.limits.memry: unknown field; did you mean "memory"?`,
			},
		},
		{
			"unknown field of a list item",
			program + able + "  env:\n  - name: A\n    vale: b\n",
			[]string{
				`x.yaml:10:5: spec.env[0].vale: unknown field; did you mean "value"?`,
			},
		},
		{
			"unknown field of metadata",
			"apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nmetadata: {nam: x}\nspec:\n  program: x\n" + able,
			[]string{
				`x.yaml:3:12: metadata.nam: unknown field; did you mean "name"?`,
			},
		},
		{
			"unknown top field",
			minimal + "data: 1\n",
			[]string{
				`x.yaml:8:1: data: unknown field`,
			},
		},
		{
			"given twice",
			program + able + "  isolation: VM\n",
			[]string{
				`x.yaml:8:3: spec.isolation: given twice; first on line 6`,
			},
		},
		{
			"given twice in flow",
			program + able + "  queue: {length: 1, length: 2}\n",
			[]string{
				`x.yaml:8:22: spec.queue.length: given twice; first on line 8`,
			},
		},
		{
			"wrong types",
			head + "  program: [x]\n  args: x\n  env: {A: b}\n  queue: 5\n  concurrency: many\n  timeout: 10\n  idleTimeout: soon\n  resources: {limits: {memory: 128 MB, cpu: [1]}}\n" + able,
			[]string{
				`x.yaml:5:12: spec.program: expected a string, found a list`,
				`x.yaml:6:9: spec.args: expected a list, found the string "x"`,
				`x.yaml:7:8: spec.env: expected a list, found a mapping`,
				`x.yaml:8:10: spec.queue: expected a mapping, found the number 5`,
				`x.yaml:9:16: spec.concurrency: expected a whole number, found the string "many"`,
				`x.yaml:10:12: spec.timeout: expected a duration such as 500ms, 10s or 2m, found the number 10`,
				`x.yaml:11:16: spec.idleTimeout: expected a duration such as 500ms, 10s or 2m, found "soon"`,
				`x.yaml:12:32: spec.resources.limits.memory: expected a quantity such as 128Mi or 500m, found "128 MB"`,
				`x.yaml:12:45: spec.resources.limits.cpu: expected a quantity such as 128Mi or 500m, found a list`,
			},
		},
		{
			"number for a string",
			program + able + "  env:\n  - name: PORT\n    value: 8080\n  args: [true, 1.5]\n",
			[]string{
				`x.yaml:10:12: spec.env[0].value: expected a string, found the number 8080; write "8080" in quotes`,
				`x.yaml:11:10: spec.args[0]: expected a string, found the boolean true; write "true" in quotes`,
				`x.yaml:11:16: spec.args[1]: expected a string, found the number 1.5; write "1.5" in quotes`,
			},
		},
		{
			"old booleans",
			program + able + "  args: [yes, n, Off, \"on\"]\n",
			[]string{
				`x.yaml:8:10: spec.args[0]: expected a string; put yes in quotes, Kubernetes takes it for a boolean`,
				`x.yaml:8:15: spec.args[1]: expected a string; put n in quotes, Kubernetes takes it for a boolean`,
				`x.yaml:8:18: spec.args[2]: expected a string; put Off in quotes, Kubernetes takes it for a boolean`,
			},
		},
		{
			"old boolean as a key",
			program + able + "  reply: {extensions: {on: a, 1: b}}\n",
			[]string{
				`x.yaml:8:24: spec.reply.extensions: expected a string as key; put the key in quotes`,
				`x.yaml:8:31: spec.reply.extensions: expected a string as key; put the key in quotes`,
			},
		},
		{
			"fractions and large numbers",
			program + able + "  concurrency: 1.5\n  queue: {length: 5000000000}\n",
			[]string{
				`x.yaml:8:16: spec.concurrency: expected a whole number, found the number 1.5`,
				`x.yaml:9:19: spec.queue.length: the number 5000000000 is out of range`,
			},
		},
		{
			"huge number",
			program + able + "  concurrency: 99999999999999999999999\n",
			[]string{
				`x.yaml:8:16: spec.concurrency: expected a whole number, found the number 99999999999999999999999`,
			},
		},
		{
			"enum",
			head + "  program: x\n  isolation: Fast\n  snapshot: {mode: Sometimes}\n  platform: kvm\n",
			[]string{
				`x.yaml:6:14: spec.isolation: invalid value: "Fast" — one of Process, VM, Reset`,
				`x.yaml:7:20: spec.snapshot.mode: invalid value: "Sometimes" — one of Ready, Never`,
				`x.yaml:8:13: spec.platform: invalid value: "kvm" — one of Auto, KVM, Ptrace, KM`,
			},
		},
		{
			"bounds",
			program + able + "  concurrency: 0\n  timeout: 0s\n  queue:\n    length: -1\n    timeout: 2h\n  resources: {limits: {memory: 1Mi}}\n",
			[]string{
				`x.yaml:8:16: spec.concurrency: invalid value: 0 — from 1 to 1000`,
				`x.yaml:9:12: spec.timeout: invalid value: 0s — more than 0s, at most 1h`,
				`x.yaml:11:13: spec.queue.length: invalid value: -1 — from 0 to 100000`,
				`x.yaml:12:14: spec.queue.timeout: invalid value: 2h — from 0s to 1h`,
				`x.yaml:13:32: spec.resources.limits.memory: invalid value: 1Mi — from 4Mi to 64Gi`,
			},
		},
		{
			"no program",
			head + able,
			[]string{
				`x.yaml:4:1: spec.program: expected exactly one of image and program, got neither`,
			},
		},
		{
			"empty spec",
			"apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nmetadata: {name: x}\n",
			[]string{
				`x.yaml:1:1: spec.program: expected exactly one of image and program, got neither`,
			},
		},
		{
			"empty spec on a line",
			strings.TrimSuffix(head, "\n") + " {}\n",
			[]string{
				`x.yaml:4:1: spec.program: expected exactly one of image and program, got neither`,
			},
		},
		{
			"image and program",
			program + "  image: example.com/x\n" + able,
			[]string{
				`x.yaml:5:12: spec.program: expected exactly one of image and program, got both`,
			},
		},
		{
			"not available",
			head + "  image: example.com/x:1\n  env:\n  - name: A\n    valueFrom: {configMapKeyRef: {name: a, key: b}}\n  contract: {type: http}\n  resources: {limits: {cpu: 500m}}\n  isolation: Process\n  platform: KM\n  snapshot:\n    storage: Disk\n    warmup:\n    - {specversion: \"1.0\", id: a, source: b, type: c}\n  idleTimeout: 5m\n  egress: [\"example.com:443\"]\n  imagePullSecrets: [{name: a}]\n  receiver: Dedicated\n",
			[]string{
				`x.yaml:5:10: spec.image: platform KM runs a program with the files of the machine it is on; write program, or another platform`,
				`x.yaml:8:5: spec.env[0].valueFrom: values from a ConfigMap or Secret are there in a cluster only; write value: TEXT`,
				`x.yaml:10:29: spec.resources.limits.cpu: a virtual machine has exactly one processor in this release; write cpu: "1"`,
				`x.yaml:12:13: spec.platform: KM takes events by contract stdio only`,
				`x.yaml:15:5: spec.snapshot.warmup: warmup goes with mode: Ready; without a snapshot nothing stays warm`,
				`x.yaml:18:3: spec.egress: platform KM has no network; remove egress, or write another platform`,
				`x.yaml:19:3: spec.imagePullSecrets: Secrets are there in a cluster only: here the credentials of docker login are used; remove imagePullSecrets`,
				`x.yaml:20:13: spec.receiver: Dedicated is there in a cluster only; write receiver: Shared`,
			},
		},
		{
			"command with program",
			program + able + "  command: [sh]\n  imagePullPolicy: Always\n",
			[]string{
				`x.yaml:8:3: spec.command: command goes with image; program already names the executable`,
				`x.yaml:9:20: spec.imagePullPolicy: imagePullPolicy goes with image; remove it`,
			},
		},
		{
			"typo hides nothing else",
			head + "  progam: x\n  isolation: Fast\n  concurrency: 5000\n  timeout: 1 s\n",
			[]string{
				`x.yaml:5:3: spec.progam: unknown field; did you mean "program"?`,
				`x.yaml:6:14: spec.isolation: invalid value: "Fast" — one of Process, VM, Reset`,
				`x.yaml:7:16: spec.concurrency: invalid value: 5000 — from 1 to 1000`,
				`x.yaml:8:12: spec.timeout: expected a duration such as 500ms, 10s or 2m, found "1 s"`,
			},
		},
		{
			"no name",
			"apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nspec:\n  program: x\n" + able,
			[]string{
				`x.yaml:1:1: metadata.name: missing field(s)`,
			},
		},
		{
			"bad name",
			strings.Replace(minimal, "uppercase}", "Upper_Case, namespace: a.b}", 1),
			[]string{
				`x.yaml:3:18: metadata.name: invalid value: "Upper_Case" — 1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit`,
				`x.yaml:3:41: metadata.namespace: invalid value: "a.b" — 1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit`,
			},
		},
		{
			"extension names",
			program + able + "  reply:\n    type: \"\"\n    extensions:\n      Tenant: a\n      a.b: c\n      id: d\n",
			[]string{
				`x.yaml:9:11: spec.reply.type: must not be empty; remove it or name a type`,
				`x.yaml:11:15: spec.reply.extensions[Tenant]: invalid value: "Tenant" — 1 to 20 lower-case letters and digits`,
				`x.yaml:12:12: spec.reply.extensions[a.b]: invalid value: "a.b" — 1 to 20 lower-case letters and digits`,
				`x.yaml:13:11: spec.reply.extensions[id]: id is an attribute of CloudEvents itself, not an extension`,
			},
		},
		{
			"duplicate environment",
			program + able + "  env:\n  - {name: A, value: x}\n  - {name: A, value: y}\n  - {name: 1A}\n",
			[]string{
				`x.yaml:10:12: spec.env[1].name: A is already set by env[0]`,
				`x.yaml:10:22: spec.env[1].value: expected a string; put y in quotes, Kubernetes takes it for a boolean`,
				`x.yaml:11:12: spec.env[2].name: invalid value: "1A" — letters, digits and underscores, not starting with a digit`,
			},
		},
		{
			"other kind",
			minimal + "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\n",
			[]string{
				`x.yaml:10:7: kind: "Service" of apiVersion "v1" is not read here, only KontainSink of apiVersion sinks.kontain.dev/v1alpha1`,
			},
		},
		{
			"other version",
			strings.Replace(minimal, "v1alpha1", "v1", 1),
			[]string{
				`x.yaml:2:7: kind: "KontainSink" of apiVersion "sinks.kontain.dev/v1" is not read here, only KontainSink of apiVersion sinks.kontain.dev/v1alpha1`,
			},
		},
		{
			"no kind",
			"metadata: {name: x}\n",
			[]string{
				`x.yaml:1:1: apiVersion: missing field; write apiVersion: sinks.kontain.dev/v1alpha1`,
				`x.yaml:1:1: kind: missing field; write kind: KontainSink`,
			},
		},
		{
			"kind of the wrong type",
			"apiVersion: 1\nkind: [x]\n",
			[]string{
				`x.yaml:1:13: apiVersion: expected a string, found the number 1`,
				`x.yaml:2:1: kind: expected a string, found a list`,
			},
		},
		{
			"not an object",
			"- a\n- b\n--- \nhello\n",
			[]string{
				`x.yaml:1:1: expected a mapping with apiVersion and kind, found a list`,
				`x.yaml:4:1: expected a mapping with apiVersion and kind, found the string "hello"`,
			},
		},
		{
			"list of the wrong type",
			"apiVersion: v1\nkind: List\nitems: {}\n",
			[]string{
				`x.yaml:3:8: items: expected a list, found a mapping`,
			},
		},
		{
			"wrong item of a list",
			"apiVersion: v1\nkind: List\nitems:\n- apiVersion: sinks.kontain.dev/v1alpha1\n  kind: KontainSink\n  metadata: {name: x}\n  spec: {program: x, isolation: VM, snapshot: {mode: never}}\n- 5\nextra: 1\n",
			[]string{
				`x.yaml:7:54: items[0].spec.snapshot.mode: invalid value: "never" — one of Ready, Never`,
				`x.yaml:8:3: items[1]: expected a mapping with apiVersion and kind, found the number 5`,
				`x.yaml:9:1: extra: unknown field`,
			},
		},
		{
			"status and server fields",
			strings.Replace(minimal, "uppercase}", "uppercase, uid: abc, generateName: x}", 1) + "status: {conditions: []}\n",
			[]string{
				`x.yaml:3:29: metadata.uid: has no meaning in a file; write name, namespace, labels and annotations only`,
				`x.yaml:3:39: metadata.generateName: has no meaning in a file; write name, namespace, labels and annotations only`,
				`x.yaml:8:1: status: only the controller writes the status; remove it`,
			},
		},
		{
			"same name twice",
			minimal + "---\n" + minimal,
			[]string{
				`x.yaml:11:18: metadata.name: the sink default/uppercase is already defined at x.yaml:3`,
			},
		},
		{
			"syntax",
			program + "  args: [a\n",
			[]string{
				`x.yaml:5: not YAML here or just below: did not find expected ',' or ']'`,
			},
		},
		{
			"tab",
			program + "\targs: []\n",
			[]string{
				`x.yaml:5: not YAML here or just below: found a tab character that violates indentation`,
			},
		},
		{
			"bytes that are not text",
			"a: \xff\xfe",
			[]string{
				`x.yaml: not YAML: invalid leading UTF-8 octet`,
			},
		},
		{
			"unknown anchor",
			program + "  args: *a\n",
			[]string{
				`x.yaml: not YAML: unknown anchor 'a' referenced`,
			},
		},
		{
			"custom tag",
			program + able + "  args: !secret [a]\n  env: [{name: A, value: !!binary aGk=}]\n",
			[]string{
				`x.yaml:8:9: spec.args: the tag "!secret" is not read here`,
				`x.yaml:9:26: spec.env[0].value: the tag "!!binary" is not read here`,
			},
		},
		{
			"flaws hide absence",
			head + "  program: !x y\n  isolation: Fast\n  concurrency: 99999999999999999999999\n",
			[]string{
				`x.yaml:5:12: spec.program: the tag "!x" is not read here`,
				`x.yaml:6:14: spec.isolation: invalid value: "Fast" — one of Process, VM, Reset`,
				`x.yaml:7:16: spec.concurrency: expected a whole number, found the number 99999999999999999999999`,
			},
		},
		{
			"alias to itself",
			program + able + "  args: &a [*a]\n",
			[]string{
				`x.yaml:8:13: nested more than 64 deep`,
			},
		},
		{
			"alias bomb",
			bomb(),
			[]string{
				`x.yaml:1:34: more than 100000 values once aliases are expanded`,
			},
		},
		{
			"deep",
			"a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
			[]string{
				`x.yaml:1:68: nested more than 64 deep`,
			},
		},
		{
			"merge of no mapping",
			head + "  <<: [a, {program: x}]\n" + able,
			[]string{
				`x.yaml:5:8: spec: << merges mappings only, found a string`,
			},
		},
		{
			"large",
			strings.Repeat("#", MaxFileBytes+1),
			[]string{
				fmt.Sprintf("x.yaml: larger than %d bytes", MaxFileBytes),
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sinks, err := Parse("x.yaml", []byte(tc.text))
			if sinks != nil {
				t.Errorf("got %d sinks beside the error", len(sinks))
			}
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got error %v, want Errors", err)
			}
			if diff := cmp.Diff(tc.want, strings.Split(errs.Error(), "\n")); diff != "" {
				t.Errorf("unexpected errors (-want +got):\n%s", diff)
			}
		})
	}
}

// bomb is a small file that unfolds to 10^9 values.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

func TestParseManyErrors(t *testing.T) {
	_, err := Parse("x.yaml", []byte(strings.Repeat("---\nkind: 5\n", 200)))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != maxErrors+1 {
		t.Fatalf("got %d errors, want %d and one that counts the rest", len(errs), maxErrors)
	}
	if got, want := errs[maxErrors].Error(), "x.yaml: 300 more errors are not shown"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseManySinks(t *testing.T) {
	var b strings.Builder
	for i := range MaxSinks + 5 {
		fmt.Fprintf(&b, "---\n%s", strings.ReplaceAll(minimal, "uppercase}", fmt.Sprintf("s%d}", i)))
	}
	_, err := Parse("x.yaml", []byte(b.String()))
	if want := fmt.Sprintf("x.yaml:%d:1: more than %d sinks", MaxSinks*8+2, MaxSinks); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestErrorsAreJSON(t *testing.T) {
	_, err := Parse("x.yaml", []byte(minimal+"  timeot: 1s\n"))
	text, jsonErr := json.Marshal(err)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	want := `[{"file":"x.yaml","line":8,"column":3,"field":"spec.timeot","message":"unknown field; did you mean \"timeout\"?"}]`
	if got := string(text); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var one Error
	if !errors.As(err, &one) || one.Line != 8 {
		t.Errorf("errors.As found %v, want the error on line 8", one)
	}
}

func TestLoadFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.yaml", strings.ReplaceAll(minimal, "uppercase}", "b}"))
	write(t, dir, "a.yml", strings.ReplaceAll(minimal, "uppercase}", "a}"))
	write(t, dir, "c.json", `{"apiVersion":"sinks.kontain.dev/v1alpha1","kind":"KontainSink","metadata":{"name":"c"},
	"spec":{"program":"/bin/c","root":"files","isolation":"VM","snapshot":{"mode":"Never"}}}`)
	write(t, dir, ".hidden.yaml", "not: read")
	write(t, dir, "README.md", "not read")
	write(t, dir, "empty.yaml", "# nothing yet\n")
	if err := os.MkdirAll(filepath.Join(dir, "below.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "below.yaml"), "x.yaml", "not: read")
	if err := os.Symlink("b.yaml", filepath.Join(dir, ".link")); err != nil {
		t.Fatal(err)
	}

	sinks, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sinks {
		got = append(got, strings.TrimSpace(s.Name+" "+s.ProgramPath()+" "+s.RootPath()))
	}
	want := []string{
		"a " + filepath.Join(dir, "uppercase"),
		"b " + filepath.Join(dir, "uppercase"),
		"c /bin/c " + filepath.Join(dir, "files"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected sinks (-want +got):\n%s", diff)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Run("several files", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "a.yaml", minimal)
		write(t, dir, "b.yaml", "\n\n"+minimal)
		write(t, dir, "c.yaml", "kind: Pod\napiVersion: v1\n")
		write(t, dir, "d.yaml", strings.Repeat(" ", MaxFileBytes+1))
		_, err := Load(dir)
		want := strings.ReplaceAll(strings.Join([]string{
			`DIR/b.yaml:5:18: metadata.name: the sink default/uppercase is already defined at DIR/a.yaml:3`,
			`DIR/c.yaml:1:7: kind: "Pod" of apiVersion "v1" is not read here, only KontainSink of apiVersion sinks.kontain.dev/v1alpha1`,
			fmt.Sprintf("DIR/d.yaml: larger than %d bytes", MaxFileBytes),
		}, "\n"), "DIR", dir)
		if err == nil || err.Error() != want {
			t.Errorf("unexpected error (-want +got):\n%s", cmp.Diff(want, fmt.Sprint(err)))
		}
	})
	t.Run("no sinks", func(t *testing.T) {
		dir := t.TempDir()
		if _, err := Load(dir); !errors.Is(err, ErrNoSinks) {
			t.Errorf("empty folder: got %v, want ErrNoSinks", err)
		}
		write(t, dir, "a.yaml", "---\n# nothing\n")
		if _, err := Load(filepath.Join(dir, "a.yaml")); !errors.Is(err, ErrNoSinks) {
			t.Errorf("empty file: got %v, want ErrNoSinks", err)
		}
	})
	t.Run("no file", func(t *testing.T) {
		if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("dangling link", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink("none", filepath.Join(dir, "a.yaml")); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("named pipe", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, "a.yaml"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("got %v, want: not a regular file", err)
		}
	})
	t.Run("too many files", func(t *testing.T) {
		dir := t.TempDir()
		for i := range MaxFiles + 1 {
			write(t, dir, fmt.Sprintf("%d.yaml", i), "")
		}
		want := fmt.Sprintf("%s: holds %d manifests, more than %d", dir, MaxFiles+1, MaxFiles)
		if _, err := Load(dir); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzParse holds Parse to: no crash; either sinks that are valid or errors
// with places inside the file.
func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add("apiVersion: v1\nkind: List\nitems:\n- {a: &b [1, *b]}\n")
	f.Add(head + "  <<: {program: x}\n  reply: {extensions: {a.b: c, on: d}}\n  timeout: 1e3\n  resources: {limits: {memory: 1e9}}\n")
	f.Add(head + "  snapshot: {warmup: [{a: .inf}, 1, [~]]}\n  env: [{valueFrom: {secretKeyRef: {name: x, optional: yes}}}]\n")
	f.Add(bomb())
	f.Fuzz(func(t *testing.T, text string) {
		sinks, err := Parse("x.yaml", []byte(text))
		if err == nil {
			ctx := v1alpha1.AllowProgram(t.Context())
			for _, s := range sinks {
				if err := s.Validate(ctx); err != nil {
					t.Errorf("a sink that is not valid was returned: %v", err)
				}
			}
			return
		}
		var errs Errors
		if !errors.As(err, &errs) {
			if !errors.Is(err, ErrNoSinks) {
				t.Errorf("got %T, want Errors or ErrNoSinks", err)
			}
			return
		}
		// YAML breaks lines at more characters than a line feed.
		lines := 2 + strings.Count(text, "\n") + strings.Count(text, "\r") + strings.Count(text, "\u0085") +
			strings.Count(text, "\u2028") + strings.Count(text, "\u2029")
		for _, e := range errs {
			if e.Message == "" || e.Line < 0 || e.Line > lines {
				t.Errorf("error %+v has no message, or no line of the file", e)
			}
		}
	})
}

// Sources are read as strictly as sinks, from files of their own.
func TestLoadSources(t *testing.T) {
	const head = "apiVersion: sources.kontain.dev/v1alpha1\nkind: KontainSource\nmetadata: {name: beat}\nspec:\n"
	for _, c := range []struct{ name, text, want string }{
		{"minimal", head + "  program: ./beat\n  interval: 5s\n", ""},
		{"all", head + "  program: ./beat\n  schedule: '0 30 2 * * *'\n  timeZone: Europe/Berlin\n  jitter: 1s\n  startingDeadline: 1m\n  suspend: true\n" +
			"  event: {type: t, source: /s}\n  sink: {uri: 'http://sink.example/x'}\n  ceOverrides: {extensions: {a: b}}\n" +
			"  delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT1S, deadLetterSink: {uri: 'http://dead.example'}}\n", ""},
		{"unknown field", head + "  program: ./beat\n  intervall: 5s\n", `source.yaml:6:3: spec.intervall: unknown field; did you mean "interval"?`},
		{"a field of sinks", head + "  program: ./beat\n  once: true\n  concurrency: 3\n", "source.yaml:7:3: spec.concurrency: unknown field"},
		{"no cron", head + "  program: ./beat\n  schedule: often\n", "source.yaml:6:13: spec.schedule: is no cron expression"},
		{"no URL", head + "  program: ./beat\n  once: true\n  sink: {uri: 'http://a b'}\n", "source.yaml:7:15: spec.sink.uri"},
		{"by reference", head + "  program: ./beat\n  once: true\n  sink: {ref: {apiVersion: v1, kind: Service, name: x}}\n", "source.yaml:7:10: spec.sink.ref: only a cluster knows"},
		{"a sink", minimal, "is not read here, only KontainSource of apiVersion sources.kontain.dev/v1alpha1"},
		{"none", "", "no KontainSource found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "source.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			sources, err := LoadSources(file)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := sources[0]
			f := s.Function()
			if s.Name != "beat" || s.Namespace != "default" || f.ProgramPath() != filepath.Join(filepath.Dir(file), "beat") || *f.Spec.Concurrency != 1 {
				t.Errorf("read %+v", s)
			}
		})
	}
}
