// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"knative.dev/pkg/configmap"
)

// DefaultConfigName is the name of the administrator's ConfigMap, in the system
// namespace, unless CONFIG_KONTAIN_NAME says otherwise.
const DefaultConfigName = "config-kontain"

// ConfigName returns the name of the administrator's ConfigMap.
func ConfigName() string {
	if name := os.Getenv("CONFIG_KONTAIN_NAME"); name != "" {
		return name
	}
	return DefaultConfigName
}

// Keys of the administrator's ConfigMap.
const (
	allowPtraceKey = "allow-ptrace"
	kvmAccessKey   = "kvm-access"
	kvmResourceKey = "kvm-resource"
)

// KVMAccess is how the pods of dedicated receivers get at /dev/kvm.
type KVMAccess string

const (
	// KVMNone: not at all.
	KVMNone KVMAccess = "none"
	// KVMDevicePlugin: by an extended resource of a device plugin.
	KVMDevicePlugin KVMAccess = "device-plugin"
	// KVMPrivileged: by a hostPath volume in a privileged container.
	KVMPrivileged KVMAccess = "privileged"
)

// DefaultKVMResource is the extended resource of KubeVirt's device plugin, which
// other device plugins for /dev/kvm offer too.
const DefaultKVMResource = "devices.kubevirt.io/kvm"

// Config is what the administrator decides.
type Config struct {
	// AllowPtrace lets sinks run where KVM is not to be had: their isolation is
	// then that of a process.
	AllowPtrace bool
	// KVMAccess is how dedicated receivers get at /dev/kvm. The shared receiver's
	// Deployment says so itself.
	KVMAccess KVMAccess
	// KVMResource is the extended resource that KVMDevicePlugin asks for.
	KVMResource string
}

// NewConfig returns the configuration of an absent ConfigMap.
func NewConfig() *Config {
	return &Config{KVMAccess: KVMNone, KVMResource: DefaultKVMResource}
}

// NewConfigFromConfigMap reads the administrator's ConfigMap. What is absent has
// its default; unknown keys and values are errors, since a misspelt key would
// otherwise be taken for the default in silence.
func NewConfigFromConfigMap(cm *corev1.ConfigMap) (*Config, error) {
	c := NewConfig()
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		value := strings.TrimSpace(cm.Data[key])
		switch key {
		case configmap.ExampleKey:
		case allowPtraceKey:
			switch value {
			case "enabled":
				c.AllowPtrace = true
			case "disabled":
			default:
				return nil, badValue(key, value, "enabled or disabled")
			}
		case kvmAccessKey:
			switch c.KVMAccess = KVMAccess(value); c.KVMAccess {
			case KVMNone, KVMDevicePlugin, KVMPrivileged:
			default:
				return nil, badValue(key, value, "none, device-plugin or privileged")
			}
		case kvmResourceKey:
			domain, _, qualified := strings.Cut(value, "/")
			if len(validation.IsQualifiedName(value)) > 0 || !qualified || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") {
				return nil, badValue(key, value, "the name of an extended resource, such as "+DefaultKVMResource)
			}
			c.KVMResource = value
		default:
			return nil, fmt.Errorf("unknown key %q; there are %s, %s and %s", key, allowPtraceKey, kvmAccessKey, kvmResourceKey)
		}
	}
	return c, nil
}

func badValue(key, value, allowed string) error {
	return fmt.Errorf("%s: %q is not valid; write %s", key, value, allowed)
}
