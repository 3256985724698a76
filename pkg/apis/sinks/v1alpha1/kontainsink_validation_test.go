// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"knative.dev/pkg/apis"

	"kontain.dev/eventing/pkg/egress/policy"
)

const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestValidate(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		name, spec string
		want       string // The whole error; empty means valid.
	}{
		{"program", "program: ./a", ""},
		{"program and root", "{program: /bin/sh, root: /}", ""},
		{"image", "image: a", ""},
		{"image with everything", "image: registry.example.com:5000/team/a-b/c_d:v1.2" + digest, ""},
		{"neither", "{}", "expected exactly one of image and program, got neither: spec.program"},
		{"both", "{image: a, program: a}", "expected exactly one of image and program, got both: spec.program"},
		{"bad image", "image: 'Example.com/A b'", "invalid value: \"Example.com/A b\": spec.image\nREGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST, of at most 512 bytes"},
		{"short digest", "image: a@sha256:00", "invalid value: \"a@sha256:00\": spec.image\nREGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST, of at most 512 bytes"},
		{"root and image", "{image: a, root: /}", "root goes with program; an image brings its own root file system: spec.root"},
		{"command and image", "{image: a, command: [b], args: [c]}", ""},
		{"command and program", "{program: a, command: [b]}", "command goes with image; program already names the executable: spec.command"},
		{"pull policy and program", "{program: a, imagePullPolicy: Never}", "imagePullPolicy goes with image; remove it: spec.imagePullPolicy"},
		{"pull secret and program", "{program: a, imagePullSecrets: [{name: a}]}", "imagePullSecrets goes with image; remove it: spec.imagePullSecrets"},
		{"long path", "program: " + long(4096), "invalid value: 4096 bytes: spec.program\nat most 4095"},
		{"NUL in an argument", `{program: a, args: [b, "c\0"]}`, "must not hold a NUL character: spec.args[1]"},
		{"long argument", "{program: a, args: [" + long(128<<10) + "]}", "invalid value: 131072 bytes: spec.args[0]\nat most 131071"},
		{"many arguments", "{program: a, args: [" + strings.Repeat("a,", 1001) + "]}", "invalid value: 1001 entries: spec.args\nat most 1000"},

		{"environment", "{program: a, env: [{name: A}, {name: _b1, value: 'c=d'}]}", ""},
		{"environment without a name", "{program: a, env: [{value: a}]}", "missing field(s): spec.env[0].name"},
		{"environment name", "{program: a, env: [{name: A-B}]}", "invalid value: \"A-B\": spec.env[0].name\nletters, digits and underscores, not starting with a digit"},
		{"environment twice", "{program: a, env: [{name: A}, {name: B}, {name: A}]}", "A is already set by env[0]: spec.env[2].name"},
		{"environment from two places", "{program: a, receiver: Dedicated, env: [{name: A, value: b, valueFrom: {configMapKeyRef: {name: a, key: b}}}]}", "expected at most one of value and valueFrom, got both: spec.env[0].valueFrom"},
		{"environment from nowhere", "{program: a, env: [{name: A, valueFrom: {}}]}", "expected exactly one of configMapKeyRef and secretKeyRef, got neither: spec.env[0].valueFrom"},
		{"environment from both", "{program: a, receiver: Dedicated, env: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: b}, secretKeyRef: {name: a, key: b}}}]}", "expected exactly one of configMapKeyRef and secretKeyRef, got both: spec.env[0].valueFrom"},
		{"environment from a ConfigMap", "{program: a, env: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: b}}}]}", "a ConfigMap needs receiver: Dedicated; the shared receiver reads none: spec.env[0].valueFrom.configMapKeyRef"},
		{"environment without a key", "{program: a, receiver: Dedicated, env: [{name: A, valueFrom: {configMapKeyRef: {name: a}}}]}", "missing field(s): spec.env[0].valueFrom.configMapKeyRef.key"},
		{"secret in the shared receiver", "{program: a, env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}", "a Secret needs receiver: Dedicated; the shared receiver reads none: spec.env[0].valueFrom.secretKeyRef"},
		{"secret in a dedicated receiver", "{program: a, receiver: Dedicated, env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}", ""},
		{"many variables", "{program: a, env: [" + strings.Repeat("{name: A},", 1001) + "]}", "invalid value: 1001 entries: spec.env\nat most 1000"},

		{"contract type", "{program: a, contract: {type: HTTP}}", "invalid value: \"HTTP\": spec.contract.type\none of stdio, http, lambda, openwhisk, azure"},
		{"contract part of another type", "{program: a, contract: {http: {port: 80}}}", "goes with type: http; the type is stdio: spec.contract.http"},
		{"http", "{program: a, contract: {type: http, http: {port: 65535, path: '/a?b=c', readiness: /ready}}}", ""},
		{"http port", "{program: a, contract: {type: http, http: {port: 65536}}}", "invalid value: 65536: spec.contract.http.port\nfrom 1 to 65535"},
		{"http path", "{program: a, contract: {type: http, http: {path: a}}}", "invalid value: \"a\": spec.contract.http.path\na path of a URL that starts with /, of at most 1024 bytes"},
		{"lambda payload", "{program: a, contract: {type: lambda, lambda: {payload: Both}}}", "invalid value: \"Both\": spec.contract.lambda.payload\none of Event, Data"},
		{"openwhisk", "{program: a, contract: {type: openwhisk, openwhisk: {code: /a.zip, binary: true, main: x.y}}}", ""},
		{"openwhisk without code", "{program: a, contract: {type: openwhisk, openwhisk: {binary: true}}}", "binary goes with code: spec.contract.openwhisk.binary"},
		{"openwhisk action loop", "{program: a, contract: {type: openwhisk, openwhisk: {protocol: ActionLoop, main: x}}}", "goes with protocol: HTTP; an ActionLoop program holds its code: spec.contract.openwhisk.main"},
		{"openwhisk payload", "{program: a, contract: {type: openwhisk, openwhisk: {payload: data}}}", "invalid value: \"data\": spec.contract.openwhisk.payload\none of Event, Data"},
		{"azure binding", "{program: a, contract: {type: azure, azure: {function: f, binding: a b}}}", "invalid value: \"a b\": spec.contract.azure.binding\na letter, then at most 126 letters, digits, hyphens and underscores"},
		{"azure", "{program: a, contract: {type: azure, azure: {function: upper-1}}}", ""},
		{"azure app", "{program: a, contract: {type: azure, azure: {function: f, app: /home/site/wwwroot}}}", ""},
		{"azure app that is relative", "{program: a, contract: {type: azure, azure: {function: f, app: site}}}", "invalid value: \"site\": spec.contract.azure.app\nan absolute path in the guest"},
		{"azure app and binding", "{program: a, contract: {type: azure, azure: {function: f, app: /, binding: b, enableForwardingHttpRequest: true}}}", "function.json of the app says it; remove binding, or app: spec.contract.azure.binding\nhost.json of the app says it; remove enableForwardingHttpRequest, or app: spec.contract.azure.enableForwardingHttpRequest"},
		{"port in the environment", "{program: a, env: [{name: PORT, value: '3000'}], contract: {type: http, http: {port: 3000}}}", ""},
		{"another port in the environment", "{program: a, env: [{name: A}, {name: PORT, value: '3000'}], contract: {type: http}}", "PORT is what contract.http.port says, which is 8080; write the port there, and remove this: spec.env[1].value"},
		{"port from elsewhere", "{program: a, receiver: Dedicated, env: [{name: PORT, valueFrom: {configMapKeyRef: {name: a, key: b}}}], contract: {type: http}}", "PORT is what contract.http.port says, which is 8080; write the port there, and remove this: spec.env[0].valueFrom"},
		{"PORT of another contract", "{program: a, env: [{name: PORT, value: '3000'}]}", ""},
		{"the API in the environment", "{program: a, env: [{name: AWS_LAMBDA_RUNTIME_API, value: a}], contract: {type: lambda}}", "contract lambda says where its API is; remove this: spec.env[0].value"},
		{"port of azure in the environment", "{program: a, env: [{name: FUNCTIONS_CUSTOMHANDLER_PORT, value: '80'}], contract: {type: azure, azure: {function: f}}}", "contract azure says which port that is; remove this: spec.env[0].value"},
		{"azure without a function", "{program: a, contract: {type: azure}}", "missing field(s): spec.contract.azure.function"},
		{"azure function", "{program: a, contract: {type: azure, azure: {function: ../x}}}", "invalid value: \"../x\": spec.contract.azure.function\na letter, then at most 126 letters, digits, hyphens and underscores"},

		{"least resources", "{program: a, resources: {limits: {memory: 4Mi, cpu: 10m}}}", ""},
		{"most resources", "{program: a, resources: {limits: {memory: 64Gi, cpu: 64}}}", ""},
		{"little memory", "{program: a, resources: {limits: {memory: 4M}}}", "invalid value: 4M: spec.resources.limits.memory\nfrom 4Mi to 64Gi"},
		{"much memory", "{program: a, resources: {limits: {memory: 65Gi}}}", "invalid value: 65Gi: spec.resources.limits.memory\nfrom 4Mi to 64Gi"},
		{"negative processor", "{program: a, resources: {limits: {cpu: -1}}}", "invalid value: -1: spec.resources.limits.cpu\nfrom 10m to 64"},

		{"bounds", "{program: a, timeout: 1h, concurrency: 1000, queue: {length: 100000, timeout: 1h}, idleTimeout: 24h}", ""},
		{"lower bounds", "{program: a, timeout: 1ns, concurrency: 1, queue: {length: 0, timeout: 0s}, idleTimeout: 0s}", ""},
		{"no time", "{program: a, timeout: 0s}", "invalid value: 0s: spec.timeout\nmore than 0s, at most 1h"},
		{"much time", "{program: a, timeout: 1h1s}", "invalid value: 1h0m1s: spec.timeout\nmore than 0s, at most 1h"},
		{"no concurrency", "{program: a, concurrency: 0}", "invalid value: 0: spec.concurrency\nfrom 1 to 1000"},
		{"much concurrency", "{program: a, concurrency: 1001}", "invalid value: 1001: spec.concurrency\nfrom 1 to 1000"},
		{"long queue", "{program: a, queue: {length: 100001}}", "invalid value: 100001: spec.queue.length\nfrom 0 to 100000"},
		{"negative queue time", "{program: a, queue: {timeout: -1s}}", "invalid value: -1s: spec.queue.timeout\nfrom 0s to 1h"},
		{"long idle time", "{program: a, idleTimeout: 25h}", "invalid value: 25h: spec.idleTimeout\nfrom 0s to 24h"},

		{"isolation", "{program: a, isolation: Fast}", "invalid value: \"Fast\": spec.isolation\none of Process, VM, Reset"},
		{"platform", "{program: a, platform: kvm}", "invalid value: \"kvm\": spec.platform\none of Auto, KVM, Ptrace, KM"},
		{"receiver", "{program: a, receiver: Mine}", "invalid value: \"Mine\": spec.receiver\none of Shared, Dedicated"},
		{"pull policy", "{image: a, imagePullPolicy: Sometimes}", "invalid value: \"Sometimes\": spec.imagePullPolicy\none of Always, IfNotPresent, Never"},
		{"snapshot", "{program: a, snapshot: {mode: Maybe, storage: Tape}}", "invalid value: \"Maybe\": spec.snapshot.mode\none of Ready, Never\ninvalid value: \"Tape\": spec.snapshot.storage\none of Disk, Memory"},
		{"reset without a snapshot", "{program: a, isolation: Reset, snapshot: {mode: Never}}", "Reset needs a snapshot to return to; write isolation: VM, or snapshot: {mode: Ready}: spec.isolation"},
		{"monitor with another contract", "{program: a, platform: KM, contract: {type: http}}", "KM takes events by contract stdio only: spec.platform"},

		{"warm-up", `{program: a, snapshot: {warmup: [{specversion: "1.0", id: a, source: b, type: c}]}}`, ""},
		{"warm-up without a snapshot", `{program: a, snapshot: {mode: Never, warmup: [{specversion: "1.0", id: a, source: b, type: c}]}}`, "warmup goes with mode: Ready; without a snapshot nothing stays warm: spec.snapshot.warmup"},
		{"warm-up that is no event", "{program: a, snapshot: {warmup: [5]}}", "expected a CloudEvent in structured-mode JSON: spec.snapshot.warmup[0]"},
		{"warm-up with parts missing", `{program: a, snapshot: {warmup: [{specversion: "0.3", id: 5, source: b}]}}`, "expected a string that is not empty: spec.snapshot.warmup[0].id\ninvalid value: \"0.3\": spec.snapshot.warmup[0].specversion\none of 1.0\nmissing field(s): spec.snapshot.warmup[0].type"},
		{"long warm-up", "{program: a, snapshot: {warmup: [" + long(65536) + "]}}", "invalid value: 65538 bytes: spec.snapshot.warmup[0]\nat most 65536"},
		{"many warm-ups", "{program: a, snapshot: {warmup: [" + strings.Repeat("{},", 17) + "]}}", "invalid value: 17 events: spec.snapshot.warmup\nat most 16"},

		{"egress", "{program: a, egress: ['a.example.com:443', '10.0.0.0/8:1', '[::1]:65535', '[fd00::/8]:80', '1.2.3.4:5', '*.example.com', '::1', 'a:80-90']}", ""},
		{"egress twice", "{program: a, receiver: Dedicated, egress: ['a:1', 'a:1']}", "a:1 is listed twice: spec.egress[1]"},
		{"egress to port 0", "{program: a, egress: ['a:0']}", "invalid value: \"a:0\": spec.egress[0]\n\"0\" is no port from 1 to 65535, and no range of two; it is to be " + policy.Form},

		{"reply", "{program: a, reply: {type: dev.example.a, source: 'urn:a:b', extensions: {tenant2: ''}}}", ""},
		{"empty type", "{program: a, reply: {type: ''}}", "must not be empty; remove it or name a type: spec.reply.type"},
		{"control character in a type", `{program: a, reply: {type: "a\nb"}}`, "invalid value: \"a\\nb\": spec.reply.type\ntext without control characters"},
		{"long type", "{program: a, reply: {type: " + long(1025) + "}}", "invalid value: 1025 bytes: spec.reply.type\nat most 1024"},
		{"empty source", "{program: a, reply: {source: ''}}", "invalid value: \"\": spec.reply.source\na URI reference such as /uppercase or https://example.com/uppercase"},
		{"source with a space", "{program: a, reply: {source: 'a b'}}", "invalid value: \"a b\": spec.reply.source\na URI reference such as /uppercase or https://example.com/uppercase"},
		{"source that is no URI", "{program: a, reply: {source: '%zz'}}", "invalid value: \"%zz\": spec.reply.source\na URI reference such as /uppercase or https://example.com/uppercase"},
		{"extension name", "{program: a, reply: {extensions: {aB: c}}}", "invalid value: \"aB\": spec.reply.extensions[aB]\n1 to 20 lower-case letters and digits"},
		{"long extension name", "{program: a, reply: {extensions: {" + long(21) + ": c}}}", "invalid value: \"xxxxxxxxxxxxxxxxxxxxx\": spec.reply.extensions[xxxxxxxxxxxxxxxxxxxxx]\n1 to 20 lower-case letters and digits"},
		{"extension that is an attribute", "{program: a, reply: {extensions: {subject: c}}}", "subject is an attribute of CloudEvents itself, not an extension: spec.reply.extensions[subject]"},

		{"pull secrets", "{image: a, receiver: Dedicated, imagePullSecrets: [{name: a.b}]}", ""},
		{"pull secrets in the shared receiver", "{image: a, imagePullSecrets: [{name: a}]}", "a pull secret needs receiver: Dedicated; the shared receiver reads no Secret: spec.imagePullSecrets"},
		{"pull secret without a name", "{image: a, receiver: Dedicated, imagePullSecrets: [{}]}", "missing field(s): spec.imagePullSecrets[0].name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := readSpec(t, tc.spec)
			s.SetDefaults(t.Context())
			got := ""
			if err := s.Validate(AllowProgram(t.Context())); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("unexpected error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateMetadata(t *testing.T) {
	const rule = "\n1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit"
	for _, tc := range []struct{ name, namespace, want string }{
		{"a-1", "", ""},
		{"a", "default", ""},
		{"", "", "missing field(s): metadata.name"},
		{"a.b", "", "invalid value: \"a.b\": metadata.name" + rule},
		{strings.Repeat("a", 64), "", fmt.Sprintf("invalid value: %q: metadata.name", strings.Repeat("a", 64)) + rule},
		{"a", "../b", "invalid value: \"../b\": metadata.namespace" + rule},
	} {
		t.Run(tc.namespace+"/"+tc.name, func(t *testing.T) {
			s := readSpec(t, "image: a")
			s.Name, s.Namespace = tc.name, tc.namespace
			s.SetDefaults(t.Context())
			got := ""
			if err := s.Validate(t.Context()); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("unexpected error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateInCluster(t *testing.T) {
	for _, tc := range []struct {
		name, spec string
		ctx        func(context.Context) context.Context
		want       string
	}{
		{"program", "program: a", apis.WithinCreate, "program is for manifests read from a file; in a cluster write image: spec.program"},
		{"nothing", "{}", apis.WithinCreate, "missing field(s): spec.image"},
		{"egress", "{image: a, receiver: Dedicated, egress: ['a:1']}", apis.WithinCreate, ""},
		{"egress in the shared receiver", "{image: a, egress: ['a:1']}", apis.WithinCreate, "egress needs receiver: Dedicated; the shared receiver opens no connection for a sink: spec.egress"},
		{"deleting", "{}", apis.WithinDelete, ""},
		{"status", "{}", func(ctx context.Context) context.Context {
			return apis.WithinSubResourceUpdate(ctx, &KontainSink{}, "status")
		}, ""},
		{"what an older release took", "program: a", func(ctx context.Context) context.Context {
			old := readSpec(t, "program: a")
			old.SetDefaults(ctx)
			return apis.WithinUpdate(ctx, old)
		}, ""},
		{"another spec", "program: a", func(ctx context.Context) context.Context {
			return apis.WithinUpdate(ctx, readSpec(t, "image: a"))
		}, "program is for manifests read from a file; in a cluster write image: spec.program"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := readSpec(t, tc.spec)
			s.SetDefaults(t.Context())
			got := ""
			if err := s.Validate(tc.ctx(t.Context())); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("unexpected error (-want +got):\n%s", diff)
			}
		})
	}
}
