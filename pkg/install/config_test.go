// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"knative.dev/eventing/pkg/auth"
	"sigs.k8s.io/yaml"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
)

// installed returns the objects of config/ of the kinds that client-go knows, read
// strictly.
func installed(t *testing.T) []any {
	t.Helper()
	files, err := filepath.Glob("../../config/[0-9]*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var all []any
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
			doc, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			text, err := yaml.YAMLToJSON(doc)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if string(text) == "null" || bytes.Contains(text, []byte(`"kind":"CustomResourceDefinition"`)) {
				continue
			}
			object, kind, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if err := yaml.UnmarshalStrict(doc, object); err != nil {
				t.Errorf("%s: %s: %v", file, kind.Kind, err)
			}
			all = append(all, object)
		}
	}
	return all
}

// TestRoles holds every rule against a list: whoever widens one has to say so twice.
func TestRoles(t *testing.T) {
	want := map[string][]string{
		"ClusterRole kontain-controller": {
			"sinks.kontain.dev/kontainsinks: get list watch",
			"sinks.kontain.dev/kontainsinks/status: update",
			"sinks.kontain.dev/kontainsinks/finalizers: update",
			"sources.kontain.dev/kontainsources: get list watch",
			"sources.kontain.dev/kontainsources/status: update",
			"sources.kontain.dev/kontainsourcestates: list watch",
			"eventing.knative.dev/eventpolicies: list watch",
			"discovery.k8s.io/endpointslices: list watch",
			"apps/deployments: get list watch create update delete",
			"/services,serviceaccounts: get list watch create update delete",
			"rbac.authorization.k8s.io/rolebindings: get list watch create update delete",
			"rbac.authorization.k8s.io/clusterroles[kontain-receiver-dedicated]: bind",
			"/events: create patch",
		},
		"Role kontain-controller": {
			"/configmaps: get list watch",
			"/secrets[kontain-receiver-server-tls]: list watch",
			"coordination.k8s.io/leases: get create update",
		},
		"ClusterRole kontain-webhook": {
			"admissionregistration.k8s.io/mutatingwebhookconfigurations,validatingwebhookconfigurations: list watch",
			"admissionregistration.k8s.io/mutatingwebhookconfigurations[webhook.kontain.dev]: update",
			"admissionregistration.k8s.io/validatingwebhookconfigurations[validation.webhook.kontain.dev,config.webhook.kontain.dev]: update",
		},
		"Role kontain-webhook": {
			"/secrets[kontain-webhook-certs]: list watch update",
			"/configmaps: get list watch",
			"coordination.k8s.io/leases: get create update",
		},
		"ClusterRole kontain-receiver": {
			"sinks.kontain.dev/kontainsinks: list watch",
			"eventing.knative.dev/eventpolicies: list watch",
		},
		"Role kontain-receiver": {
			"/configmaps: get list watch",
			"/secrets[kontain-receiver-server-tls]: get list watch",
		},
		"ClusterRole kontain-receiver-dedicated": {
			"sinks.kontain.dev/kontainsinks: list watch",
			"eventing.knative.dev/eventpolicies: list watch",
		},
		"ClusterRole kontain-source": {
			"sources.kontain.dev/kontainsources: list watch",
			"sources.kontain.dev/kontainsourcestates: get create update",
			"/events: create patch",
			"/serviceaccounts/token: create", // the ValidatingAdmissionPolicy kontain-source-tokens narrows it
		},
		"Role kontain-source": {
			"/configmaps: get list watch",
			"coordination.k8s.io/leases: get create update",
		},
		"ClusterRole kontainsources-source-observer":    {"sources.kontain.dev/kontainsources: get list watch"},
		"ClusterRole kontainsinks-addressable-resolver": {"sinks.kontain.dev/kontainsinks,kontainsinks/status: get list watch"},
		"ClusterRole kontain-namespaced-edit":           {"sinks.kontain.dev/kontainsinks: get list watch create update patch delete deletecollection", "sources.kontain.dev/kontainsources: get list watch create update patch delete deletecollection"},
		"ClusterRole kontain-namespaced-view":           {"sinks.kontain.dev/kontainsinks,kontainsinks/status: get list watch", "sources.kontain.dev/kontainsources,kontainsources/status: get list watch"},
	}
	got := map[string][]string{}
	add := func(kind, name string, rules []rbacv1.PolicyRule) {
		for _, r := range rules {
			text := strings.Join(r.APIGroups, ",") + "/" + strings.Join(r.Resources, ",")
			if len(r.ResourceNames) > 0 {
				text += "[" + strings.Join(r.ResourceNames, ",") + "]"
			}
			got[kind+" "+name] = append(got[kind+" "+name], text+": "+strings.Join(r.Verbs, " "))
			if slices.Contains(r.Resources, "secrets") && len(r.ResourceNames) == 0 {
				t.Errorf("%s %s reads Secrets that it does not name", kind, name)
			}
		}
	}
	for _, object := range installed(t) {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			add("ClusterRole", o.Name, o.Rules)
		case *rbacv1.Role:
			add("Role", o.Name, o.Rules)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

func TestInstalled(t *testing.T) {
	var deployments []string
	for _, object := range installed(t) {
		switch o := object.(type) {
		case *corev1.ConfigMap:
			if c, err := NewConfigFromConfigMap(o); err != nil || c.AllowPtrace || c.KVMAccess != KVMNone || o.Name != DefaultConfigName {
				t.Errorf("%s: %+v, %v", o.Name, c, err)
			}
		case *appsv1.Deployment:
			deployments = append(deployments, o.Name)
			for k, v := range o.Spec.Selector.MatchLabels {
				if o.Spec.Template.Labels[k] != v {
					t.Errorf("%s: its pods lack the label %s=%s", o.Name, k, v)
				}
			}
			for _, c := range o.Spec.Template.Spec.Containers {
				s := c.SecurityContext
				if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
					s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") ||
					s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
					t.Errorf("%s/%s is not restricted", o.Name, c.Name)
				}
			}
		}
	}
	slices.Sort(deployments)
	if diff := cmp.Diff([]string{"kontain-controller", ReceiverName, SourceName, "kontain-webhook"}, deployments); diff != "" {
		t.Errorf("deployments (-want +got):\n%s", diff)
	}
}

// TestTokenPolicy holds the policy that narrows the source adapter's tokens against the
// names that Knative gives the service accounts of sources, however long these are.
func TestTokenPolicy(t *testing.T) {
	var names []*regexp.Regexp
	for _, object := range installed(t) {
		if p, ok := object.(*admissionregistrationv1.ValidatingAdmissionPolicy); ok {
			for _, m := range regexp.MustCompile(`name\.matches\('([^']*)'\)`).FindAllStringSubmatch(p.Spec.Validations[0].Expression, -1) {
				names = append(names, regexp.MustCompile(m[1]))
			}
		}
	}
	matches := func(name string) bool {
		return slices.ContainsFunc(names, func(r *regexp.Regexp) bool { return r.MatchString(name) })
	}
	for n := 1; n <= 63; n++ {
		name := auth.GetOIDCServiceAccountNameForResource(v1alpha1.SchemeGroupVersion.WithKind("KontainSource"), metav1.ObjectMeta{Name: strings.Repeat("x", n)})
		if !matches(name) {
			t.Errorf("a source with a name of %d bytes has no tokens, as %s", n, name)
		}
	}
	for _, name := range []string{"default", "kontain-controller", "eventing-controller"} {
		if matches(name) {
			t.Errorf("the adapter has tokens of %s", name)
		}
	}
}
