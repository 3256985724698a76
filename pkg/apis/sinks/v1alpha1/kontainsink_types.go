// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/kmeta"
)

// +genclient
// +genreconciler
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=kontainsinks,categories={all,knative,eventing,sink}
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"duck.knative.dev/addressable=true","knative.dev/crd-install=true","app.kubernetes.io/name=kontain-eventing","app.kubernetes.io/part-of=kontain-eventing","app.kubernetes.io/version=devel"}
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.address.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`

// KontainSink is a destination of CloudEvents that runs a program in a virtual
// machine of its own for each event, and may answer with a reply event.
type KontainSink struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the author wants.
	Spec KontainSinkSpec `json:"spec,omitempty"`
	// Status is what the controller observed; only the controller writes it.
	// +optional
	Status KontainSinkStatus `json:"status,omitempty"`
}

var (
	_ apis.Defaultable   = (*KontainSink)(nil)
	_ apis.Validatable   = (*KontainSink)(nil)
	_ apis.HasSpec       = (*KontainSink)(nil)
	_ apis.Listable      = (*KontainSink)(nil)
	_ runtime.Object     = (*KontainSink)(nil)
	_ kmeta.OwnerRefable = (*KontainSink)(nil)
	_ duckv1.KRShaped    = (*KontainSink)(nil)
)

// FunctionSpec says which program runs in a virtual machine, and under which limits.
// It is what a sink and a source have in common.
//
// A field that is absent gets the value SetDefaults gives it. Fields whose
// zero value is a legal value are pointers, so that zero and absent differ.
type FunctionSpec struct {
	// Image is the container image that holds the program: a tag or, better, a
	// digest. oci:FOLDER[:TAG], docker-archive:FILE[:TAG] and dir:FOLDER name one
	// that is no registry's, in manifests of kontain serve; a relative path starts
	// at the folder of the manifest. Exactly one of Image and Program is set.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`

	// Program is the path of an executable file. A relative path starts at the
	// folder of the manifest. It is for manifests of kontain serve: in a cluster
	// there is no such folder, and it is refused.
	// +optional
	Program string `json:"program,omitempty"`

	// Root is the folder that the guest of a Program sees, read-only, as its
	// root file system, below an in-memory overlay. "/" shows this machine's
	// files. A relative path starts at the folder of the manifest. Absent means
	// that the guest sees the program alone.
	// +optional
	Root string `json:"root,omitempty"`

	// Command replaces the image's entrypoint, by the rules of Kubernetes.
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	// +listType=atomic
	Command []string `json:"command,omitempty"`

	// Args replaces the image's cmd, by the rules of Kubernetes; to a Program
	// they are the arguments after its name.
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	// +listType=atomic
	Args []string `json:"args,omitempty"`

	// Env is added to the environment of the program.
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	// +listType=map
	// +listMapKey=name
	Env []EnvVar `json:"env,omitempty"`

	// Contract is how the program takes an event and gives its answer.
	// +kubebuilder:default={}
	// +optional
	Contract Contract `json:"contract,omitempty"`

	// Resources bounds what one virtual machine may use.
	// +kubebuilder:default={}
	// +optional
	Resources Resources `json:"resources,omitempty"`

	// Timeout is the wall time that the guest has for one event.
	// More than 0, at most 1h.
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:Format=duration
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Isolation is what two events of this sink may share. Process gives each a
	// worker process and a virtual machine that never ran another; VM gives each
	// such a machine, in one worker process; Reset resets one machine to its
	// snapshot between events.
	// +kubebuilder:default=Process
	// +optional
	Isolation Isolation `json:"isolation,omitempty"`

	// Platform is what runs the guest's instructions: KVM; Ptrace, which isolates
	// as a process is; Auto, which is KVM or what the administrator allowed in its
	// place; or KM, an installed Kontain monitor.
	// +kubebuilder:default=Auto
	// +optional
	Platform Platform `json:"platform,omitempty"`

	// Snapshot is how a program's start is paid once instead of for each event.
	// +kubebuilder:default={}
	// +optional
	Snapshot Snapshot `json:"snapshot,omitempty"`

	// IdleTimeout is how long prepared virtual machines are kept after the last
	// event, from 0 to 24h.
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:Format=duration
	// +optional
	IdleTimeout *metav1.Duration `json:"idleTimeout,omitempty"`

	// Egress lists what the program may connect to by TCP: HOST, HOST:PORT or
	// HOST:FIRST-LAST, where HOST is a name, *. and a name for all below it, an address
	// or a network in CIDR notation. Without a port it is all. Empty means no network.
	// Private addresses are reached only where an address or network names them.
	// +kubebuilder:validation:MaxItems=100
	// +optional
	// +listType=set
	Egress []string `json:"egress,omitempty"`

	// ImagePullPolicy is when an image is fetched, by the rules of Kubernetes.
	// +kubebuilder:default=IfNotPresent
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// ImagePullSecrets names the Secrets, in the sink's namespace, that open the
	// image's registry.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	// +listType=map
	// +listMapKey=name
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
}

