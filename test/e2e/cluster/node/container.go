// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kontain.dev/eventing/test/e2e/cluster/sandbox"
)

// tokenSeconds is the least that a service account's token lives: it is not renewed.
const tokenSeconds = 24 * 3600

// renewInterval is the time between looks at mounted ConfigMaps and Secrets; kubelet's
// is a minute.
const renewInterval = 2 * time.Second

// container is what the pod asks for, as the sandbox wants it; on an error the
// reason is one that kubelet gives.
func (p *pod) container() (out sandbox.Container, reason string, err error) {
	spec := p.object.Spec
	c := spec.Containers[0]
	image, ok := p.node.images(c.Image)
	if !ok {
		return out, "ErrImagePull", fmt.Errorf("this node has no image %s", c.Image)
	}
	out = sandbox.Container{
		Hostname: p.object.Name, Namespace: p.object.Namespace,
		Dir: c.WorkingDir, UID: image.UID, GID: image.GID,
	}
	env, err := p.env(c)
	if err != nil {
		return out, "CreateContainerConfigError", err
	}
	// $(NAME) in command and args is expanded as Kubernetes does.
	expandAll := func(args []string) []string {
		all := make([]string, len(args))
		for i, a := range args {
			all[i] = expand(a, env)
		}
		return all
	}
	out.Args = image.Entrypoint
	if len(c.Command) > 0 {
		out.Args = expandAll(c.Command)
	}
	out.Args = append(slices.Clone(out.Args), expandAll(c.Args)...)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out.Env = append(out.Env, name+"="+env[name])
	}
	if err := security(&out, spec.SecurityContext, c.SecurityContext); err != nil {
		return out, "CreateContainerConfigError", err
	}
	for target, source := range image.Files {
		out.Mounts = append(out.Mounts, sandbox.Mount{Source: source, Target: target, ReadOnly: true})
	}
	for name := range c.Resources.Limits {
		out.KVM = out.KVM || name == KVMResource
	}
	for _, m := range c.VolumeMounts {
		if err := p.volume(m, &out); err != nil {
			return out, "FailedMount", fmt.Errorf("volume %s: %w", m.Name, err)
		}
	}
	// A mount point must be there before what is mounted in it.
	slices.SortStableFunc(out.Mounts, func(a, b sandbox.Mount) int { return strings.Compare(a.Target, b.Target) })
	return out, "", nil
}

func security(out *sandbox.Container, pod *corev1.PodSecurityContext, c *corev1.SecurityContext) error {
	nonRoot := false
	if pod != nil {
		if pod.RunAsUser != nil {
			out.UID = int(*pod.RunAsUser)
		}
		if pod.RunAsGroup != nil {
			out.GID = int(*pod.RunAsGroup)
		}
		for _, g := range pod.SupplementalGroups {
			out.Groups = append(out.Groups, int(g))
		}
		if pod.FSGroup != nil {
			out.Groups = append(out.Groups, int(*pod.FSGroup))
		}
		nonRoot = pod.RunAsNonRoot != nil && *pod.RunAsNonRoot
	}
	if c != nil {
		if c.RunAsUser != nil {
			out.UID = int(*c.RunAsUser)
		}
		if c.RunAsGroup != nil {
			out.GID = int(*c.RunAsGroup)
		}
		if c.RunAsNonRoot != nil {
			nonRoot = *c.RunAsNonRoot
		}
		out.Privileged = c.Privileged != nil && *c.Privileged
		out.KVM = out.KVM || out.Privileged
		out.NoNewPrivs = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
		out.ReadOnly = c.ReadOnlyRootFilesystem != nil && *c.ReadOnlyRootFilesystem
		if c.Capabilities != nil {
			for _, name := range c.Capabilities.Drop {
				out.Drop = append(out.Drop, string(name))
			}
			for _, name := range c.Capabilities.Add {
				out.Add = append(out.Add, string(name))
			}
		}
	}
	if nonRoot && out.UID == 0 {
		return errors.New("container has runAsNonRoot and the image runs as root")
	}
	return nil
}

// env is the environment of the container.
func (p *pod) env(c corev1.Container) (map[string]string, error) {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": p.object.Name,
		"KUBERNETES_SERVICE_PORT": "443",
	}
	kubernetes, err := p.node.client.CoreV1().Services("default").Get(p.node.ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	env["KUBERNETES_SERVICE_HOST"] = kubernetes.Spec.ClusterIP
	for _, from := range c.EnvFrom {
		var data map[string]string
		switch {
		case from.ConfigMapRef != nil:
			data, err = p.configMap(from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		case from.SecretRef != nil:
			data, err = p.secret(from.SecretRef.Name, from.SecretRef.Optional)
		}
		if err != nil {
			return nil, err
		}
		for k, v := range data {
			env[from.Prefix+k] = v
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env[e.Name] = expand(e.Value, env)
			continue
		}
		value, ok, err := p.valueFrom(e.ValueFrom, c)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", e.Name, err)
		}
		if ok {
			env[e.Name] = value
		}
	}
	return env, nil
}

