// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// Info describes an image of the cache.
type Info struct {
	Refs     []string  `json:"refs"` // empty: no name leads to it any more
	Digest   string    `json:"digest,omitempty"`
	Manifest string    `json:"manifest"`
	Local    bool      `json:"local,omitempty"`
	Blobs    int64     `json:"blobBytes"`     // as they are fetched
	Unpacked int64     `json:"unpackedBytes"` // as the program sees them
	Entries  int       `json:"entries"`
	Skipped  int       `json:"skippedDevices,omitempty"`
	Made     time.Time `json:"made"`
	Used     time.Time `json:"used"`
	InUse    bool      `json:"inUse"`
	Config   Config    `json:"config"`
	Layers   []string  `json:"layers,omitempty"`
	Root     string    `json:"root"`
}

// List returns the images of the cache, the last used first.
func (s *Store) List(ctx context.Context) ([]Info, error) {
	all, err := s.lock(ctx, "lock", unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer all.Close() //nolint:errcheck // Nothing was written.
	return s.list()
}

func (s *Store) list() ([]Info, error) {
	records, err := s.records()
	if err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(s.path("images"))
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	var list []Info
	for _, dir := range dirs {
		h, err := parseHash("sha256:" + dir.Name())
		if err != nil {
			continue // not of this program
		}
		m, err := s.readMeta(h)
		if err != nil || m == nil {
			return nil, errors.Join(err, errOf(m == nil, "image cache: %s has no image.json", dir.Name()))
		}
		info := Info{
			Refs: []string{}, Manifest: m.Manifest, Unpacked: m.Unpacked, Entries: m.Entries, Skipped: m.Skipped, Made: m.Made,
			Config: m.Config, Root: s.path("images", h.Hex, "rootfs"),
		}
		for i, b := range m.Blobs {
			info.Blobs += b.Size
			if i < len(m.Blobs)-2 { // the manifest and the configuration come last
				info.Layers = append(info.Layers, b.Digest)
			}
		}
		for _, r := range records {
			if r.Manifest == m.Manifest {
				if !slices.Contains(info.Refs, r.Ref) {
					info.Refs = append(info.Refs, r.Ref)
				}
				info.Digest = r.Digest
				info.Local = info.Local || r.Local
			}
		}
		if st, err := os.Stat(s.path("images", h.Hex, "image.json")); err == nil {
			info.Used = st.ModTime().UTC()
		}
		lock, err := s.tryLock(filepath.Join("locks", h.Hex))
		if err != nil {
			return nil, err
		}
		if info.InUse = lock == nil; lock != nil {
			if err := lock.Close(); err != nil {
				return nil, err
			}
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.Manifest, b.Manifest))
	})
	return list, nil
}

