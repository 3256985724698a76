// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// archiveSource is a file made by docker save. Its layers stay as they are in
// the file; the manifest that it lacks is made here.
// https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format
type archiveSource struct {
	file    *os.File
	members map[string]member
	raw     []byte // manifest
	blobs   map[v1.Hash]member
}

type member struct {
	at, size int64
	link     string
}

// maxMembers bounds the table of an archive.
const maxMembers = 100_000

func openArchive(ctx context.Context, r Reference) (_ *archiveSource, err error) {
	file, err := os.OpenFile(r.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("archive %s: %w", r.Path, err), file.Close())
		}
	}()
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	a := &archiveSource{file: file, members: map[string]member{}, blobs: map[v1.Hash]member{}}
	if err := a.list(); err != nil {
		return nil, err
	}
	if err := a.makeManifest(ctx, r.Tag); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *archiveSource) close() error { return a.file.Close() }

// list reads where the members are.
func (a *archiveSource) list() error {
	t := tar.NewReader(a.file)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is no archive of docker save: %w", err)
		}
		if len(a.members) >= maxMembers {
			return tooLarge("more than %d members", maxMembers)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.members[name] = member{at: at, size: h.Size}
		case tar.TypeSymlink:
			a.members[name] = member{link: path.Join(path.Dir(name), h.Linkname)} //nolint:gosec // A name of the table of members, never of a file.
		case tar.TypeLink:
			a.members[name] = member{link: path.Clean(h.Linkname)}
		}
	}
}

// member returns a file of the archive; older versions of docker save keep a
// layer that two images share as a link.
func (a *archiveSource) member(name string) (member, error) {
	m, ok := a.members[path.Clean(name)]
	if ok && m.link != "" {
		m, ok = a.members[m.link]
	}
	if !ok || m.link != "" {
		return m, fmt.Errorf("it has no file %q", clip(name))
	}
	return m, nil
}

func (a *archiveSource) section(m member) *io.SectionReader {
	return io.NewSectionReader(a.file, m.at, m.size)
}

func (a *archiveSource) read(name string, most int64) ([]byte, error) {
	m, err := a.member(name)
	if err != nil {
		return nil, err
	}
	return readBounded(a.section(m), name, most)
}

func (a *archiveSource) makeManifest(ctx context.Context, tag string) error {
	raw, err := a.read("manifest.json", maxManifestBytes)
	if err != nil {
		return fmt.Errorf("it is no archive of docker save: %w", err)
	}
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(raw, &images); err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	at := -1
	var tags []string
	for i, image := range images {
		tags = append(tags, image.RepoTags...)
		if tag == "" || slices.Contains(image.RepoTags, tag) || slices.ContainsFunc(image.RepoTags, func(t string) bool { return path.Base(t) == tag || hasTag(t, tag) }) {
			if at >= 0 {
				return fmt.Errorf("it has %d images; add :TAG, one of %q", len(images), tags)
			}
			at = i
		}
	}
	if at < 0 {
		return fmt.Errorf("it has no image %q; it has %q", tag, tags)
	}
	image := images[at]
	config, err := a.read(image.Config, maxConfigBytes)
	if err != nil {
		return err
	}
	file, _, err := parseConfig(config)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if len(image.Layers) != len(file.RootFS.DiffIDs) {
		return fmt.Errorf("it lists %d layers, and its configuration %d", len(image.Layers), len(file.RootFS.DiffIDs))
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{
		MediaType: types.OCIConfigJSON, Digest: hashOf(config), Size: int64(len(config)),
	}}
	if a.blobs[m.Config.Digest], err = a.member(image.Config); err != nil {
		return err
	}
	for i, name := range image.Layers {
		part, err := a.member(name)
		if err != nil {
			return err
		}
		// An uncompressed layer's digest is in the configuration, and is
		// checked when it is stored; only another must be read for it.
		d := v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: file.RootFS.DiffIDs[i], Size: part.size}
		var magic [4]byte
		if n, _ := a.section(part).ReadAt(magic[:], 0); n >= 2 && (magic[0] == 0x1f && magic[1] == 0x8b || string(magic[:]) == "\x28\xb5\x2f\xfd") {
			d.MediaType = types.OCILayer
			if d.Digest, err = hashReader(ctx, a.section(part)); err != nil {
				return err
			}
		}
		a.blobs[d.Digest] = part
		m.Layers = append(m.Layers, d)
	}
	a.raw, err = json.Marshal(m)
	return err
}

func hasTag(ref, tag string) bool {
	return len(ref) > len(tag) && ref[len(ref)-len(tag)-1:] == ":"+tag
}

func (a *archiveSource) head(context.Context) (v1.Descriptor, []byte, error) {
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hashOf(a.raw), Size: int64(len(a.raw))}, a.raw, nil
}

func (a *archiveSource) manifest(context.Context, v1.Descriptor) ([]byte, error) {
	return nil, errors.New("it has no index")
}

func (a *archiveSource) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	m, ok := a.blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("it has no %s", d.Digest)
	}
	return io.NopCloser(a.section(m)), nil
}

func hashOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

func hashReader(ctx context.Context, r io.Reader) (v1.Hash, error) {
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, r}); err != nil {
		return v1.Hash{}, err
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
