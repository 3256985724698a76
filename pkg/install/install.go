// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package install holds how Kontain Eventing is laid out in a cluster: the names
// that its parts find one another by, what a receiver is told by its environment,
// and the administrator's ConfigMap.
package install

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/eventing/pkg/apis/feature"
	o11yconfigmap "knative.dev/eventing/pkg/observability/configmap"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/kmeta"
	"knative.dev/pkg/logging"
)

// Names of objects.
const (
	// ReceiverName is the name of the shared receiver's Deployment, Service and
	// ServiceAccount, in the system namespace.
	ReceiverName = "kontain-receiver"
	// ReceiverTLSSecretName is the Secret, in the system namespace, with the
	// shared receiver's certificate: keys tls.crt, tls.key and ca.crt.
	ReceiverTLSSecretName = "kontain-receiver-server-tls"
	// SourceName is the name of the source adapter's Deployment and ServiceAccount, in
	// the system namespace.
	SourceName = "kontain-source"
	// DedicatedClusterRoleName is the ClusterRole of dedicated receivers, bound
	// in the namespace of their sink.
	DedicatedClusterRoleName = "kontain-receiver-dedicated"
)

// Labels of receivers: on Deployments, pods, Services and, copied from these by
// Kubernetes, on EndpointSlices.
const (
	// NameLabel is ReceiverName on all that belongs to a receiver.
	NameLabel = "app.kubernetes.io/name"
	// SinkLabel is the name of the sink that a dedicated receiver belongs to.
	SinkLabel = "sinks.kontain.dev/sink"
)

// ReceiverSelector selects what belongs to receivers, shared and dedicated.
const ReceiverSelector = NameLabel + "=" + ReceiverName

// SourceSelector selects what belongs to the source adapter.
const SourceSelector = NameLabel + "=" + SourceName

// SourceProbesPort is the port of the source adapter's container for probes.
const SourceProbesPort = 8081

// Ports of a receiver's container, and the names of the Service's ports that lead
// to them. The port of its status endpoint is in package sinkstatus.
const (
	HTTPPort    = 8080
	HTTPSPort   = 8443
	MetricsPort = 9090
)

// Variables that tell a receiver what it is.
const (
	// SinkEnv is NAMESPACE/NAME of the only sink of a dedicated receiver; unset
	// for the shared one.
	SinkEnv = "KONTAIN_SINK"
	// ConfigEnv holds, for a dedicated receiver, the ConfigMaps that the shared
	// one watches in the system namespace, which a dedicated one may not read.
	// ConfigWatcher reads it. The controller rolls the Deployment when one changes.
	ConfigEnv = "KONTAIN_CONFIG_MAPS"
	// SinkValueEnvPrefix and an index are the name of the variable with the value
	// of spec.env[index].valueFrom: the kubelet fills it, so that neither the
	// controller nor the receiver reads a Secret. An optional key that is absent
	// leaves the variable unset.
	SinkValueEnvPrefix = "KONTAIN_SINK_ENV_"
)

// Files of a dedicated receiver.
const (
	// PullSecretsDir holds a folder for each of the sink's imagePullSecrets, named
	// after it, with the file .dockerconfigjson.
	PullSecretsDir = "/var/run/kontain/pull-secrets" //nolint:gosec // A folder, and no secret.
	// TLSDir holds tls.crt and tls.key of a dedicated receiver, when the Secret
	// that DedicatedTLSSecretName names exists.
	TLSDir = "/var/run/kontain/tls"
)

// SinkValueEnv returns the name of the variable with the value of
// spec.env[index].valueFrom.
func SinkValueEnv(index int) string { return SinkValueEnvPrefix + strconv.Itoa(index) }

// DedicatedName returns the name of the Deployment, Service, ServiceAccount and
// RoleBinding of a sink's own receiver, at most 63 bytes.
func DedicatedName(sink string) string { return kmeta.ChildName(sink, "-"+ReceiverName) }

// DedicatedTLSSecretName returns the name of the Secret, in the namespace of the
// sink, with the certificate of its own receiver. It is the tenant's to make, by
// cert-manager for example.
func DedicatedTLSSecretName(sink string) string {
	return kmeta.ChildName(sink, "-"+ReceiverTLSSecretName)
}

// ConfigMaps returns the text of ConfigEnv for ConfigMaps of the system
// namespace. Equal ConfigMaps make equal texts.
func ConfigMaps(configs ...*corev1.ConfigMap) (string, error) {
	all := make(map[string]map[string]string, len(configs))
	for _, c := range configs {
		data := maps.Clone(c.Data)
		delete(data, configmap.ExampleKey) // It is documentation, and long.
		all[c.Name] = data
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", ConfigEnv, err)
	}
	return string(text), nil
}

// ConfigWatcher returns a watcher of the ConfigMaps in the text of ConfigEnv,
// which never change. Each that a receiver watches is there, if need be without
// data, which means its defaults.
func ConfigWatcher(namespace, text string) (*configmap.StaticWatcher, error) {
	var all map[string]map[string]string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", ConfigEnv, err)
	}
	var configs []*corev1.ConfigMap
	for _, name := range ReceiverConfigMaps() {
		configs = append(configs, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: all[name],
		})
	}
	return configmap.NewStaticWatcher(configs...), nil
}

// ReceiverConfigMaps returns the names of the ConfigMaps, in the system
// namespace, that receivers follow.
func ReceiverConfigMaps() []string {
	return []string{feature.FlagsConfigName, ConfigName(), logging.ConfigMapName(), o11yconfigmap.Name()}
}
