// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"knative.dev/pkg/apis"

	"kontain.dev/eventing/pkg/egress/policy"
)

// Bounds that Validate holds fields to; all are inclusive.
const (
	MinMemory                   = "4Mi"
	MaxMemory                   = "64Gi"
	MinCPU                      = "10m"
	MaxCPU                      = "64"
	MaxTimeout                  = time.Hour
	MaxIdleTimeout              = 24 * time.Hour
	MaxConcurrency        int32 = 1000
	MaxQueueLength        int32 = 100_000
	MaxEnv                      = 1000
	MaxArgs                     = 1000
	MaxEgress                   = 100
	MaxWarmup                   = 16
	MaxWarmupBytes              = 64 << 10
	MaxExtensions               = 64
	MaxExtensionNameBytes       = 20
	MaxAttributeBytes           = 1024
	MaxPullSecrets              = 16
	MaxImageBytes               = 512
	// MaxPathBytes is Linux's PATH_MAX without the final NUL.
	MaxPathBytes = 4095
	// MaxStringBytes is Linux's MAX_ARG_STRLEN without the final NUL: the
	// longest argument, and the longest NAME=VALUE, that execve(2) takes.
	MaxStringBytes = 128<<10 - 1
)

type allowProgramKey struct{}

// AllowProgram returns a context in which Validate accepts spec.program. Only
// who reads a manifest from a file may use it: elsewhere the path would mean a
// file of the machine that Kontain Eventing itself runs on.
func AllowProgram(ctx context.Context) context.Context {
	return context.WithValue(ctx, allowProgramKey{}, true)
}

func programAllowed(ctx context.Context) bool {
	allowed, _ := ctx.Value(allowProgramKey{}).(bool)
	return allowed
}

// Validate returns what is wrong with a sink that went through SetDefaults, or
// nil. Deletions, changes of the status and updates that leave the spec alone are
// always right: a sink that a newer version would refuse must not be stuck.
func (s *KontainSink) Validate(ctx context.Context) *apis.FieldError {
	if apis.IsInDelete(ctx) || apis.IsInStatusUpdate(ctx) || s.SpecUnchanged(ctx) {
		return nil
	}
	errs := validateLabel(s.Name, "name").ViaField("metadata")
	if s.Namespace != "" {
		errs = errs.Also(validateLabel(s.Namespace, "namespace").ViaField("metadata"))
	}
	return errs.Also(s.Spec.Validate(ctx).ViaField("spec"))
}

// SpecUnchanged says whether ctx is that of an update to s which leaves the spec
// as it was.
func (s *KontainSink) SpecUnchanged(ctx context.Context) bool {
	if !apis.IsInUpdate(ctx) {
		return false
	}
	old, ok := apis.GetBaseline(ctx).(*KontainSink)
	return ok && old != nil && equality.Semantic.DeepEqual(old.Spec, s.Spec)
}

// Validate returns what is wrong with the spec, or nil.
func (s *KontainSinkSpec) Validate(ctx context.Context) *apis.FieldError {
	return s.FunctionSpec.Validate(ctx).Also(
		validateInt(s.Concurrency, 1, MaxConcurrency, "concurrency"),
		validateInt(s.Queue.Length, 0, MaxQueueLength, "length").ViaField("queue"),
		validateDuration(s.Queue.Timeout, MaxTimeout, "timeout").ViaField("queue"),
		s.Reply.Validate(ctx).ViaField("reply"),
		validateEnum(s.Receiver, "receiver", ReceiverShared, ReceiverDedicated),
		s.validateReceiver(ctx),
	)
}