func (p *pod) valueFrom(from *corev1.EnvVarSource, c corev1.Container) (string, bool, error) {
	key := func(data map[string]string, err error, name, key string, optional *bool) (string, bool, error) {
		if err != nil {
			return "", false, err
		}
		v, ok := data[key]
		if !ok && (optional == nil || !*optional) {
			return "", false, fmt.Errorf("%s has no key %s", name, key)
		}
		return v, ok, nil
	}
	switch {
	case from.FieldRef != nil:
		v, err := p.field(from.FieldRef.FieldPath)
		return v, err == nil, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		data, err := p.configMap(r.Name, r.Optional)
		return key(data, err, "ConfigMap "+r.Name, r.Key, r.Optional)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		data, err := p.secret(r.Name, r.Optional)
		return key(data, err, "Secret "+r.Name, r.Key, r.Optional)
	case from.ResourceFieldRef != nil:
		limits := c.Resources.Limits
		if name, ok := strings.CutPrefix(from.ResourceFieldRef.Resource, "limits."); ok {
			if q, ok := limits[corev1.ResourceName(name)]; ok {
				return strconv.FormatInt(q.Value(), 10), true, nil
			}
		}
		return "", false, fmt.Errorf("resource field %s is not known here", from.ResourceFieldRef.Resource)
	}
	return "", false, errors.New("a source that is not known here")
}

// field is a value of the downward API.
func (p *pod) field(path string) (string, error) {
	quoted := func(prefix string) (string, bool) {
		key, ok := strings.CutPrefix(path, prefix+"['")
		if !ok {
			return "", false
		}
		return strings.TrimSuffix(key, "']"), true
	}
	if k, ok := quoted("metadata.labels"); ok {
		return p.object.Labels[k], nil
	}
	if k, ok := quoted("metadata.annotations"); ok {
		return p.object.Annotations[k], nil
	}
	switch path {
	case "metadata.name":
		return p.object.Name, nil
	case "metadata.namespace":
		return p.object.Namespace, nil
	case "metadata.uid":
		return string(p.object.UID), nil
	case "spec.nodeName":
		return Name, nil
	case "spec.serviceAccountName":
		return p.object.Spec.ServiceAccountName, nil
	case "status.podIP":
		return p.network.IP, nil
	case "status.hostIP":
		return sandbox.Gateway, nil
	}
	return "", fmt.Errorf("field %s is not known here", path)
}

// expand replaces $(NAME) by the value of a variable; $$ is one $.
func expand(s string, env map[string]string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		if s[1] == '$' {
			b.WriteByte('$')
			s = s[2:]
			continue
		}
		if end := strings.IndexByte(s, ')'); s[1] == '(' && end > 0 {
			if v, ok := env[s[2:end]]; ok {
				b.WriteString(v)
				s = s[end+1:]
				continue
			}
		}
		b.WriteByte('$')
		s = s[1:]
	}
}

func (p *pod) configMap(name string, optional *bool) (map[string]string, error) {
	m, err := p.node.client.CoreV1().ConfigMaps(p.object.Namespace).Get(p.node.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, allowMissing(err, optional)
	}
	data := maps.Clone(m.Data)
	for k, v := range m.BinaryData {
		data[k] = string(v)
	}
	return data, nil
}

func (p *pod) secret(name string, optional *bool) (map[string]string, error) {
	s, err := p.node.client.CoreV1().Secrets(p.object.Namespace).Get(p.node.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, allowMissing(err, optional)
	}
	data := map[string]string{}
	for k, v := range s.Data {
		data[k] = string(v)
	}
	return data, nil
}

func allowMissing(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return err
}

