// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// source is where the parts of one image come from. What it returns is not
// trusted: digests and sizes are checked by who stores it.
type source interface {
	// head returns the descriptor and the bytes of what the reference names:
	// an image's manifest or an index of several.
	head(ctx context.Context) (v1.Descriptor, []byte, error)
	// manifest returns the bytes of a manifest of an index.
	manifest(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// blob opens a configuration or a layer.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// layoutSource is a folder in the OCI image layout:
// https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
type layoutSource struct {
	dir *os.Root
	tag string
}

func openLayout(r Reference) (*layoutSource, error) {
	dir, err := os.OpenRoot(r.Path)
	if err != nil {
		return nil, fmt.Errorf("open the layout: %w", err)
	}
	return &layoutSource{dir, r.Tag}, nil
}

// refName is the annotation that names an image of a layout.
const refName = "org.opencontainers.image.ref.name"

func (l *layoutSource) head(context.Context) (v1.Descriptor, []byte, error) {
	var none v1.Descriptor
	raw, err := readAll(l.dir, "index.json", maxManifestBytes)
	if err != nil {
		return none, nil, fmt.Errorf("read the layout: %w", err)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return none, nil, fmt.Errorf("index.json of the layout: %w", err)
	}
	var found []v1.Descriptor
	var tags []string
	for _, d := range index.Manifests {
		tags = append(tags, clip(d.Annotations[refName]))
		if l.tag == "" || d.Annotations[refName] == l.tag {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0 && l.tag != "":
		return none, nil, fmt.Errorf("the layout has no image %q; it has %q", l.tag, tags)
	case len(found) == 0:
		return none, nil, errors.New("the layout has no image")
	case len(found) > 1 && l.tag == "":
		// Several images of one program for several platforms, or several
		// programs: the second needs a name.
		d, err := pick(found)
		if err != nil || d.Platform == nil {
			return none, nil, fmt.Errorf("the layout has %d images; add :TAG, one of %q", len(found), tags)
		}
		found = []v1.Descriptor{d}
	}
	raw, err = l.manifest(context.Background(), found[0])
	return found[0], raw, err
}

func (l *layoutSource) path(d v1.Descriptor) (string, error) {
	if err := checkHash(d.Digest); err != nil {
		return "", err
	}
	return path.Join("blobs", d.Digest.Algorithm, d.Digest.Hex), nil
}

func (l *layoutSource) manifest(_ context.Context, d v1.Descriptor) ([]byte, error) {
	name, err := l.path(d)
	if err != nil {
		return nil, err
	}
	return readAll(l.dir, name, maxManifestBytes)
}

func (l *layoutSource) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	name, err := l.path(d)
	if err != nil {
		return nil, err
	}
	return openRegular(l.dir, name)
}

func (l *layoutSource) close() error { return l.dir.Close() }

func openRegular(dir *os.Root, name string) (*os.File, error) {
	// Without O_NONBLOCK a named pipe would hold the reader for ever.
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func readAll(dir *os.Root, name string, most int64) ([]byte, error) {
	f, err := openRegular(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	return readBounded(f, name, most)
}

func readBounded(r io.Reader, name string, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > most {
		return nil, tooLarge("%s has more than %d bytes", name, most)
	}
	return b, nil
}

// pick returns the manifest for linux/amd64, which runs on every processor that
// this project does; one that names a variant only when there is no other.
func pick(list []v1.Descriptor) (v1.Descriptor, error) {
	best, score := v1.Descriptor{}, 0
	var have []string
	for _, d := range list {
		n := 0
		switch p := d.Platform; {
		case p == nil:
			n = 1
			have = append(have, "unnamed")
		case p.OS == "linux" && p.Architecture == "amd64" && (p.Variant == "" || p.Variant == "v1"):
			n = 3
		case p.OS == "linux" && p.Architecture == "amd64" && p.Variant == "v2":
			n = 2
		default:
			have = append(have, clip(p.String()))
		}
		if d.MediaType != "" && !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			n = 0
		}
		if n > score {
			best, score = d, n
		}
	}
	if score == 0 {
		return best, fmt.Errorf("it has no image for linux/amd64, only for %s", strings.Join(have, ", "))
	}
	return best, nil
}

// maxIndexes is how many indexes may lead to an image.
const maxIndexes = 3

// resolve follows indexes to the manifest of an image for this machine. named
// is the digest of what the reference names.
func resolve(ctx context.Context, s source) (named v1.Hash, d v1.Descriptor, m *v1.Manifest, raw []byte, err error) {
	d, raw, err = s.head(ctx)
	if err != nil {
		return named, d, nil, nil, err
	}
	named = d.Digest
	for range maxIndexes + 1 {
		if err := checkBytes(d, raw); err != nil {
			return named, d, nil, nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		kind := d.MediaType
		var head struct {
			MediaType types.MediaType `json:"mediaType"`
			Manifests json.RawMessage `json:"manifests"`
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			return named, d, nil, nil, fmt.Errorf("manifest %s: it is not valid: %w", d.Digest, err)
		}
		if head.MediaType != "" {
			kind = head.MediaType
		} else if head.Manifests != nil {
			kind = types.OCIImageIndex
		}
		if !kind.IsIndex() {
			if kind != "" && !kind.IsImage() {
				return named, d, nil, nil, fmt.Errorf("manifest %s: its media type is %q, which is no image", d.Digest, clip(string(kind)))
			}
			m = new(v1.Manifest)
			if err := json.Unmarshal(raw, m); err != nil {
				return named, d, nil, nil, fmt.Errorf("manifest %s: it is not valid: %w", d.Digest, err)
			}
			return named, d, m, raw, nil
		}
		var index v1.IndexManifest
		if err := json.Unmarshal(raw, &index); err != nil {
			return named, d, nil, nil, fmt.Errorf("index %s: it is not valid: %w", d.Digest, err)
		}
		of := d.Digest
		if d, err = pick(index.Manifests); err != nil {
			return named, d, nil, nil, fmt.Errorf("index %s: %w", of, err)
		}
		if err := checkHash(d.Digest); err != nil {
			return named, d, nil, nil, fmt.Errorf("index %s: %w", of, err)
		}
		if d.Size > maxManifestBytes {
			return named, d, nil, nil, tooLarge("manifest %s has %d bytes", d.Digest, d.Size)
		}
		if raw, err = s.manifest(ctx, d); err != nil {
			return named, d, nil, nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
	}
	return named, d, nil, nil, fmt.Errorf("more than %d indexes lead to the image", maxIndexes)
}

// checkBytes holds bytes to their descriptor.
func checkBytes(d v1.Descriptor, raw []byte) error {
	if err := checkHash(d.Digest); err != nil {
		return err
	}
	if got := hashOf(raw); got != d.Digest {
		return fmt.Errorf("%w: its content has %s", ErrDigest, got)
	}
	if d.Size != 0 && d.Size != int64(len(raw)) {
		return fmt.Errorf("%w: it has %d bytes, and %d are announced", ErrDigest, len(raw), d.Size)
	}
	return nil
}

// ErrDigest says that content is not what its digest or size promises.
var ErrDigest = errors.New("the content does not match its digest or size")

// madeSource is an image that this process makes.
type madeSource struct{ v1.Image }

func (m *madeSource) head(context.Context) (v1.Descriptor, []byte, error) {
	var none v1.Descriptor
	raw, err := m.RawManifest()
	if err != nil {
		return none, nil, fmt.Errorf("make the manifest: %w", err)
	}
	kind, err := m.MediaType()
	return v1.Descriptor{MediaType: kind, Digest: hashOf(raw), Size: int64(len(raw))}, raw, err
}

func (m *madeSource) manifest(context.Context, v1.Descriptor) ([]byte, error) {
	return nil, errors.New("it has no index")
}

func (m *madeSource) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if raw, err := m.RawConfigFile(); err == nil && hashOf(raw) == d.Digest {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	layer, err := m.LayerByDigest(d.Digest)
	if err != nil {
		return nil, err
	}
	return layer.Compressed()
}