// Validate returns what is wrong with the function, or nil.
func (s *FunctionSpec) Validate(ctx context.Context) *apis.FieldError {
	return s.validateProgram(ctx).Also(
		validateStrings(s.Command, MaxArgs, "command"),
		validateStrings(s.Args, MaxArgs, "args"),
		s.validateEnv(),
		s.Contract.Validate(ctx).ViaField("contract"),
		s.Resources.Limits.Validate(ctx).ViaField("resources", "limits"),
		validateTimeout(s.Timeout),
		validateEnum(s.Isolation, "isolation", IsolationProcess, IsolationVM, IsolationReset),
		validateEnum(s.Platform, "platform", PlatformAuto, PlatformKVM, PlatformPtrace, PlatformKM),
		s.Snapshot.Validate(ctx).ViaField("snapshot"),
		validateDuration(s.IdleTimeout, MaxIdleTimeout, "idleTimeout"),
		validateEgress(s.Egress),
		validateEnum(s.ImagePullPolicy, "imagePullPolicy", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever),
		validatePullSecrets(s.ImagePullSecrets),
		s.validateTogether(),
	)
}

// validateProgram checks the fields that say what runs.
func (s *FunctionSpec) validateProgram(ctx context.Context) *apis.FieldError {
	var errs *apis.FieldError
	switch {
	case s.Image == "" && s.Program == "":
		if programAllowed(ctx) {
			errs = errs.Also(apis.ErrGeneric("expected exactly one of image and program, got neither", "program"))
		} else {
			errs = errs.Also(apis.ErrMissingField("image"))
		}
	case s.Image != "" && s.Program != "":
		errs = errs.Also(apis.ErrGeneric("expected exactly one of image and program, got both", "program"))
	case s.Image != "":
		errs = errs.Also(validateImage(ctx, s.Image))
		if s.Root != "" {
			errs = errs.Also(apis.ErrGeneric("root goes with program; an image brings its own root file system", "root"))
		}
	}
	if s.Program == "" {
		if s.Root != "" && s.Image == "" {
			errs = errs.Also(apis.ErrGeneric("root goes with program", "root"))
		}
		return errs
	}
	if !programAllowed(ctx) {
		errs = errs.Also(apis.ErrGeneric("program is for manifests read from a file; in a cluster write image", "program"))
	}
	errs = errs.Also(validatePath(s.Program, "program"), validatePath(s.Root, "root"))
	if len(s.Command) > 0 {
		errs = errs.Also(apis.ErrGeneric("command goes with image; program already names the executable", "command"))
	}
	if s.Image == "" {
		if s.ImagePullPolicy != corev1.PullIfNotPresent && s.ImagePullPolicy != "" {
			errs = errs.Also(apis.ErrGeneric("imagePullPolicy goes with image; remove it", "imagePullPolicy"))
		}
		if len(s.ImagePullSecrets) > 0 {
			errs = errs.Also(apis.ErrGeneric("imagePullSecrets goes with image; remove it", "imagePullSecrets"))
		}
	}
	return errs
}

// validateTogether checks the fields that need or exclude another.
func (s *FunctionSpec) validateTogether() *apis.FieldError {
	var errs *apis.FieldError
	if s.Isolation == IsolationReset && s.Snapshot.Mode == SnapshotNever {
		errs = errs.Also(apis.ErrGeneric("Reset needs a snapshot to return to; write isolation: VM, or snapshot: {mode: Ready}", "isolation"))
	}
	if s.Platform == PlatformKM && s.Contract.Type != ContractStdio && s.Contract.Type != "" {
		errs = errs.Also(apis.ErrGeneric("KM takes events by contract stdio only", "platform"))
	}
	return errs.Also(s.validateTold())
}

// validateTold refuses variables by which contracts say where they meet the program,
// when they would say something else.
func (s *FunctionSpec) validateTold() *apis.FieldError {
	told := map[string]string{} // why a name cannot be set
	port := ""
	switch c := s.Contract; {
	case c.Type == ContractHTTP && c.HTTP != nil && c.HTTP.Port != nil:
		port = strconv.Itoa(int(*c.HTTP.Port))
		told["PORT"] = "PORT is what contract.http.port says, which is " + port + "; write the port there, and remove this"
	case c.Type == ContractLambda:
		told["AWS_LAMBDA_RUNTIME_API"] = "contract lambda says where its API is; remove this"
	case c.Type == ContractAzure:
		for _, name := range []string{"FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"} {
			told[name] = "contract azure says which port that is; remove this"
		}
	}
	var errs *apis.FieldError
	for i, e := range s.Env {
		switch why, is := told[e.Name]; {
		case !is:
		case e.ValueFrom != nil:
			errs = errs.Also(apis.ErrGeneric(why, "valueFrom").ViaFieldIndex("env", i))
		case port == "" || e.Value != port:
			errs = errs.Also(apis.ErrGeneric(why, "value").ViaFieldIndex("env", i))
		}
	}
	return errs
}

