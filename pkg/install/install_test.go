// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNewConfigFromConfigMap(t *testing.T) {
	for name, c := range map[string]struct {
		data map[string]string
		want *Config
		err  string
	}{
		"empty":          {nil, NewConfig(), ""},
		"example":        {map[string]string{"_example": "allow-ptrace: maybe"}, NewConfig(), ""},
		"ptrace":         {map[string]string{"allow-ptrace": "enabled"}, &Config{AllowPtrace: true, KVMAccess: KVMNone, KVMResource: DefaultKVMResource}, ""},
		"ptrace off":     {map[string]string{"allow-ptrace": "disabled"}, NewConfig(), ""},
		"device plugin":  {map[string]string{"kvm-access": "device-plugin", "kvm-resource": "squat.ai/kvm"}, &Config{KVMAccess: KVMDevicePlugin, KVMResource: "squat.ai/kvm"}, ""},
		"privileged":     {map[string]string{"kvm-access": " privileged\n"}, &Config{KVMAccess: KVMPrivileged, KVMResource: DefaultKVMResource}, ""},
		"ptrace wrong":   {map[string]string{"allow-ptrace": "true"}, nil, `allow-ptrace: "true" is not valid; write enabled or disabled`},
		"access wrong":   {map[string]string{"kvm-access": "yes"}, nil, "write none, device-plugin or privileged"},
		"resource wrong": {map[string]string{"kvm-resource": "kvm"}, nil, "the name of an extended resource"},
		"resource ours":  {map[string]string{"kvm-resource": "requests.kubernetes.io/kvm"}, nil, "the name of an extended resource"},
		"registries": {map[string]string{
			"insecure-registries": "10.0.0.1:5000\nregistry.local [::1]:5000", "registry-mirrors": "docker.io=mirror.local:5000/hub ghcr.io=mirror.local",
		}, &Config{
			KVMAccess: KVMNone, KVMResource: DefaultKVMResource,
			InsecureRegistries: []string{"10.0.0.1:5000", "registry.local", "[::1]:5000"},
			RegistryMirrors:    map[string]string{"docker.io": "mirror.local:5000/hub", "ghcr.io": "mirror.local"},
		}, ""},
		"registries none":  {map[string]string{"insecure-registries": "", "registry-mirrors": " ", "registry-ca": ""}, NewConfig(), ""},
		"registry a URL":   {map[string]string{"insecure-registries": "http://a"}, nil, `insecure-registries: "http://a" is not valid; write HOST or HOST:PORT`},
		"registry port":    {map[string]string{"insecure-registries": "a:b"}, nil, "write HOST or HOST:PORT"},
		"mirror of none":   {map[string]string{"registry-mirrors": "docker.io"}, nil, "write HOST=MIRROR"},
		"mirror a URL":     {map[string]string{"registry-mirrors": "docker.io=https://m"}, nil, "write HOST=MIRROR"},
		"authority not so": {map[string]string{"registry-ca": "certificate"}, nil, "no certificate in PEM form"},
		"unknown key":      {map[string]string{"allow_ptrace": "enabled"}, nil, `unknown key "allow_ptrace"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NewConfigFromConfigMap(&corev1.ConfigMap{Data: c.data})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigMapsTravel(t *testing.T) {
	text, err := ConfigMaps(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: DefaultConfigName}, Data: map[string]string{"allow-ptrace": "enabled", "_example": "long"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "config-features"}, Data: map[string]string{"transport-encryption": "strict"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := ConfigWatcher("knative-eventing", text)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]string{}
	for _, name := range ReceiverConfigMaps() {
		watcher.Watch(name, func(cm *corev1.ConfigMap) { got[cm.Name] = cm.Data })
	}
	want := map[string]map[string]string{
		DefaultConfigName: {"allow-ptrace": "enabled"}, "config-features": {"transport-encryption": "strict"},
		"config-logging": nil, "config-observability": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ConfigWatcher("knative-eventing", "{"); err == nil {
		t.Error("half an object was read")
	}
}

func TestDedicatedNames(t *testing.T) {
	seen := map[string]bool{}
	for _, sink := range []string{"a", strings.Repeat("a", 63), strings.Repeat("a", 62) + "b"} {
		for _, name := range []string{DedicatedName(sink), DedicatedTLSSecretName(sink)} {
			if msgs := validation.IsDNS1123Label(name); len(msgs) > 0 || seen[name] {
				t.Errorf("%s: %v", name, msgs)
			}
			seen[name] = true
		}
	}
	if got := DedicatedName("a"); got != "a-kontain-receiver" {
		t.Errorf("the receiver of a is named %s", got)
	}
}