// volume adds the mount of a volume to the container, and fills the volume.
func (p *pod) volume(m corev1.VolumeMount, out *sandbox.Container) error {
	i := slices.IndexFunc(p.object.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
	if i < 0 {
		return errors.New("the pod does not have it")
	}
	v := p.object.Spec.Volumes[i]
	if h := v.HostPath; h != nil {
		if h.Path == "/dev/kvm" {
			out.KVM = true
			return nil
		}
		out.Mounts = append(out.Mounts, sandbox.Mount{Source: h.Path, Target: m.MountPath, ReadOnly: m.ReadOnly})
		return nil
	}
	dir := p.volumeDir(v.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // Each container has its own user.
		return err
	}
	readOnly := true
	var files map[string]string
	var err error
	switch {
	case v.EmptyDir != nil:
		readOnly = m.ReadOnly
		err = os.Chmod(dir, 0o777) //nolint:gosec // As kubelet makes them.
	case v.ConfigMap != nil, v.Secret != nil:
		files, err = p.mountedFiles(v)
	case v.Projected != nil:
		files, err = p.projected(v.Projected)
	default:
		err = errors.New("volumes of this kind are not known here")
	}
	if err != nil {
		return err
	}
	if err := writeFiles(dir, files); err != nil {
		return err
	}
	source := filepath.Join(dir, m.SubPath)
	out.Mounts = append(out.Mounts, sandbox.Mount{Source: source, Target: m.MountPath, ReadOnly: readOnly})
	return nil
}

func (p *pod) volumeDir(name string) string {
	return filepath.Join(p.node.dir, "volumes", string(p.object.UID), name)
}

// mountedFiles are the files of a volume that is a ConfigMap or a Secret.
func (p *pod) mountedFiles(v corev1.Volume) (map[string]string, error) {
	if m := v.ConfigMap; m != nil {
		files, err := p.configMap(m.Name, m.Optional)
		return items(files, m.Items, err)
	}
	files, err := p.secret(v.Secret.SecretName, v.Secret.Optional)
	return items(files, v.Secret.Items, err)
}

// writeFiles makes files the content of a volume. Each is replaced whole, which differs
// from kubelet: that replaces all of a volume at once.
func writeFiles(dir string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == content {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // Each container has its own user.
			return err
		}
		if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil { //nolint:gosec // Each container has its own user.
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}

// renew brings mounted ConfigMaps and Secrets to what they are now, until the context
// ends. What is deleted stays, as kubelet has it.
func (p *pod) renew(ctx context.Context) {
	var mounted []corev1.Volume
	for _, v := range p.object.Spec.Volumes {
		if v.ConfigMap != nil || v.Secret != nil {
			mounted = append(mounted, v)
		}
	}
	if len(mounted) == 0 {
		return
	}
	ticker := time.NewTicker(renewInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, v := range mounted {
			files, err := p.mountedFiles(v)
			if err == nil {
				err = writeFiles(p.volumeDir(v.Name), files)
			}
			if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				p.logf("volume %s: %v", v.Name, err)
			}
		}
	}
}

func items(data map[string]string, items []corev1.KeyToPath, err error) (map[string]string, error) {
	if err != nil || len(items) == 0 {
		return data, err
	}
	out := map[string]string{}
	for _, item := range items {
		if v, ok := data[item.Key]; ok {
			out[item.Path] = v
		}
	}
	return out, nil
}

func (p *pod) projected(v *corev1.ProjectedVolumeSource) (map[string]string, error) {
	all := map[string]string{}
	for _, s := range v.Sources {
		var files map[string]string
		var err error
		switch {
		case s.ServiceAccountToken != nil:
			files, err = p.token(p.node.ctx, s.ServiceAccountToken)
		case s.ConfigMap != nil:
			files, err = p.configMap(s.ConfigMap.Name, s.ConfigMap.Optional)
			files, err = items(files, s.ConfigMap.Items, err)
		case s.Secret != nil:
			files, err = p.secret(s.Secret.Name, s.Secret.Optional)
			files, err = items(files, s.Secret.Items, err)
		case s.DownwardAPI != nil:
			files = map[string]string{}
			for _, item := range s.DownwardAPI.Items {
				if item.FieldRef == nil {
					continue
				}
				if files[item.Path], err = p.field(item.FieldRef.FieldPath); err != nil {
					break
				}
			}
		default:
			err = errors.New("a projection that is not known here")
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(all, files)
	}
	return all, nil
}

func (p *pod) token(ctx context.Context, s *corev1.ServiceAccountTokenProjection) (map[string]string, error) {
	seconds := int64(tokenSeconds)
	if s.ExpirationSeconds != nil {
		seconds = max(seconds, *s.ExpirationSeconds)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.object.Name, UID: p.object.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	name := p.object.Spec.ServiceAccountName
	answer, err := p.node.client.CoreV1().ServiceAccounts(p.object.Namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("token of service account %s: %w", name, err)
	}
	return map[string]string{s.Path: answer.Status.Token}, nil
}