// validateReceiver checks the fields that need a receiver of the sink's own.
func (s *KontainSinkSpec) validateReceiver(ctx context.Context) *apis.FieldError {
	if s.Receiver == ReceiverDedicated {
		return nil
	}
	var errs *apis.FieldError
	const why = "needs receiver: Dedicated; the shared receiver "
	for i, e := range s.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			errs = errs.Also(apis.ErrGeneric("a Secret "+why+"reads none", "valueFrom.secretKeyRef").ViaFieldIndex("env", i))
		}
		if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
			errs = errs.Also(apis.ErrGeneric("a ConfigMap "+why+"reads none", "valueFrom.configMapKeyRef").ViaFieldIndex("env", i))
		}
	}
	if len(s.ImagePullSecrets) > 0 && s.Image != "" {
		errs = errs.Also(apis.ErrGeneric("a pull secret "+why+"reads no Secret", "imagePullSecrets"))
	}
	// A receiver that reads a file is one tenant's, whose machine it is on.
	if len(s.Egress) > 0 && !programAllowed(ctx) {
		errs = errs.Also(apis.ErrGeneric("egress "+why+"opens no connection for a sink", "egress"))
	}
	return errs
}

// envName is a C identifier: what every shell and libc takes as a name.
var envName = regexp.MustCompile("^[A-Za-z_][A-Za-z0-9_]*$")

func (s *FunctionSpec) validateEnv() *apis.FieldError {
	if len(s.Env) > MaxEnv {
		return invalid(strconv.Itoa(len(s.Env))+" entries", "env", "at most %d", MaxEnv)
	}
	var errs *apis.FieldError
	first := make(map[string]int, len(s.Env))
	for i, e := range s.Env {
		var err *apis.FieldError
		switch j, twice := first[e.Name]; {
		case e.Name == "":
			err = err.Also(apis.ErrMissingField("name"))
		case !envName.MatchString(e.Name):
			err = err.Also(invalid(strconv.Quote(e.Name), "name", "letters, digits and underscores, not starting with a digit"))
		case twice:
			err = err.Also(apis.ErrGeneric(fmt.Sprintf("%s is already set by env[%d]", e.Name, j), "name"))
		default:
			first[e.Name] = i
		}
		err = err.Also(validateText(e.Value, MaxStringBytes-len(e.Name)-len("="), "value"))
		if e.ValueFrom != nil {
			if e.Value != "" {
				err = err.Also(apis.ErrGeneric("expected at most one of value and valueFrom, got both", "valueFrom"))
			}
			err = err.Also(e.ValueFrom.validate().ViaField("valueFrom"))
		}
		errs = errs.Also(err.ViaFieldIndex("env", i))
	}
	return errs
}

func (v *EnvVarSource) validate() *apis.FieldError {
	switch c, s := v.ConfigMapKeyRef, v.SecretKeyRef; {
	case c == nil && s == nil:
		return apis.ErrGeneric("expected exactly one of configMapKeyRef and secretKeyRef, got neither", apis.CurrentField)
	case c != nil && s != nil:
		return apis.ErrGeneric("expected exactly one of configMapKeyRef and secretKeyRef, got both", apis.CurrentField)
	case c != nil:
		return validateKeyRef(c.Name, c.Key).ViaField("configMapKeyRef")
	default:
		return validateKeyRef(s.Name, s.Key).ViaField("secretKeyRef")
	}
}