// KontainSinkSpec says which program a sink runs for each event, and how its answer
// becomes a reply.
type KontainSinkSpec struct {
	FunctionSpec `json:",inline"`

	// Concurrency is the number of events in virtual machines at once, from 1
	// to 1000.
	// +kubebuilder:default=16
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Concurrency *int32 `json:"concurrency,omitempty"`

	// Queue holds the events that wait for a virtual machine.
	// +kubebuilder:default={}
	// +optional
	Queue Queue `json:"queue,omitempty"`

	// Reply completes a reply event when the program's output is not one itself.
	// +optional
	Reply Reply `json:"reply,omitempty"`

	// Receiver is whose process takes the events of this sink: Shared is the
	// installation's, which reads no Secret of a tenant; Dedicated is one of the
	// sink's own, in its namespace, into which its Secrets are mounted.
	// +kubebuilder:default=Shared
	// +optional
	Receiver ReceiverMode `json:"receiver,omitempty"`
}

// EnvVar is one variable of the program's environment.
type EnvVar struct {
	// Name is a C identifier: letters, digits and underscores, no digit first.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Value is the variable's text, taken as it is: references such as $(NAME)
	// are not expanded.
	// +optional
	Value string `json:"value,omitempty"`
	// ValueFrom takes the text from a ConfigMap or Secret of the sink's
	// namespace instead.
	// +optional
	ValueFrom *EnvVarSource `json:"valueFrom,omitempty"`
}

// EnvVarSource says where the text of a variable comes from: exactly one field
// is set.
type EnvVarSource struct {
	// ConfigMapKeyRef is a key of a ConfigMap.
	// +optional
	ConfigMapKeyRef *corev1.ConfigMapKeySelector `json:"configMapKeyRef,omitempty"`
	// SecretKeyRef is a key of a Secret; it needs a Dedicated receiver.
	// +optional
	SecretKeyRef *corev1.SecretKeySelector `json:"secretKeyRef,omitempty"`
}

// ContractType names a way to hand an event to a program.
// +kubebuilder:validation:Enum=stdio;http;lambda;openwhisk;azure
type ContractType string

const (
	// ContractStdio gives the event on standard input and takes the reply from
	// standard output.
	ContractStdio ContractType = "stdio"
	// ContractHTTP posts the event to the program's HTTP server, as the Knative
	// Serving runtime contract describes it.
	ContractHTTP ContractType = "http"
	// ContractLambda serves the AWS Lambda Runtime API 2018-06-01 to the program.
	ContractLambda ContractType = "lambda"
	// ContractOpenWhisk calls the program as an Apache OpenWhisk action.
	ContractOpenWhisk ContractType = "openwhisk"
	// ContractAzure calls the program as an Azure Functions custom handler.
	ContractAzure ContractType = "azure"
)

