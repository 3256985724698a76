// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package image turns container images into read-only root file systems that
// programs run in. An image comes from a registry, an OCI layout folder, a
// `docker save` archive or a plain folder; its layers are verified, applied and
// kept in a cache on disk, by digest. An image is hostile input: what it may
// hold is bounded, nothing of it is written outside its root, and what is
// refused is named by layer and entry.
package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Kind is where an image is.
type Kind int

const (
	// Registry is a repository of a registry, or a name that only the cache
	// knows.
	Registry Kind = iota
	// Layout is a folder in the OCI image layout.
	Layout
	// Archive is a file made by docker save.
	Archive
	// Folder is a folder with the files of a root, used where it is.
	Folder
)

// Prefixes of references that are not names in a registry.
const (
	layoutPrefix  = "oci:"
	archivePrefix = "docker-archive:"
	folderPrefix  = "dir:"
)

// Reference names an image.
type Reference struct {
	Kind Kind
	// Path is the layout, archive or folder on this machine.
	Path string
	// Tag picks one of the images of a layout or archive; empty when there is
	// only one.
	Tag string

	name name.Reference // of Registry
}

// ParseReference reads a reference: REGISTRY/REPOSITORY:TAG, with @sha256:DIGEST
// in place of the tag or after it; oci:FOLDER[:TAG]; docker-archive:FILE[:TAG];
// dir:FOLDER; or a path that starts with / or ., whose kind is what is found
// there. A name without a registry is one of docker.io.
func ParseReference(s string) (Reference, error) {
	switch {
	case s == "":
		return Reference{}, errors.New("the image reference is empty")
	case strings.ContainsRune(s, 0):
		return Reference{}, fmt.Errorf("the image reference %q contains a NUL byte", s)
	case strings.HasPrefix(s, layoutPrefix):
		return pathReference(Layout, strings.TrimPrefix(s, layoutPrefix))
	case strings.HasPrefix(s, archivePrefix):
		return pathReference(Archive, strings.TrimPrefix(s, archivePrefix))
	case strings.HasPrefix(s, folderPrefix):
		return absolute(Reference{Kind: Folder, Path: strings.TrimPrefix(s, folderPrefix)})
	case strings.HasPrefix(s, "/"), strings.HasPrefix(s, "."):
		return foundReference(s)
	}
	n, err := name.ParseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("the image reference %q: %w", s, err)
	}
	return Reference{Kind: Registry, name: n}, nil
}

// pathReference takes a tag off the end of a path.
func pathReference(kind Kind, s string) (Reference, error) {
	r := Reference{Kind: kind, Path: s}
	if i := strings.LastIndexByte(s, ':'); i > 0 && !strings.Contains(s[i:], "/") {
		r.Path, r.Tag = s[:i], s[i+1:]
	}
	return absolute(r)
}

func absolute(r Reference) (Reference, error) {
	if r.Path == "" {
		return r, errors.New("the image reference names no path")
	}
	abs, err := filepath.Abs(r.Path)
	if err != nil {
		return r, fmt.Errorf("the absolute path of %s: %w", r.Path, err)
	}
	r.Path = abs
	return r, nil
}

// foundReference looks what a path is.
func foundReference(path string) (Reference, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Reference{}, fmt.Errorf("the image %w", err)
	}
	r := Reference{Kind: Folder, Path: path}
	switch {
	case info.Mode().IsRegular():
		r.Kind = Archive
	case !info.IsDir():
		return Reference{}, fmt.Errorf("the image %s is neither a folder nor an archive", path)
	default:
		if _, err := os.Stat(filepath.Join(path, "oci-layout")); err == nil {
			r.Kind = Layout
		}
	}
	return absolute(r)
}

// String returns the reference in full: with registry and tag, or with its
// prefix and an absolute path.
func (r Reference) String() string {
	s := r.Path
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	switch r.Kind {
	case Layout:
		return layoutPrefix + s
	case Archive:
		return archivePrefix + s
	case Folder:
		return folderPrefix + s
	case Registry:
	}
	if r.name == nil {
		return ""
	}
	return strings.Replace(r.name.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
}

// ByDigest says whether the reference can never mean another image.
func (r Reference) ByDigest() bool {
	_, ok := r.name.(name.Digest)
	return r.Kind == Registry && ok
}

// At returns the reference of the same repository by a digest, in full; empty when no
// registry is named or the digest is none.
func (r Reference) At(digest string) string {
	if r.name == nil {
		return ""
	}
	if _, err := parseHash(digest); err != nil {
		return ""
	}
	return Reference{Kind: Registry, name: r.name.Context().Digest(digest)}.String()
}
