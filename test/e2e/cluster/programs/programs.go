// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package programs builds the programs of a cluster from Go modules: etcd,
// Kubernetes and Knative Eventing, at the versions of this module's go.mod, and
// those of this repository.
package programs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Upstream are the programs of others, by the name of their file.
var Upstream = map[string]string{
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
	"eventing-controller":     "knative.dev/eventing/cmd/controller",
	"eventing-webhook":        "knative.dev/eventing/cmd/webhook",
	"mt-broker-controller":    "knative.dev/eventing/cmd/mtchannel_broker",
	"mt-broker-ingress":       "knative.dev/eventing/cmd/broker/ingress",
	"mt-broker-filter":        "knative.dev/eventing/cmd/broker/filter",
	"imc-controller":          "knative.dev/eventing/cmd/in_memory/channel_controller",
	"imc-dispatcher":          "knative.dev/eventing/cmd/in_memory/channel_dispatcher",
	"job-sink":                "knative.dev/eventing/cmd/jobsink",
	"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
	"kube-proxy":              "k8s.io/kubernetes/cmd/kube-proxy",
	"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
}

// Processes are the programs of a cluster of processes. What takes longest to build is
// first, so that its progress is seen.
var Processes = []string{
	"etcd", "kube-apiserver", "kube-controller-manager",
	"eventing-controller", "eventing-webhook", "mt-broker-controller",
	"mt-broker-ingress", "mt-broker-filter", "imc-controller", "imc-dispatcher", "kubectl",
}

// Node are the further programs of a cluster with a real node and with JobSinks.
var Node = []string{"kubelet", "kube-proxy", "kube-scheduler", "job-sink"}

// ErrMissing says that a module cannot be downloaded.
var ErrMissing = errors.New("the programs of a cluster cannot be had")

// Module is the folder of a module of the build list, downloaded when needed.
func Module(ctx context.Context, dir, path string) (string, error) {
	if _, err := golang(ctx, dir, "mod", "download", path); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return golang(ctx, dir, "list", "-m", "-f", "{{.Dir}}", path)
}

// BuildUpstream builds programs of Upstream into folders of cache by the
// versions that they are built from, unless they are there, and returns the
// folder. dir is the folder of this module. Progress goes to out. A cold build
// takes some ten minutes of two cores, and 4 GB of Go's build cache.
func BuildUpstream(ctx context.Context, dir, cache string, names []string, out io.Writer) (string, error) {
	key := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		key.Write(data)
	}
	fmt.Fprint(key, runtime.Version(), runtime.GOARCH)
	bin := filepath.Join(cache, hex.EncodeToString(key.Sum(nil))[:16])
	if err := os.MkdirAll(bin, 0o755); err != nil { //nolint:gosec // Programs, no secrets.
		return "", err
	}
	for i, name := range names {
		target := filepath.Join(bin, name)
		if _, err := os.Stat(target); err == nil {
			continue
		}
		start := time.Now()
		fmt.Fprintf(out, "cluster: building %s (%d of %d; once, some minutes)\n", name, i+1, len(names))
		if err := build(ctx, dir, Upstream[name], target, versionFlags); err != nil {
			return "", err
		}
		fmt.Fprintf(out, "cluster: built %s in %s\n", name, time.Since(start).Round(time.Second))
	}
	return bin, nil
}

// KubernetesVersion is what kube-apiserver says that it is; k8s.io/kubernetes
// in go.mod must be of this version (a test compares them).
const KubernetesVersion = "v1.35.4"

// versionFlags tell the programs what they are: knative.dev/pkg refuses an API
// server that names no version.
var versionFlags = func() string {
	flags := "-s -w"
	minor := strings.Split(KubernetesVersion, ".")[1]
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for name, value := range map[string]string{
			"gitVersion": KubernetesVersion, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean",
			"gitCommit": "module", "buildDate": "1970-01-01T00:00:00Z",
		} {
			flags += fmt.Sprintf(" -X %s.%s=%s", p, name, value)
		}
	}
	return flags
}()

// BuildOurs builds packages of the repository at root into bin, by the last
// element of their path or the given name.
func BuildOurs(ctx context.Context, root, bin string, packages map[string]string) error {
	for name, pkg := range packages {
		if err := build(ctx, root, pkg, filepath.Join(bin, name), "-s -w"); err != nil {
			return err
		}
	}
	return nil
}

// build links into a temporary file first: what is there is whole.
func build(ctx context.Context, dir, pkg, target, ldflags string) error {
	_, err := golang(ctx, dir, "build", "-trimpath", "-ldflags", ldflags, "-o", target+".tmp", pkg)
	if err != nil {
		return err
	}
	return os.Rename(target+".tmp", target)
}

// golang runs the go command in a folder.
func golang(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w: %s", cmd.Args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}
