// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
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
	insecureKey    = "insecure-registries"
	mirrorsKey     = "registry-mirrors"
	authorityKey   = "registry-ca"
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
	// InsecureRegistries are the registries, HOST or HOST:PORT, that receivers may
	// speak to by HTTP or without a check of their certificate.
	InsecureRegistries []string
	// RegistryMirrors are asked before the registries that they stand for: HOST to
	// MIRROR or MIRROR/PATH.
	RegistryMirrors map[string]string
	// RegistryCA are certificates of registries, in PEM, besides those of the public.
	RegistryCA string
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
		case insecureKey:
			for _, host := range strings.Fields(value) {
				if !isHost(host) {
					return nil, badValue(key, host, "HOST or HOST:PORT, with spaces between several")
				}
				c.InsecureRegistries = append(c.InsecureRegistries, host)
			}
		case mirrorsKey:
			for _, m := range strings.Fields(value) {
				host, mirror, ok := strings.Cut(m, "=")
				if at, _, _ := strings.Cut(mirror, "/"); !ok || !isHost(host) || !isHost(at) {
					return nil, badValue(key, m, "HOST=MIRROR or HOST=MIRROR/PATH, with spaces between several")
				}
				if c.RegistryMirrors == nil {
					c.RegistryMirrors = map[string]string{}
				}
				c.RegistryMirrors[host] = mirror
			}
		case authorityKey:
			if value != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(value)) {
				return nil, fmt.Errorf("%s: there is no certificate in PEM form", key)
			}
			c.RegistryCA = value
		default:
			return nil, fmt.Errorf("unknown key %q; there are %s, %s, %s, %s, %s and %s", key,
				allowPtraceKey, kvmAccessKey, kvmResourceKey, insecureKey, mirrorsKey, authorityKey)
		}
	}
	return c, nil
}

// isHost says whether s may be HOST or HOST:PORT; IPv6 addresses are in brackets.
func isHost(s string) bool {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return net.ParseIP(host) != nil || len(validation.IsDNS1123Subdomain(host)) == 0
}

func badValue(key, value, allowed string) error {
	return fmt.Errorf("%s: %q is not valid; write %s", key, value, allowed)
}