func validateKeyRef(name, key string) *apis.FieldError {
	var errs *apis.FieldError
	if name == "" {
		errs = errs.Also(apis.ErrMissingField("name"))
	} else if msgs := validation.IsDNS1123Subdomain(name); len(msgs) > 0 {
		errs = errs.Also(invalid(strconv.Quote(name), "name", "%s", msgs[0]))
	}
	if key == "" {
		errs = errs.Also(apis.ErrMissingField("key"))
	} else if msgs := validation.IsConfigMapKey(key); len(msgs) > 0 {
		errs = errs.Also(invalid(strconv.Quote(key), "key", "%s", msgs[0]))
	}
	return errs
}

// Validate returns what is wrong with the contract, or nil.
func (c *Contract) Validate(context.Context) *apis.FieldError {
	errs := validateEnum(c.Type, "type", ContractStdio, ContractHTTP, ContractLambda, ContractOpenWhisk, ContractAzure)
	for _, part := range []struct {
		of  ContractType
		set bool
	}{
		{ContractHTTP, c.HTTP != nil},
		{ContractLambda, c.Lambda != nil},
		{ContractOpenWhisk, c.OpenWhisk != nil},
		{ContractAzure, c.Azure != nil},
	} {
		if part.set && part.of != c.Type {
			errs = errs.Also(apis.ErrGeneric(fmt.Sprintf("goes with type: %s; the type is %s", part.of, c.Type), string(part.of)))
		}
	}
	if c.HTTP != nil {
		errs = errs.Also(c.HTTP.validate().ViaField("http"))
	}
	if c.Lambda != nil {
		errs = errs.Also(validateEnum(c.Lambda.Payload, "payload", LambdaPayloadEvent, LambdaPayloadData).ViaField("lambda"))
	}
	if c.OpenWhisk != nil {
		errs = errs.Also(c.OpenWhisk.validate().ViaField("openwhisk"))
	}
	if c.Azure != nil {
		errs = errs.Also(c.Azure.validate().ViaField("azure"))
	} else if c.Type == ContractAzure {
		errs = errs.Also(apis.ErrMissingField("azure.function"))
	}
	return errs
}

func (h *HTTPContract) validate() *apis.FieldError {
	errs := validateInt(h.Port, 1, 65535, "port")
	if h.Mode != "" {
		errs = errs.Also(validateEnum(h.Mode, "mode", HTTPModeBinary, HTTPModeStructured))
	}
	for field, path := range map[string]string{"path": h.Path, "readiness": h.Readiness, "afterRestore": h.AfterRestore} {
		if path == "" {
			continue
		}
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || u.Host != "" || !uriText(path) || len(path) > MaxAttributeBytes {
			errs = errs.Also(invalid(strconv.Quote(path), field, "a path of a URL that starts with /, of at most %d bytes", MaxAttributeBytes))
		}
	}
	return errs
}

// jsIdentifier is a function's name, with dots as in module.function.
var jsIdentifier = regexp.MustCompile("^[A-Za-z_$][A-Za-z0-9_$.:-]{0,255}$")

func (o *OpenWhiskContract) validate() *apis.FieldError {
	errs := validateEnum(o.Protocol, "protocol", OpenWhiskHTTP, OpenWhiskActionLoop).Also(validatePath(o.Code, "code"))
	if o.Main != "" && !jsIdentifier.MatchString(o.Main) {
		errs = errs.Also(invalid(strconv.Quote(o.Main), "main", "the name of a function"))
	}
	if o.Payload != "" {
		errs = errs.Also(validateEnum(o.Payload, "payload", OpenWhiskPayloadEvent, OpenWhiskPayloadData))
	}
	if o.Binary && o.Code == "" {
		errs = errs.Also(apis.ErrGeneric("binary goes with code", "binary"))
	}
	if o.Protocol == OpenWhiskActionLoop {
		for _, part := range []struct {
			field string
			set   bool
		}{{"main", o.Main != ""}, {"code", o.Code != ""}, {"binary", o.Binary}} {
			if part.set {
				errs = errs.Also(apis.ErrGeneric("goes with protocol: HTTP; an ActionLoop program holds its code", part.field))
			}
		}
	}
	return errs
}