// Contract is how a program takes an event. Only the field that Type names may
// be set.
type Contract struct {
	// Type is one of stdio, http, lambda, openwhisk, azure.
	// +kubebuilder:default=stdio
	// +optional
	Type ContractType `json:"type,omitempty"`
	// HTTP completes type http.
	// +optional
	HTTP *HTTPContract `json:"http,omitempty"`
	// Lambda completes type lambda.
	// +optional
	Lambda *LambdaContract `json:"lambda,omitempty"`
	// OpenWhisk completes type openwhisk.
	// +optional
	OpenWhisk *OpenWhiskContract `json:"openwhisk,omitempty"`
	// Azure completes type azure.
	// +optional
	Azure *AzureContract `json:"azure,omitempty"`
}

// HTTPMode is how an event is posted; see the CloudEvents HTTP protocol binding.
// +kubebuilder:validation:Enum=Binary;Structured
type HTTPMode string

const (
	// HTTPModeBinary has the attributes in headers and the data in the body.
	HTTPModeBinary HTTPMode = "Binary"
	// HTTPModeStructured has the whole event as JSON in the body.
	HTTPModeStructured HTTPMode = "Structured"
)

// HTTPContract describes the HTTP server in the program.
type HTTPContract struct {
	// Port is where the program listens; it is told by the variable PORT.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port *int32 `json:"port,omitempty"`
	// Path is where events are posted to.
	// +optional
	Path string `json:"path,omitempty"`
	// Readiness is the path that answers 2xx once the program is ready, such as
	// /health/readiness. Empty means that accepting a connection is enough.
	// +optional
	Readiness string `json:"readiness,omitempty"`
	// Mode is one of Binary, Structured.
	// +optional
	Mode HTTPMode `json:"mode,omitempty"`
	// AfterRestore is a path that is posted to, without a body, in each new copy of
	// the program before its event, so that it can renew what must not be the same
	// in two of them. It answers with 2xx.
	// +optional
	AfterRestore string `json:"afterRestore,omitempty"`
}

// LambdaPayload is what a Lambda function receives as its event.
// +kubebuilder:validation:Enum=Event;Data
type LambdaPayload string

const (
	// LambdaPayloadEvent is the whole CloudEvent, as structured-mode JSON.
	LambdaPayloadEvent LambdaPayload = "Event"
	// LambdaPayloadData is the event's data alone.
	LambdaPayloadData LambdaPayload = "Data"
)

// LambdaContract describes the AWS Lambda function in the program.
type LambdaContract struct {
	// Payload is one of Event, Data.
	// +optional
	Payload LambdaPayload `json:"payload,omitempty"`
}

// OpenWhiskProtocol is how an OpenWhisk action is spoken to.
// +kubebuilder:validation:Enum=HTTP;ActionLoop
type OpenWhiskProtocol string

const (
	// OpenWhiskHTTP is the HTTP server with /init and /run of OpenWhisk's
	// action interface.
	OpenWhiskHTTP OpenWhiskProtocol = "HTTP"
	// OpenWhiskActionLoop is one JSON line in on descriptor 0 and one out on
	// descriptor 3 for each event.
	OpenWhiskActionLoop OpenWhiskProtocol = "ActionLoop"
)

// OpenWhiskPayload is what an OpenWhisk action receives as its parameters.
// +kubebuilder:validation:Enum=Event;Data
type OpenWhiskPayload string

const (
	// OpenWhiskPayloadEvent is the whole CloudEvent, as structured-mode JSON.
	OpenWhiskPayloadEvent OpenWhiskPayload = "Event"
	// OpenWhiskPayloadData is the event's data alone, which must be a JSON object.
	OpenWhiskPayloadData OpenWhiskPayload = "Data"
)

