// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package resources makes the objects of a dedicated receiver: what a sink with
// receiver: Dedicated owns in its namespace.
package resources

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"knative.dev/pkg/kmeta"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/sinkstatus"
)

// ManagedBy is the value of app.kubernetes.io/managed-by on what the controller
// makes.
const ManagedBy = "kontain-controller"

// TemplateAnnotation holds, on a Deployment, a digest of the pod template that the
// controller wanted.
const TemplateAnnotation = "sinks.kontain.dev/template"

const (
	containerName = "receiver"
	// gracePeriod is longer than the receiver's own drain.
	gracePeriod = 90
	cacheDir    = "/var/lib/kontain"
	// user is that of the images: mounted Secrets are readable to its group.
	user = 65532
	// receiverMemory is what a receiver needs besides its machines.
	receiverMemory = 512 << 20
)

// Settings are what the objects of all sinks have in common.
type Settings struct {
	// Image is the receiver's image.
	Image string
	// ConfigMaps is the text of install.ConfigEnv.
	ConfigMaps string
	// Config is what the administrator decided.
	Config *install.Config
}

// Labels returns the labels of all objects of a sink's receiver.
func Labels(sink *v1alpha1.KontainSink) map[string]string {
	labels := Selector(sink)
	labels["app.kubernetes.io/component"] = "receiver"
	labels["app.kubernetes.io/part-of"] = "kontain-eventing"
	labels["app.kubernetes.io/managed-by"] = ManagedBy
	return labels
}

// Selector returns the labels that tell the pods of a sink's receiver from all
// others.
func Selector(sink *v1alpha1.KontainSink) map[string]string {
	return map[string]string{install.NameLabel: install.ReceiverName, install.SinkLabel: sink.Name}
}

func meta(sink *v1alpha1.KontainSink) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       sink.Namespace,
		Name:            install.DedicatedName(sink.Name),
		Labels:          Labels(sink),
		OwnerReferences: []metav1.OwnerReference{*kmeta.NewControllerRef(sink)},
	}
}

// MakeServiceAccount makes the account of a sink's receiver.
func MakeServiceAccount(sink *v1alpha1.KontainSink) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: meta(sink)}
}

// MakeRoleBinding lets a sink's receiver read the sinks and event policies of its
// namespace, and nothing else.
func MakeRoleBinding(sink *v1alpha1.KontainSink) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: meta(sink),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: install.DedicatedClusterRoleName},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: sink.Namespace, Name: install.DedicatedName(sink.Name),
		}},
	}
}

// MakeService makes the Service that a sink's address leads to. The controller
// asks pods that are not ready too, so that it can say why they are not: it finds
// them in the EndpointSlices, where they are marked.
func MakeService(sink *v1alpha1.KontainSink) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: meta(sink),
		Spec: corev1.ServiceSpec{
			Selector: Selector(sink),
			Ports: []corev1.ServicePort{
				{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(install.HTTPPort)},
				{Name: "https", Protocol: corev1.ProtocolTCP, Port: 443, TargetPort: intstr.FromInt32(install.HTTPSPort)},
				{Name: sinkstatus.PortName, Protocol: corev1.ProtocolTCP, Port: sinkstatus.Port, TargetPort: intstr.FromInt32(sinkstatus.Port)},
				{Name: "http-metrics", Protocol: corev1.ProtocolTCP, Port: install.MetricsPort, TargetPort: intstr.FromInt32(install.MetricsPort)},
			},
		},
	}
}

// MakeDeployment makes the Deployment of a sink's receiver. The kubelet mounts
// what the sink takes from Secrets and ConfigMaps: neither the controller nor the
// receiver has the right to read them.
func MakeDeployment(sink *v1alpha1.KontainSink, s Settings) *appsv1.Deployment {
	labels := Labels(sink)
	volumes, mounts := volumes(sink)
	container := corev1.Container{
		Name:            containerName,
		Image:           s.Image,
		Env:             env(sink, s),
		VolumeMounts:    mounts,
		Resources:       resources(&sink.Spec),
		SecurityContext: securityContext(),
		Ports: []corev1.ContainerPort{
			{Name: "http", ContainerPort: install.HTTPPort, Protocol: corev1.ProtocolTCP},
			{Name: "https", ContainerPort: install.HTTPSPort, Protocol: corev1.ProtocolTCP},
			{Name: sinkstatus.PortName, ContainerPort: sinkstatus.Port, Protocol: corev1.ProtocolTCP},
			{Name: "metrics", ContainerPort: install.MetricsPort, Protocol: corev1.ProtocolTCP},
		},
		ReadinessProbe:           probe("/readyz", 2, 3),
		LivenessProbe:            probe("/healthz", 10, 6),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	pod := corev1.PodSpec{
		ServiceAccountName:            install.DedicatedName(sink.Name),
		SecurityContext:               &corev1.PodSecurityContext{FSGroup: ptr.To[int64](user)},
		EnableServiceLinks:            ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To[int64](gracePeriod),
		Containers:                    []corev1.Container{container},
		Volumes:                       volumes,
	}
	giveKVM(&pod, s.Config)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(labels)}, Spec: pod}
	object := meta(sink)
	object.Annotations = map[string]string{TemplateAnnotation: digest(template)}
	return &appsv1.Deployment{
		ObjectMeta: object,
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: Selector(sink)},
			// The pods that serve stay until those that take over are ready.
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: ptr.To(intstr.FromInt32(0)),
					MaxSurge:       ptr.To(intstr.FromInt32(1)),
				},
			},
			Template: template,
		},
	}
}