// azureFunction is what Azure Functions takes as the name of a function.
var azureFunction = regexp.MustCompile("^[A-Za-z][A-Za-z0-9_-]{0,126}$")

func (a *AzureContract) validate() *apis.FieldError {
	if a.Function == "" {
		return apis.ErrMissingField("function")
	}
	if !azureFunction.MatchString(a.Function) {
		return invalid(strconv.Quote(a.Function), "function", "a letter, then at most 126 letters, digits, hyphens and underscores")
	}
	if a.Binding != "" && !azureFunction.MatchString(a.Binding) {
		return invalid(strconv.Quote(a.Binding), "binding", "a letter, then at most 126 letters, digits, hyphens and underscores")
	}
	if a.App == "" {
		return nil
	}
	errs := validatePath(a.App, "app")
	if !path.IsAbs(a.App) {
		errs = errs.Also(invalid(strconv.Quote(a.App), "app", "an absolute path in the guest"))
	}
	if a.Binding != "" {
		errs = errs.Also(apis.ErrGeneric("function.json of the app says it; remove binding, or app", "binding"))
	}
	if a.EnableForwardingHTTPRequest {
		errs = errs.Also(apis.ErrGeneric("host.json of the app says it; remove enableForwardingHttpRequest, or app", "enableForwardingHttpRequest"))
	}
	return errs
}

// Validate returns what is wrong with the limits, or nil.
func (l *ResourceLimits) Validate(context.Context) *apis.FieldError {
	return validateQuantity(l.Memory, MinMemory, MaxMemory, "memory").Also(
		validateQuantity(l.CPU, MinCPU, MaxCPU, "cpu"))
}

// Validate returns what is wrong with the snapshot settings, or nil.
func (s *Snapshot) Validate(context.Context) *apis.FieldError {
	errs := validateEnum(s.Mode, "mode", SnapshotReady, SnapshotNever).Also(
		validateEnum(s.Storage, "storage", SnapshotDisk, SnapshotMemory))
	if len(s.Warmup) == 0 {
		return errs
	}
	if s.Mode == SnapshotNever {
		errs = errs.Also(apis.ErrGeneric("warmup goes with mode: Ready; without a snapshot nothing stays warm", "warmup"))
	}
	if len(s.Warmup) > MaxWarmup {
		return errs.Also(invalid(strconv.Itoa(len(s.Warmup))+" events", "warmup", "at most %d", MaxWarmup))
	}
	for i := range s.Warmup {
		errs = errs.Also(validateWarmup(&s.Warmup[i]).ViaFieldIndex("warmup", i))
	}
	return errs
}

// validateWarmup checks for what every CloudEvent must have; the data plane
// decodes the event in full.
func validateWarmup(raw *runtime.RawExtension) *apis.FieldError {
	if len(raw.Raw) > MaxWarmupBytes {
		return invalid(strconv.Itoa(len(raw.Raw))+" bytes", apis.CurrentField, "at most %d", MaxWarmupBytes)
	}
	var event map[string]json.RawMessage
	if err := json.Unmarshal(raw.Raw, &event); err != nil {
		return apis.ErrGeneric("expected a CloudEvent in structured-mode JSON", apis.CurrentField)
	}
	var errs *apis.FieldError
	for _, name := range []string{"specversion", "id", "source", "type"} {
		var value string
		if _, ok := event[name]; !ok {
			errs = errs.Also(apis.ErrMissingField(name))
		} else if err := json.Unmarshal(event[name], &value); err != nil || value == "" {
			errs = errs.Also(apis.ErrGeneric("expected a string that is not empty", name))
		} else if name == "specversion" && value != "1.0" {
			errs = errs.Also(invalid(strconv.Quote(value), name, "one of 1.0"))
		}
	}
	return errs
}

