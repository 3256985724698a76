// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package build makes container images without a container engine: of a
// function's source, of a folder, and of programs of this machine with what
// they need. The same input gives the same digest.
package build

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// tree is what a layer holds, by path without a first slash. Files are read when
// the layer is written.
type tree struct {
	entries map[string]entry
}

type entry struct {
	mode fs.FileMode // type and permission bits
	host string      // of a regular file: where its content is, unless data is set
	data []byte
	link string
	time time.Time
}

func newTree() *tree { return &tree{map[string]entry{}} }

func clean(at string) string { return strings.TrimPrefix(path.Clean("/"+at), "/") }

// put adds an entry and the folders above it.
func (t *tree) put(at string, e entry) {
	at = clean(at)
	if at == "" {
		return
	}
	for dir := path.Dir(at); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; !ok {
			t.entries[dir] = entry{mode: fs.ModeDir | 0o755}
		}
	}
	t.entries[at] = e
}

func (t *tree) file(at string, data []byte) { t.put(at, entry{mode: 0o644, data: data}) }

// plainMode is a mode without what differs between those who check a source out.
func plainMode(m fs.FileMode) fs.FileMode {
	switch {
	case m.IsDir():
		return fs.ModeDir | 0o755
	case m&0o111 != 0:
		return 0o755
	}
	return 0o644
}

// folder adds what a folder of this machine holds, below at. skip is asked with
// paths below the folder. Symbolic links stay links.
func (t *tree) folder(at, host string, skip func(rel string, d fs.DirEntry) bool) error {
	return filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, p)
		if err != nil || rel == "." {
			return err
		}
		if skip != nil && skip(rel, d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		switch d.Type() {
		case fs.ModeDir:
			t.put(path.Join(at, rel), entry{mode: fs.ModeDir | 0o755})
		case fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			t.put(path.Join(at, rel), entry{mode: fs.ModeSymlink | 0o777, link: to})
		case 0:
			info, err := d.Info()
			if err != nil {
				return err
			}
			t.put(path.Join(at, rel), entry{mode: plainMode(info.Mode()), host: p})
		default: // pipes, sockets and devices mean nothing elsewhere
		}
		return nil
	})
}

// write writes the entries as an archive, in the order of their paths.
func (t *tree) write(w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, at := range slices.Sorted(maps.Keys(t.entries)) {
		if err := t.writeEntry(archive, at, t.entries[at]); err != nil {
			return fmt.Errorf("/%s: %w", at, err)
		}
	}
	return archive.Close()
}

func (t *tree) writeEntry(w *tar.Writer, at string, e entry) error {
	h := &tar.Header{Name: at, Mode: int64(e.mode.Perm()), ModTime: e.time, Format: tar.FormatPAX}
	if e.mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	if e.time.IsZero() {
		h.ModTime = time.Unix(0, 0)
	}
	switch {
	case e.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, at+"/"
		return w.WriteHeader(h)
	case e.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		return w.WriteHeader(h)
	}
	h.Typeflag = tar.TypeReg
	if e.host == "" {
		h.Size = int64(len(e.data))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(e.data)
		return err
	}
	f, err := os.OpenFile(e.host, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file any more")
	}
	h.Size = info.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(f, h.Size))
	if err == nil && n != h.Size {
		err = errors.New("it became shorter while it was read")
	}
	return err
}

// layer writes the tree to a file in work, which must stay until the image is
// stored.
func (t *tree) layer(work string) (v1.Layer, error) {
	f, err := os.CreateTemp(work, "layer-*.tar.gz")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewWriterLevel(f, 5)
	if err == nil {
		err = t.write(z)
	}
	if err == nil {
		err = z.Close()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("write the layer: %w", err)
	}
	return tarball.LayerFromFile(f.Name(), tarball.WithMediaType(types.OCILayer))
}