// digest tells templates apart. The API server fills templates in, so that they
// cannot be compared themselves.
func digest(template corev1.PodTemplateSpec) string {
	text, err := json.Marshal(template)
	if err != nil { // It has no field that JSON cannot hold.
		panic(fmt.Sprintf("resources: write pod template: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

func env(sink *v1alpha1.KontainSink, s Settings) []corev1.EnvVar {
	list := []corev1.EnvVar{
		{Name: system.NamespaceEnvKey, Value: system.Namespace()},
		{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
		{Name: install.SinkEnv, Value: sink.Namespace + "/" + sink.Name},
		{Name: install.ConfigEnv, Value: s.ConfigMaps},
		{Name: install.SinkValuesEnv, Value: install.SinkValues(sink.Spec.Env)},
		{Name: "HOME", Value: "/tmp"},
		{Name: "KONTAIN_IMAGE_DIR", Value: cacheDir + "/images"},
		{Name: "KONTAIN_SNAPSHOT_DIR", Value: cacheDir + "/snapshots"},
	}
	for i, e := range sink.Spec.Env {
		if e.ValueFrom == nil {
			continue
		}
		list = append(list, corev1.EnvVar{Name: install.SinkValueEnv(i), ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: e.ValueFrom.ConfigMapKeyRef, SecretKeyRef: e.ValueFrom.SecretKeyRef,
		}})
	}
	return list
}

func volumes(sink *v1alpha1.KontainSink) ([]corev1.Volume, []corev1.VolumeMount) {
	volumes := []corev1.Volume{
		{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: install.DedicatedTLSSecretName(sink.Name), DefaultMode: ptr.To[int32](0o440), Optional: ptr.To(true),
		}}},
	}
	mounts := []corev1.VolumeMount{
		{Name: "tmp", MountPath: "/tmp"},
		{Name: "cache", MountPath: cacheDir},
		{Name: "tls", MountPath: install.TLSDir, ReadOnly: true},
	}
	for i, secret := range sink.Spec.ImagePullSecrets {
		name := "pull-secret-" + strconv.Itoa(i)
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: secret.Name, DefaultMode: ptr.To[int32](0o440),
			// Without it the receiver starts too, and says that it is missing.
			Optional: ptr.To(true),
			Items:    []corev1.KeyToPath{{Key: corev1.DockerConfigJsonKey, Path: corev1.DockerConfigJsonKey}},
		}}})
		mounts = append(mounts, corev1.VolumeMount{Name: name, MountPath: install.PullSecretsDir + "/" + secret.Name, ReadOnly: true})
	}
	return volumes, mounts
}

// resources gives room to the machines that the sink may have at once.
func resources(spec *v1alpha1.KontainSinkSpec) corev1.ResourceRequirements {
	machine := resource.MustParse(v1alpha1.DefaultMemory)
	if m := spec.Resources.Limits.Memory; m != nil {
		machine = *m
	}
	machines := int64(v1alpha1.DefaultConcurrency)
	if spec.Concurrency != nil {
		machines = int64(*spec.Concurrency)
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("100m"),
			corev1.ResourceMemory: *resource.NewQuantity(receiverMemory/2+machine.Value(), resource.BinarySI),
		},
		Limits: corev1.ResourceList{
			corev1.ResourceMemory: *resource.NewQuantity(receiverMemory+machines*machine.Value(), resource.BinarySI),
		},
	}
}

// securityContext is that of the restricted pod security standard:
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func securityContext() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		RunAsNonRoot:             ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// giveKVM lets the first container of a pod open /dev/kvm, as the administrator
// decided.
func giveKVM(pod *corev1.PodSpec, config *install.Config) {
	c := &pod.Containers[0]
	switch config.KVMAccess {
	case install.KVMNone:
	case install.KVMDevicePlugin:
		name := corev1.ResourceName(config.KVMResource)
		c.Resources.Limits[name] = resource.MustParse("1")
		c.Resources.Requests[name] = resource.MustParse("1")
	case install.KVMPrivileged:
		c.SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true), RunAsUser: ptr.To[int64](0), ReadOnlyRootFilesystem: ptr.To(true)}
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "kvm", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: "/dev/kvm", Type: ptr.To(corev1.HostPathCharDev)},
		}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "kvm", MountPath: "/dev/kvm"})
	}
}

func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(sinkstatus.PortName), Scheme: corev1.URISchemeHTTP}},
		PeriodSeconds:    period,
		TimeoutSeconds:   2,
		SuccessThreshold: 1,
		FailureThreshold: failures,
	}
}