func validateEgress(egress []string) *apis.FieldError {
	if len(egress) > MaxEgress {
		return invalid(strconv.Itoa(len(egress))+" entries", "egress", "at most %d", MaxEgress)
	}
	var errs *apis.FieldError
	for i, e := range egress {
		if reason := policy.Check(e); reason != "" {
			errs = errs.Also(invalid(strconv.Quote(e), apis.CurrentField, "%s; it is to be %s", reason, policy.Form).ViaFieldIndex("egress", i))
		} else if slices.Contains(egress[:i], e) {
			errs = errs.Also(apis.ErrGeneric(fmt.Sprintf("%s is listed twice", e), apis.CurrentField).ViaFieldIndex("egress", i))
		}
	}
	return errs
}

var (
	extensionName = regexp.MustCompile("^[a-z0-9]{1,20}$")

	// The context attributes of CloudEvents 1.0 and the member for its data:
	// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#context-attributes
	coreAttributes = []string{
		"id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time", "data",
	}
)

// Validate returns what is wrong with the reply settings, or nil.
func (r *Reply) Validate(context.Context) *apis.FieldError {
	var errs *apis.FieldError
	if r.Type != nil {
		if *r.Type == "" {
			errs = errs.Also(apis.ErrGeneric("must not be empty; remove it or name a type", "type"))
		}
		errs = errs.Also(validateAttribute(*r.Type, "type"))
	}
	if r.Source != nil {
		if _, err := url.Parse(*r.Source); err != nil || *r.Source == "" || !uriText(*r.Source) {
			errs = errs.Also(invalid(strconv.Quote(*r.Source), "source", "a URI reference such as /uppercase or https://example.com/uppercase"))
		}
		errs = errs.Also(validateAttribute(*r.Source, "source"))
	}
	if len(r.Extensions) > MaxExtensions {
		return errs.Also(invalid(strconv.Itoa(len(r.Extensions))+" entries", "extensions", "at most %d", MaxExtensions))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Extensions)) {
		switch {
		case !extensionName.MatchString(name):
			errs = errs.Also(invalid(strconv.Quote(name), apis.CurrentField,
				"1 to %d lower-case letters and digits", MaxExtensionNameBytes).ViaFieldKey("extensions", name))
		case slices.Contains(coreAttributes, name):
			errs = errs.Also(apis.ErrGeneric(name+" is an attribute of CloudEvents itself, not an extension", apis.CurrentField).ViaFieldKey("extensions", name))
		default:
			errs = errs.Also(validateAttribute(r.Extensions[name], apis.CurrentField).ViaFieldKey("extensions", name))
		}
	}
	return errs
}

// validateAttribute holds a value to the type String of CloudEvents:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system
func validateAttribute(value, field string) *apis.FieldError {
	if len(value) > MaxAttributeBytes {
		return invalid(strconv.Itoa(len(value))+" bytes", field, "at most %d", MaxAttributeBytes)
	}
	for _, r := range value {
		if r == utf8.RuneError || unicode.IsControl(r) || r&0xfffe == 0xfffe || (r >= 0xfdd0 && r <= 0xfdef) {
			return invalid(strconv.Quote(value), field, "text without control characters")
		}
	}
	return nil
}

func validatePullSecrets(secrets []corev1.LocalObjectReference) *apis.FieldError {
	if len(secrets) > MaxPullSecrets {
		return invalid(strconv.Itoa(len(secrets))+" entries", "imagePullSecrets", "at most %d", MaxPullSecrets)
	}
	var errs *apis.FieldError
	for i, s := range secrets {
		if s.Name == "" {
			errs = errs.Also(apis.ErrMissingField("name").ViaFieldIndex("imagePullSecrets", i))
		} else if msgs := validation.IsDNS1123Subdomain(s.Name); len(msgs) > 0 {
			errs = errs.Also(invalid(strconv.Quote(s.Name), "name", "%s", msgs[0]).ViaFieldIndex("imagePullSecrets", i))
		}
	}
	return errs
}

// imageReference is the shape of a reference, registry and digest optional:
// https://github.com/distribution/reference
var imageReference = regexp.MustCompile("^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$")