func errOf(failed bool, format string, args ...any) error {
	if !failed {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func (s *Store) records() ([]record, error) {
	files, err := os.ReadDir(s.path("refs"))
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	var list []record
	for _, f := range files {
		r, err := s.readRecord(f.Name())
		if err != nil {
			return nil, err
		}
		if r != nil {
			list = append(list, *r)
		}
	}
	slices.SortFunc(list, func(a, b record) int { return cmp.Compare(a.Ref, b.Ref) })
	return list, nil
}

// Inspect returns what is known of an image of the cache, by its reference or
// the digest of its manifest, which may be shortened.
func (s *Store) Inspect(ctx context.Context, ref string) (*Info, error) {
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	return find(list, ref)
}

// find looks an image up by reference or by the start of its digest.
func find(list []Info, ref string) (*Info, error) {
	digits, short := strings.CutPrefix(ref, "sha256:")
	full := ref
	if !short {
		r, err := ParseReference(ref)
		if err != nil {
			return nil, err
		}
		full = r.String()
	}
	var found *Info
	for i := range list {
		info := &list[i]
		if !short && slices.Contains(info.Refs, full) {
			return info, nil
		}
		if short && len(digits) >= 6 && (strings.HasPrefix(info.Manifest, ref) || strings.HasPrefix(info.Digest, ref)) {
			if found != nil {
				return nil, fmt.Errorf("image %s: several images start so", ref)
			}
			found = info
		}
	}
	if found == nil {
		return nil, fmt.Errorf("image %s: %w", full, ErrNotCached)
	}
	return found, nil
}

// ErrInUse says that an image cannot be removed while a program runs from it.
var ErrInUse = errors.New("the image is in use")

// Remove takes a name from an image, and removes the image with its last name or
// when it is named by its digest.
func (s *Store) Remove(ctx context.Context, ref string) error {
	all, err := s.lock(ctx, "lock", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer all.Close() //nolint:errcheck // Nothing was written.
	list, err := s.list()
	if err != nil {
		return err
	}
	info, err := find(list, ref)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(ref, "sha256:") && len(info.Refs) > 1 {
		r, err := ParseReference(ref)
		if err != nil {
			return err
		}
		return s.removeRecords(func(rec record) bool { return rec.Ref == r.String() })
	}
	if removed, err := s.removeImage(info); err != nil {
		return err
	} else if !removed {
		return fmt.Errorf("image %s: %w", ref, ErrInUse)
	}
	_, err = s.removeBlobs()
	return err
}

// Usage says what a cache holds.
type Usage struct {
	Images int   `json:"images"`
	Bytes  int64 `json:"bytes"`
}

// Collected says what GC did.
type Collected struct {
	Removed []string `json:"removed"` // digests of images
	Freed   int64    `json:"freedBytes"`
	Left    Usage    `json:"left"`
}

// GC removes what crashed processes left and what no image needs, images that no
// name leads to, images that were not used for unused (0: any time), and then
// those that were not used for longest until the cache has at most size bytes
// (below 0: no bound). Images in use stay, and those that were made here, which
// only Remove removes.
func (s *Store) GC(ctx context.Context, size int64, unused time.Duration) (*Collected, error) {
	all, err := s.lock(ctx, "lock", unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer all.Close() //nolint:errcheck // Nothing was written.
	return s.collect(size, unused)
}

// shrink brings the cache back to its size, unless another process is at work.
func (s *Store) shrink() error {
	all, err := s.tryLock("lock")
	if err != nil || all == nil {
		return err
	}
	defer all.Close() //nolint:errcheck // Nothing was written.
	usage, err := s.usage()
	if err != nil || usage.Bytes <= s.options.CacheSize {
		return err
	}
	_, err = s.collect(s.options.CacheSize, 0)
	return err
}

func (s *Store) usage() (Usage, error) {
	list, err := s.list()
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Images: len(list)}
	for _, i := range list {
		u.Bytes += i.Unpacked
	}
	blobs, err := os.ReadDir(s.path("blobs"))
	if err != nil {
		return u, fmt.Errorf("image cache: %w", err)
	}
	for _, b := range blobs {
		if info, err := b.Info(); err == nil {
			u.Bytes += info.Size()
		}
	}
	return u, nil
}

// collect is GC with the cache locked.
func (s *Store) collect(size int64, unused time.Duration) (*Collected, error) {
	left, err := os.ReadDir(s.path("tmp"))
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	for _, e := range left { // of processes that are no more: they would hold the lock
		if err := os.RemoveAll(s.path("tmp", e.Name())); err != nil {
			return nil, fmt.Errorf("image cache: %w", err)
		}
	}
	result := &Collected{Removed: []string{}}
	if result.Freed, err = s.removeBlobs(); err != nil {
		return nil, err
	}
	list, err := s.list()
	if err != nil {
		return nil, err
	}
	usage, err := s.usage()
	if err != nil {
		return nil, err
	}
	before := usage.Bytes
	slices.Reverse(list) // the longest unused first
	for i := range list {
		info := &list[i]
		old := unused > 0 && time.Since(info.Used) > unused
		over := size >= 0 && usage.Bytes > size
		if info.Local || len(info.Refs) > 0 && !old && !over {
			continue
		}
		removed, err := s.removeImage(info)
		if err != nil {
			return nil, err
		}
		if !removed {
			continue
		}
		result.Removed = append(result.Removed, info.Manifest)
		if _, err := s.removeBlobs(); err != nil {
			return nil, err
		}
		if usage, err = s.usage(); err != nil {
			return nil, err
		}
	}
	result.Freed += before - usage.Bytes
	result.Left = usage
	return result, nil
}

// removeImage removes an unpacked image and its names, unless it is in use.
func (s *Store) removeImage(info *Info) (bool, error) {
	h, err := parseHash(info.Manifest)
	if err != nil {
		return false, err
	}
	lock, err := s.tryLock(filepath.Join("locks", h.Hex))
	if err != nil || lock == nil {
		return false, err
	}
	defer lock.Close() //nolint:errcheck // Nothing was written.
	if err := s.removeRecords(func(r record) bool { return r.Manifest == info.Manifest }); err != nil {
		return false, err
	}
	gone := s.path("tmp", "gone-"+h.Hex)
	if err := os.Rename(s.path("images", h.Hex), gone); err != nil {
		return false, fmt.Errorf("image cache: %w", err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return false, fmt.Errorf("image cache: %w", err)
	}
	// Nobody can wait for these: who does holds the lock of the cache.
	return true, errors.Join(os.Remove(lock.Name()), removeIfThere(lock.Name()+".make"))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) removeRecords(match func(record) bool) error {
	records, err := s.records()
	if err != nil {
		return err
	}
	for _, r := range records {
		if match(r) {
			if err := removeIfThere(s.path("refs", recordName(r.Scope, r.Ref))); err != nil {
				return fmt.Errorf("image cache: %w", err)
			}
		}
	}
	return nil
}

// removeBlobs removes blobs that no image needs, and what scopes were let have
// of these.
func (s *Store) removeBlobs() (freed int64, err error) {
	needed := map[string]bool{}
	dirs, err := os.ReadDir(s.path("images"))
	if err != nil {
		return 0, fmt.Errorf("image cache: %w", err)
	}
	for _, dir := range dirs {
		m, err := s.readMeta(v1.Hash{Algorithm: "sha256", Hex: dir.Name()})
		if err != nil {
			return 0, err
		}
		if m != nil {
			for _, b := range m.Blobs {
				needed[strings.TrimPrefix(b.Digest, "sha256:")] = true
			}
		}
	}
	blobs, err := os.ReadDir(s.path("blobs"))
	if err != nil {
		return 0, fmt.Errorf("image cache: %w", err)
	}
	scopes, err := os.ReadDir(s.path("grants"))
	if err != nil {
		return 0, fmt.Errorf("image cache: %w", err)
	}
	for _, b := range blobs {
		if needed[b.Name()] {
			continue
		}
		if info, err := b.Info(); err == nil {
			freed += info.Size()
		}
		if err := os.Remove(s.path("blobs", b.Name())); err != nil {
			return freed, fmt.Errorf("image cache: %w", err)
		}
		for _, scope := range scopes {
			if err := removeIfThere(s.path("grants", scope.Name(), b.Name())); err != nil {
				return freed, fmt.Errorf("image cache: %w", err)
			}
		}
	}
	return freed, nil
}

// Stored returns an image of the cache in the form that tools for images take.
// It can be read until the Image is closed.
func (s *Store) Stored(i *Image) (v1.Image, error) {
	h, err := parseHash(i.Manifest)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Ref, err)
	}
	raw, err := s.readBlob(h, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	manifest, err := v1.ParseManifest(strings.NewReader(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Ref, err)
	}
	return partial.CompressedToImage(&storedImage{s, raw, manifest})
}

// storedImage implements partial.CompressedImageCore.
type storedImage struct {
	store *Store
	raw   []byte
	m     *v1.Manifest
}

func (i *storedImage) RawManifest() ([]byte, error) { return i.raw, nil }
func (i *storedImage) RawConfigFile() ([]byte, error) {
	return i.store.readBlob(i.m.Config.Digest, maxConfigBytes)
}

func (i *storedImage) MediaType() (types.MediaType, error) {
	if i.m.MediaType == "" {
		return types.OCIManifestSchema1, nil
	}
	return i.m.MediaType, nil
}

func (i *storedImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range i.m.Layers {
		if l.Digest == h {
			return &storedLayer{i.store, l}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

type storedLayer struct {
	store *Store
	d     v1.Descriptor
}

func (l *storedLayer) Digest() (v1.Hash, error)            { return l.d.Digest, nil }
func (l *storedLayer) Size() (int64, error)                { return l.d.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }
func (l *storedLayer) Compressed() (io.ReadCloser, error) {
	return os.Open(l.store.path("blobs", l.d.Digest.Hex))
}

// Push sends an image of the cache to the registry that its name has, and
// returns its digest there.
func (s *Store) Push(ctx context.Context, i *Image, ref string) (string, error) {
	r, err := ParseReference(ref)
	if err != nil {
		return "", err
	}
	if r.Kind != Registry || r.name.Context().RegistryStr() == localRegistry {
		return "", fmt.Errorf("push %s: it names no registry", r)
	}
	to, err := s.client.prepare(r.name)
	if err != nil {
		return "", err
	}
	image, err := s.Stored(i)
	if err != nil {
		return "", err
	}
	if err := remote.Write(to, image, s.client.options(ctx)...); err != nil {
		return "", fmt.Errorf("push: %w", registryError(to, err))
	}
	return i.Manifest, nil
}
