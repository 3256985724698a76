// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/injection"
	rtesting "knative.dev/pkg/reconciler/testing"
	"knative.dev/pkg/system"
	knwebhook "knative.dev/pkg/webhook"
	"sigs.k8s.io/yaml"

	_ "knative.dev/pkg/client/injection/kube/client/fake"
	_ "knative.dev/pkg/client/injection/kube/informers/admissionregistration/v1/mutatingwebhookconfiguration/fake"
	_ "knative.dev/pkg/client/injection/kube/informers/admissionregistration/v1/validatingwebhookconfiguration/fake"
	_ "knative.dev/pkg/injection/clients/namespacedkube/informers/core/v1/secret/fake"
)

// admission returns the webhook that new makes.
func admission(t *testing.T, newController injection.ControllerConstructor) knwebhook.AdmissionController {
	t.Helper()
	t.Setenv(system.NamespaceEnvKey, "knative-eventing")
	ctx, _ := rtesting.SetupFakeContext(t)
	ctx = knwebhook.WithOptions(ctx, knwebhook.Options{ServiceName: Name, Port: Port, SecretName: SecretName, DisableNamespaceOwnership: true})
	impl := newController(ctx, configmap.NewStaticWatcher())
	hook, ok := impl.Reconciler.(knwebhook.AdmissionController)
	if !ok {
		t.Fatalf("%T admits nothing", impl.Reconciler)
	}
	return hook
}

func object(t *testing.T, text string) runtime.RawExtension {
	t.Helper()
	if text == "" {
		return runtime.RawExtension{}
	}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: raw}
}

// sink is a manifest with the given spec, in YAML's flow style.
func sink(spec string) string {
	return fmt.Sprintf("{apiVersion: sinks.kontain.dev/v1alpha1, kind: KontainSink, metadata: {name: a, namespace: default}, spec: %s}", spec)
}

func request(t *testing.T, operation admissionv1.Operation, old, manifest string) *admissionv1.AdmissionRequest {
	t.Helper()
	return &admissionv1.AdmissionRequest{
		UID: "1", Operation: operation, Namespace: "default", Name: "a",
		Kind:   metav1.GroupVersionKind{Group: "sinks.kontain.dev", Version: "v1alpha1", Kind: "KontainSink"},
		Object: object(t, manifest), OldObject: object(t, old),
	}
}

// full is the spec after defaulting, to be completed with more fields.
const full = `image: a, contract: {type: stdio}, resources: {limits: {memory: 128Mi, cpu: "1"}}, timeout: 10s, concurrency: 16,
 queue: {length: 100, timeout: 5s}, isolation: Process, platform: Auto, snapshot: {mode: Ready, storage: Disk}, idleTimeout: 60s,
 imagePullPolicy: IfNotPresent`

func TestDefaulting(t *testing.T) {
	hook := admission(t, NewDefaulting)
	resp := hook.Admit(t.Context(), request(t, admissionv1.Create, "", sink("{image: a}")))
	if !resp.Allowed {
		t.Fatalf("refused: %v", resp.Result)
	}
	var patches []struct {
		Op, Path string
		Value    any
	}
	if err := json.Unmarshal(resp.Patch, &patches); err != nil {
		t.Fatalf("%v: %s", err, resp.Patch)
	}
	got := map[string]any{}
	for _, p := range patches {
		got[p.Path] = p.Value
	}
	for path, want := range map[string]string{
		"/spec/isolation": "Process", "/spec/timeout": "10s", "/spec/receiver": "Shared", "/spec/imagePullPolicy": "IfNotPresent",
	} {
		if got[path] != want {
			t.Errorf("%s is %v, want %s", path, got[path], want)
		}
	}
}

