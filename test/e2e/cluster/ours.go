// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kontain.dev/eventing/test/e2e/cluster/node"
)

// images of this project: the program that each starts, and further ones that
// are beside it.
var images = map[string][]string{
	"controller": nil,
	"webhook":    nil,
	"receiver":   {"kontain-worker"},
	"source":     {"kontain-worker"},
}

// packages of the programs, where the name of the file is not that of the folder.
var packages = map[string]string{"kontain-worker": "worker"}

// ourPrograms are those programs, by the name of their file, that the
// repository at root has.
func ourPrograms(root string) map[string]string {
	all := map[string]string{"kontain": "./cmd/kontain"}
	for name, beside := range images {
		for _, program := range append([]string{name}, beside...) {
			folder, ok := packages[program]
			if !ok {
				folder = program
			}
			all[program] = "./cmd/" + folder
		}
	}
	for name, folder := range all {
		if _, err := os.Stat(filepath.Join(root, folder)); errors.Is(err, fs.ErrNotExist) {
			delete(all, name)
		}
	}
	return all
}

// ourImage finds the programs of one of this project's images: by the last
// element of its name, whatever the registry, tag and digest.
func (c *Cluster) ourImage(name string) (node.Image, bool) {
	name, _, _ = strings.Cut(name, "@")
	base := path.Base(name)
	base, _, _ = strings.Cut(base, ":")
	base = strings.TrimPrefix(base, "kontain-")
	beside, ok := images[base]
	if !ok {
		return node.Image{}, false
	}
	// Receivers look for the worker beside them.
	const dir = "/usr/local/bin/"
	image := node.Image{
		Entrypoint: []string{dir + base}, UID: nonroot, GID: nonroot, Files: map[string]string{},
	}
	for _, program := range append([]string{base}, beside...) {
		image.Files[dir+program] = filepath.Join(c.ours, program)
	}
	return image, true
}

// ErrNotInstallable says that the repository has no manifests to install.
var ErrNotInstallable = errors.New("config/ has no Deployments")

// Install applies the repository's config/, with the overlay for a device
// plugin where the machine has /dev/kvm, and waits until its Deployments are up.
func (c *Cluster) Install(ctx context.Context) error {
	names, err := filepath.Glob(filepath.Join(c.config, "*.yaml"))
	if err != nil {
		return err
	}
	deployment := func(name string) bool {
		data, err := os.ReadFile(name)
		return err == nil && bytes.Contains(data, []byte("kind: Deployment\n"))
	}
	if !slices.ContainsFunc(names, deployment) {
		return ErrNotInstallable
	}
	// The node offers /dev/kvm as a device plugin does.
	overlay := filepath.Join(filepath.Dir(c.config), "overlays", "device-plugin")
	if _, err := os.Stat("/dev/kvm"); err != nil {
		overlay = c.config
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Kubectl(), "kustomize", overlay)
	cmd.Stderr = &stderr
	documents, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("kubectl kustomize %s: %w: %s", overlay, err, bytes.TrimSpace(stderr.Bytes()))
	}
	objects, err := Decode(bytes.NewReader(documents))
	if err != nil {
		return fmt.Errorf("%s: %w", overlay, err)
	}
	for _, o := range objects {
		if o.GetKind() == "ConfigMap" && o.GetName() == "config-kontain" {
			// The cluster's registries have no certificates.
			registries := c.registry + " " + c.privateRegistry
			if err := unstructured.SetNestedField(o.Object, registries, "data", "insecure-registries"); err != nil {
				return err
			}
		}
		if err := c.applyObject(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", overlay, err)
		}
	}
	if err := c.WaitDeployments(ctx, System); err != nil {
		return err
	}
	return c.waitWebhooks(ctx)
}

// Program is the path of one of this repository's programs.
func (c *Cluster) Program(name string) string { return filepath.Join(c.ours, name) }

// Kubectl is the path of a kubectl of the cluster's version.
func (c *Cluster) Kubectl() string { return filepath.Join(c.upstream, "kubectl") }

// BuildFunction builds an image of a source folder, whose path may begin at the root of
// the repository, with kontain build, pushes it to the registry, and returns its name.
func (c *Cluster) BuildFunction(ctx context.Context, folder, name string, args ...string) (string, error) {
	ref := c.registry + "/" + name
	work := filepath.Join(c.Dir, "images")
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(filepath.Dir(c.config), folder)
	}
	all := append([]string{"build", folder, "--quiet", "--push", "--insecure-registry", c.registry, "-t", ref}, args...)
	cmd := exec.CommandContext(ctx, c.Program("kontain"), all...)
	cmd.Env = append(os.Environ(), "KONTAIN_IMAGE_DIR="+work)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w: %s", cmd.Args, err, bytes.TrimSpace(out))
	}
	return ref, nil
}
