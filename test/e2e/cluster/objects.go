// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"kontain.dev/eventing/test/e2e/cluster/sandbox"
)

// Eventually calls f, ten times a second, until it returns nil; the error is
// that of the last call.
func Eventually(ctx context.Context, patience time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", patience, last)
		}
	}
}

// Decode reads YAML documents.
func Decode(r io.Reader) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		u := new(unstructured.Unstructured)
		switch err := decoder.Decode(u); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		case len(u.Object) > 0:
			all = append(all, u)
		}
	}
}

// ApplyFolder applies the *.yaml files of a folder in the order of their names,
// as kubectl apply -f does; files that skip reports are left out.
func (c *Cluster) ApplyFolder(ctx context.Context, dir string, skip func(name string) bool) error {
	names, err := fs.Glob(os.DirFS(dir), "*.yaml")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("%s has no *.yaml", dir)
	}
	slices.Sort(names)
	for _, name := range names {
		if skip != nil && skip(name) {
			continue
		}
		if err := c.ApplyFile(ctx, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// ApplyFile applies the documents of a file.
func (c *Cluster) ApplyFile(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, string(data)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Apply applies YAML documents (server-side). A kind whose CustomResourceDefinition
// was applied a moment ago is waited for.
func (c *Cluster) Apply(ctx context.Context, documents string) error {
	if c.kind == sandbox.Kubelet {
		documents = koImage.ReplaceAllString(documents, koRegistry+"$1"+koTag)
	}
	objects, err := Decode(strings.NewReader(documents))
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := c.applyObject(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) applyObject(ctx context.Context, o *unstructured.Unstructured) error {
	resource, err := c.resource(ctx, o.GroupVersionKind(), o.GetNamespace())
	if err == nil {
		_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "cluster", Force: true})
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

// resource is the client of a kind.
func (c *Cluster) resource(ctx context.Context, kind schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	var mapping *meta.RESTMapping
	err := Eventually(ctx, Patience, func(context.Context) (err error) {
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			c.mapper.Reset()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	resource := c.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return resource, nil
	}
	if namespace == "" {
		namespace = "default"
	}
	return resource.Namespace(namespace), nil
}

// Get reads an object; apiVersion is group/version.
func (c *Cluster) Get(ctx context.Context, apiVersion, kind, namespace, name string) (*unstructured.Unstructured, error) {
	resource, err := c.resource(ctx, schema.FromAPIVersionAndKind(apiVersion, kind), namespace)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, name, metav1.GetOptions{})
}

// List lists the objects of a kind that have labels; apiVersion is group/version.
func (c *Cluster) List(ctx context.Context, apiVersion, kind, namespace, labels string) ([]unstructured.Unstructured, error) {
	resource, err := c.resource(ctx, schema.FromAPIVersionAndKind(apiVersion, kind), namespace)
	if err != nil {
		return nil, err
	}
	list, err := resource.List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Delete deletes an object; apiVersion is group/version.
func (c *Cluster) Delete(ctx context.Context, apiVersion, kind, namespace, name string) error {
	resource, err := c.resource(ctx, schema.FromAPIVersionAndKind(apiVersion, kind), namespace)
	if err != nil {
		return err
	}
	return resource.Delete(ctx, name, metav1.DeleteOptions{})
}

// WaitReady waits until the condition of an object is True for its current
// generation, and returns the object.
func (c *Cluster) WaitReady(ctx context.Context, apiVersion, kind, namespace, name, condition string) (*unstructured.Unstructured, error) {
	var o *unstructured.Unstructured
	err := Eventually(ctx, Patience, func(ctx context.Context) (err error) {
		o, err = c.Get(ctx, apiVersion, kind, namespace, name)
		if err != nil {
			return err
		}
		return IsReady(o, condition)
	})
	return o, err
}

// IsReady is nil when the condition of an object is True for its current generation.
func IsReady(o *unstructured.Unstructured, condition string) error {
	what := fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
	observed, _, err := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	if err != nil {
		return err
	}
	if observed != o.GetGeneration() {
		return fmt.Errorf("%s: generation %d is not observed yet", what, o.GetGeneration())
	}
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return err
	}
	for _, entry := range conditions {
		if m, ok := entry.(map[string]any); ok && m["type"] == condition {
			if m["status"] == "True" {
				return nil
			}
			return fmt.Errorf("%s: %s is %v: %v: %v", what, condition, m["status"], m["reason"], m["message"])
		}
	}
	return fmt.Errorf("%s: no condition %s", what, condition)
}