// OpenWhiskContract describes the Apache OpenWhisk action in the program.
// Main, Code and Binary are the fields of the same names of the /init request
// and go with protocol HTTP.
type OpenWhiskContract struct {
	// Protocol is one of HTTP, ActionLoop.
	// +optional
	Protocol OpenWhiskProtocol `json:"protocol,omitempty"`
	// Main is the name of the function to call.
	// +optional
	Main string `json:"main,omitempty"`
	// Code is the path, in the guest, of the file that holds the action's code.
	// +optional
	Code string `json:"code,omitempty"`
	// Binary says that Code is sent in base64, as archives and executables are.
	// +optional
	Binary bool `json:"binary,omitempty"`
	// Payload is one of Event, Data.
	// +optional
	Payload OpenWhiskPayload `json:"payload,omitempty"`
}

// AzureContract describes the Azure Functions custom handler in the program.
type AzureContract struct {
	// Function is the name of the function, which is also the path it is called
	// at.
	// +kubebuilder:validation:MinLength=1
	Function string `json:"function"`
	// App is the absolute path, in the guest, of the folder of the function app, which
	// holds host.json and FUNCTION/function.json. They then say how the program of an
	// image is started, unless command does, and how the function is called: Binding and
	// EnableForwardingHTTPRequest are for functions without these files.
	// +kubebuilder:validation:MaxLength=4095
	// +optional
	App string `json:"app,omitempty"`
	// Binding is the name of the trigger's binding, as in function.json: the
	// function finds its event in Data under this name.
	// +optional
	Binding string `json:"binding,omitempty"`
	// EnableForwardingHTTPRequest hands over the HTTP request itself instead of
	// the invocation envelope; it is host.json's field of the same name.
	// +optional
	EnableForwardingHTTPRequest bool `json:"enableForwardingHttpRequest,omitempty"`
}

// Resources bounds what one virtual machine may use.
type Resources struct {
	// Limits are the upper bounds.
	// +kubebuilder:default={}
	// +optional
	Limits ResourceLimits `json:"limits,omitempty"`
}

// ResourceLimits are the upper bounds of one virtual machine.
type ResourceLimits struct {
	// Memory is all the memory of the guest, in bytes, files in its overlay
	// included. From 4Mi to 64Gi.
	// +kubebuilder:default="128Mi"
	// +optional
	Memory *resource.Quantity `json:"memory,omitempty"`
	// CPU is the share of processors. From 10m to 64.
	// +kubebuilder:default="1"
	// +optional
	CPU *resource.Quantity `json:"cpu,omitempty"`
}