// ImagePathPrefixes begin images that are files of this machine: an OCI layout,
// an archive of docker save, a folder. As Program does, they need AllowProgram.
var ImagePathPrefixes = []string{"oci:", "docker-archive:", "dir:"}

func validateImage(ctx context.Context, image string) *apis.FieldError {
	for _, prefix := range ImagePathPrefixes {
		path, ok := strings.CutPrefix(image, prefix)
		switch {
		case !ok:
			continue
		case !programAllowed(ctx):
			return apis.ErrGeneric(prefix+" is for manifests read from a file; in a cluster write an image of a registry", "image")
		case path == "":
			return invalid(strconv.Quote(image), "image", "a path after %s", prefix)
		}
		return validatePath(path, "image")
	}
	if len(image) > MaxImageBytes || !imageReference.MatchString(image) {
		return invalid(strconv.Quote(image), "image", "REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST, of at most %d bytes", MaxImageBytes)
	}
	return nil
}

// invalid is the error of a value that is not allowed, with what is.
func invalid(value, field, allowed string, args ...any) *apis.FieldError {
	return &apis.FieldError{
		Message: "invalid value: " + value,
		Paths:   []string{field},
		Details: fmt.Sprintf(allowed, args...),
	}
}

func validateLabel(value, field string) *apis.FieldError {
	if value == "" {
		return apis.ErrMissingField(field)
	}
	if len(validation.IsDNS1123Label(value)) > 0 {
		return invalid(strconv.Quote(value), field, "1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit")
	}
	return nil
}

func validateEnum[T ~string](value T, field string, allowed ...T) *apis.FieldError {
	if slices.Contains(allowed, value) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	return invalid(strconv.Quote(string(value)), field, "one of %s", strings.Join(names, ", "))
}

func validateInt(value *int32, lowest, highest int32, field string) *apis.FieldError {
	if value == nil || (*value >= lowest && *value <= highest) {
		return nil
	}
	return invalid(strconv.Itoa(int(*value)), field, "from %d to %d", lowest, highest)
}

func validateTimeout(d *metav1.Duration) *apis.FieldError {
	if d == nil || (d.Duration > 0 && d.Duration <= MaxTimeout) {
		return nil
	}
	return invalid(short(d.Duration), "timeout", "more than 0s, at most %s", short(MaxTimeout))
}

func validateDuration(d *metav1.Duration, highest time.Duration, field string) *apis.FieldError {
	if d == nil || (d.Duration >= 0 && d.Duration <= highest) {
		return nil
	}
	return invalid(short(d.Duration), field, "from 0s to %s", short(highest))
}

// short is a duration as people write it: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func validateQuantity(q *resource.Quantity, lowest, highest, field string) *apis.FieldError {
	if q == nil || (q.Cmp(resource.MustParse(lowest)) >= 0 && q.Cmp(resource.MustParse(highest)) <= 0) {
		return nil
	}
	return invalid(q.String(), field, "from %s to %s", lowest, highest)
}

func validateStrings(list []string, most int, field string) *apis.FieldError {
	if len(list) > most {
		return invalid(strconv.Itoa(len(list))+" entries", field, "at most %d", most)
	}
	var errs *apis.FieldError
	for i, text := range list {
		errs = errs.Also(validateText(text, MaxStringBytes, apis.CurrentField).ViaFieldIndex(field, i))
	}
	return errs
}

func validatePath(path, field string) *apis.FieldError {
	return validateText(path, MaxPathBytes, field)
}

// validateText refuses what cannot be handed to a program: the kernel ends
// strings at a NUL.
func validateText(text string, most int, field string) *apis.FieldError {
	if len(text) > most {
		return invalid(strconv.Itoa(len(text))+" bytes", field, "at most %d", most)
	}
	if strings.ContainsRune(text, 0) {
		return apis.ErrGeneric("must not hold a NUL character", field)
	}
	return nil
}

// uriText says whether only characters that a URI may hold are in s:
// https://www.rfc-editor.org/rfc/rfc3986#section-2
func uriText(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}