func TestValidation(t *testing.T) {
	hook := admission(t, NewValidation)
	for _, tc := range []struct {
		name, old, new string
		want           []string // parts of the message; empty means taken
	}{
		{"least", "", sink("{" + full + ", receiver: Shared}"), nil},
		{"program", "", sink("{program: ./a, receiver: Shared}"), []string{"program is for manifests read from a file; in a cluster write image: spec.program"}},
		{"all errors at once", "", sink("{image: 'A b', concurrency: 0, receiver: Mine}"), []string{"spec.image", "spec.concurrency", "spec.receiver", "spec.isolation"}},
		{
			"Secret", "", sink("{" + full + ", receiver: Shared, env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}"),
			[]string{"a Secret needs receiver: Dedicated; the shared receiver reads none: spec.env[0].valueFrom.secretKeyRef"},
		},
		{
			"ConfigMap", "", sink("{" + full + ", receiver: Shared, env: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: b}}}]}"),
			[]string{"receiver: Dedicated", "spec.env[0].valueFrom.configMapKeyRef"},
		},
		{"pull secret", "", sink("{" + full + ", receiver: Shared, imagePullSecrets: [{name: a}]}"), []string{"receiver: Dedicated", "spec.imagePullSecrets"}},
		{"egress", "", sink("{" + full + ", receiver: Shared, egress: ['a:1']}"), []string{"receiver: Dedicated", "spec.egress"}},
		{"dedicated", "", sink("{" + full + ", receiver: Dedicated, imagePullSecrets: [{name: a}], env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}"), nil},
		{"not in this release", "", sink("{" + strings.Replace(full, `cpu: "1"`, `cpu: "2"`, 1) + ", receiver: Shared}"), []string{"exactly one processor in this release", "spec.resources.limits.cpu"}},
		{"unknown field", "", sink("{" + full + ", receiver: Shared, imagee: a}"), []string{"imagee"}},
		{"update to nonsense", sink("{" + full + ", receiver: Shared}"), sink("{" + full + ", receiver: Mine}"), []string{"spec.receiver"}},
		{"what was taken once", sink("{" + strings.Replace(full, `cpu: "1"`, `cpu: "2"`, 1) + "}"), sink("{" + strings.Replace(full, `cpu: "1"`, `cpu: "2"`, 1) + "}"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			operation := admissionv1.Create
			if tc.old != "" {
				operation = admissionv1.Update
			}
			resp := hook.Admit(t.Context(), request(t, operation, tc.old, tc.new))
			if len(tc.want) == 0 {
				if !resp.Allowed {
					t.Errorf("refused: %s", resp.Result.Message)
				}
				return
			}
			if resp.Allowed {
				t.Fatal("taken")
			}
			for _, want := range tc.want {
				if !strings.Contains(resp.Result.Message, want) {
					t.Errorf("the message lacks %q:\n%s", want, resp.Result.Message)
				}
			}
		})
	}
}

// source is a manifest with the given spec, in YAML's flow style.
func source(spec string) string {
	return fmt.Sprintf("{apiVersion: sources.kontain.dev/v1alpha1, kind: KontainSource, metadata: {name: a, namespace: default}, spec: %s}", spec)
}

func sourceRequest(t *testing.T, manifest string) *admissionv1.AdmissionRequest {
	t.Helper()
	r := request(t, admissionv1.Create, "", manifest)
	r.Kind = metav1.GroupVersionKind{Group: "sources.kontain.dev", Version: "v1alpha1", Kind: "KontainSource"}
	return r
}

func TestSourceDefaulting(t *testing.T) {
	resp := admission(t, NewDefaulting).Admit(t.Context(), sourceRequest(t, source("{image: a, once: true, sink: {ref: {apiVersion: v1, kind: Service, name: x}}}")))
	if !resp.Allowed {
		t.Fatalf("refused: %v", resp.Result)
	}
	for _, want := range []string{`"/spec/isolation","value":"Process"`, `"/spec/sink/ref/namespace","value":"default"`} {
		if !strings.Contains(string(resp.Patch), want) {
			t.Errorf("the patch lacks %s: %s", want, resp.Patch)
		}
	}
}