// Queue holds the events that wait for a virtual machine.
type Queue struct {
	// Length is the number of events that may wait, from 0 (none) to 100000.
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	// +optional
	Length *int32 `json:"length,omitempty"`
	// Timeout is how long an event may wait, from 0 to 1h.
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:Format=duration
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Isolation is what two events of one sink may share.
// +kubebuilder:validation:Enum=Process;VM;Reset
type Isolation string

const (
	// IsolationProcess gives each event a worker process and a virtual machine
	// that never ran another.
	IsolationProcess Isolation = "Process"
	// IsolationVM gives each event a virtual machine that never ran another, in
	// the sink's long-lived worker process.
	IsolationVM Isolation = "VM"
	// IsolationReset resets one virtual machine to its snapshot between events.
	IsolationReset Isolation = "Reset"
)

// Platform is what runs the guest's instructions.
// +kubebuilder:validation:Enum=Auto;KVM;Ptrace;KM
type Platform string

const (
	// PlatformAuto is KVM, or what the administrator allowed in its place.
	PlatformAuto Platform = "Auto"
	// PlatformKVM is a virtual machine of the Linux kernel.
	PlatformKVM Platform = "KVM"
	// PlatformPtrace is a traced process: isolation is then that of a process.
	PlatformPtrace Platform = "Ptrace"
	// PlatformKM is an installed Kontain monitor; contract stdio only.
	PlatformKM Platform = "KM"
)

// SnapshotMode is when a snapshot is taken.
// +kubebuilder:validation:Enum=Ready;Never
type SnapshotMode string

const (
	// SnapshotReady takes one when the program waits for its first event.
	SnapshotReady SnapshotMode = "Ready"
	// SnapshotNever starts the program anew for each event.
	SnapshotNever SnapshotMode = "Never"
)

// SnapshotStorage is where a snapshot is kept.
// +kubebuilder:validation:Enum=Disk;Memory
type SnapshotStorage string

const (
	// SnapshotDisk keeps it in a file, so that it survives a restart.
	SnapshotDisk SnapshotStorage = "Disk"
	// SnapshotMemory never writes it to a file.
	SnapshotMemory SnapshotStorage = "Memory"
)

// Snapshot is how a program's start is paid once instead of for each event.
type Snapshot struct {
	// Mode is Ready, which takes a snapshot when the program waits for its first
	// event, or Never, which starts the program anew for each event.
	// +kubebuilder:default=Ready
	// +optional
	Mode SnapshotMode `json:"mode,omitempty"`
	// Storage is Disk, a file that survives a restart, or Memory, which is never
	// written to a file.
	// +kubebuilder:default=Disk
	// +optional
	Storage SnapshotStorage `json:"storage,omitempty"`
	// Warmup lists events, as structured-mode CloudEvents, that the program
	// handles before it is given others. They must be safe to run: their side
	// effects are real, their replies are dropped. A program of contract stdio
	// handles each in a machine that is thrown away, which shows what memory
	// events need; the program itself stays as it was.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:XPreserveUnknownFields
	// +optional
	// +listType=atomic
	Warmup []runtime.RawExtension `json:"warmup,omitempty"`
}

// Reply completes a reply event when the program's output is data alone.
type Reply struct {
	// Type is the type attribute of the reply.
	// +optional
	Type *string `json:"type,omitempty"`
	// Source is the source attribute of the reply, a URI reference.
	// +optional
	Source *string `json:"source,omitempty"`
	// Extensions are extension attributes of the reply.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Extensions map[string]string `json:"extensions,omitempty"`
}

// ReceiverMode is whose process takes the events of a sink.
// +kubebuilder:validation:Enum=Shared;Dedicated
type ReceiverMode string

const (
	// ReceiverShared is the installation's receiver, which reads no Secret of a
	// tenant.
	ReceiverShared ReceiverMode = "Shared"
	// ReceiverDedicated is a receiver of the sink's own, in its namespace.
	ReceiverDedicated ReceiverMode = "Dedicated"
)

// KontainSinkStatus is what the controller observed.
type KontainSinkStatus struct {
	duckv1.Status `json:",inline"`

	// AddressStatus holds address and addresses: where to send events.
	duckv1.AddressStatus `json:",inline"`

	// Policies are the EventPolicies that apply to the sink.
	// +optional
	Policies []AppliedEventPolicyRef `json:"policies,omitempty"`

	// ImageDigest is the image by digest, REPOSITORY@sha256:DIGEST, resolved once for
	// each generation. It is that of an older generation while the condition
	// ImageResolved is not True.
	// +optional
	ImageDigest string `json:"imageDigest,omitempty"`
}

// AppliedEventPolicyRef names an EventPolicy that applies to a sink. Its JSON
// is that of the type of the same name in Knative Eventing's duck/v1 package.
type AppliedEventPolicyRef struct {
	// APIVersion is the group and version of the EventPolicy.
	APIVersion string `json:"apiVersion"`
	// Name is the name of the EventPolicy.
	Name string `json:"name"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// KontainSinkList is a list of KontainSinks.
type KontainSinkList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// Items are the sinks.
	Items []KontainSink `json:"items"`
}

// GetGroupVersionKind returns the GroupVersionKind of KontainSink.
func (*KontainSink) GetGroupVersionKind() schema.GroupVersionKind {
	return SchemeGroupVersion.WithKind("KontainSink")
}

// GetUntypedSpec returns the spec.
func (s *KontainSink) GetUntypedSpec() any { return s.Spec }

// GetStatus returns the part of the status that all Knative kinds share.
func (s *KontainSink) GetStatus() *duckv1.Status { return &s.Status.Status }

// GetListType returns an empty list of this kind.
func (*KontainSink) GetListType() runtime.Object { return &KontainSinkList{} }