func TestSourceValidation(t *testing.T) {
	hook := admission(t, NewValidation)
	const function = `image: a, contract: {type: stdio}, resources: {limits: {memory: 128Mi, cpu: "1"}}, timeout: 10s, isolation: Process, platform: Auto,
 snapshot: {mode: Ready, storage: Disk}, idleTimeout: 60s, imagePullPolicy: IfNotPresent, sink: {uri: "http://x.example"}`
	for _, tc := range []struct {
		name, spec string
		want       []string // parts of the message; empty means taken
	}{
		{"least", "{" + function + ", interval: 5s}", nil},
		{"all errors at once", `{` + function + `, schedule: "61 * * * *", interval: 1ms, timeZone: Mars/Base}`, []string{"spec.schedule", "spec.interval", "spec.timeZone"}},
		{"never", "{" + function + "}", []string{"got none", "spec.schedule"}},
		{"egress", "{" + function + ", once: true, egress: ['a:1']}", []string{"spec.egress", "not available to sources in a cluster"}},
		{"Secret", "{" + function + ", once: true, env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}", []string{"spec.env[0].valueFrom"}},
		{"state", "{" + function + ", once: true, state: {limit: 1Mi}}", []string{"spec.state.limit", "at most 128Ki"}},
		{"pull secret", "{" + function + ", once: true, imagePullSecrets: [{name: a}]}", []string{"spec.imagePullSecrets"}},
		{"program", "{" + strings.Replace(function, "image: a", "program: ./a", 1) + ", once: true}", []string{"in a cluster write image: spec.program"}},
		{"no sink", "{" + strings.Replace(function, `sink: {uri: "http://x.example"}`, "once: true", 1) + "}", []string{"spec.sink"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := hook.Admit(t.Context(), sourceRequest(t, source(tc.spec)))
			if len(tc.want) == 0 {
				if !resp.Allowed {
					t.Errorf("refused: %s", resp.Result.Message)
				}
				return
			}
			if resp.Allowed {
				t.Fatal("taken")
			}
			for _, want := range tc.want {
				if !strings.Contains(resp.Result.Message, want) {
					t.Errorf("the message lacks %q:\n%s", want, resp.Result.Message)
				}
			}
		})
	}
}

func TestDeletionAlwaysPasses(t *testing.T) {
	hook := admission(t, NewValidation)
	if resp := hook.Admit(t.Context(), request(t, admissionv1.Delete, sink("{program: ./a}"), "")); !resp.Allowed {
		t.Errorf("refused: %v", resp.Result)
	}
}

func TestStatusAlwaysPasses(t *testing.T) {
	hook := admission(t, NewValidation)
	req := request(t, admissionv1.Update, sink("{program: ./a}"), sink("{program: ./b}"))
	req.SubResource = "status"
	if resp := hook.Admit(t.Context(), req); !resp.Allowed {
		t.Errorf("refused: %v", resp.Result)
	}
}

func TestConfigValidation(t *testing.T) {
	hook := admission(t, NewConfigValidation)
	for name, tc := range map[string]struct {
		text, want string
	}{
		"ours":        {"{apiVersion: v1, kind: ConfigMap, metadata: {name: config-kontain, namespace: knative-eventing}, data: {allow-ptrace: enabled}}", ""},
		"misspelt":    {"{apiVersion: v1, kind: ConfigMap, metadata: {name: config-kontain, namespace: knative-eventing}, data: {allow-ptrace: \"yes\"}}", "write enabled or disabled"},
		"another one": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: config-features, namespace: knative-eventing}, data: {a: b}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp := hook.Admit(t.Context(), &admissionv1.AdmissionRequest{
				UID: "1", Operation: admissionv1.Update,
				Kind:   metav1.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
				Object: object(t, tc.text),
			})
			switch {
			case tc.want == "" && !resp.Allowed:
				t.Errorf("refused: %v", resp.Result)
			case tc.want != "" && (resp.Allowed || !strings.Contains(resp.Result.Message, tc.want)):
				t.Errorf("answered %+v, want %q", resp, tc.want)
			}
		})
	}
}
