// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// Policy is when a registry is asked; the words are those of Kubernetes.
type Policy string

const (
	// Always asks the registry what the reference means now. When it cannot be
	// reached, what it meant before is used, with a warning.
	Always Policy = "Always"
	// IfNotPresent asks the registry only for what the cache has not.
	IfNotPresent Policy = "IfNotPresent"
	// Never asks no registry.
	Never Policy = "Never"
)

// Errors of Get, besides those of registries.
var (
	// ErrNotCached says that an image must be pulled first.
	ErrNotCached = errors.New("the image is not in the cache")
	// ErrBadImage says that an image is broken, hostile or of another platform.
	ErrBadImage = errors.New("the image cannot be used")
)

// Request asks for an image.
type Request struct {
	Ref    string
	Policy Policy // empty: IfNotPresent
	// Scope is who asks: what one scope pulled is no answer to another, who may
	// not be allowed to have it. In a cluster it is made of the namespace and
	// the credentials. Empty is the user of this machine.
	Scope string
}

// Image is an image that is unpacked and stays so until it is closed.
type Image struct {
	// Ref is the reference in full.
	Ref string
	// Digest is that of what the reference names, an image or an index; empty
	// for a folder.
	Digest string
	// Manifest is the digest of the image that it has for this machine.
	Manifest string
	// Config is what the image says about how it is run.
	Config Config
	// Root is the folder that holds its files. It must not be written to.
	Root string
	// Owners is a file that says whose the files are, for vmexec.ImageRoot; empty for
	// a folder, whose files are those of the host's users.
	Owners string

	lock *os.File
}

// Close gives the image back: it may be removed from the cache from then on.
func (i *Image) Close() error {
	if i == nil || i.lock == nil {
		return nil
	}
	err := i.lock.Close()
	i.lock = nil
	return err
}

// Share returns the same image once more: it stays until both are closed.
func (i *Image) Share() (*Image, error) {
	shared := *i
	if i.lock == nil {
		return &shared, nil
	}
	// A lock of flock(2) is the open file's, which both descriptors have.
	fd, err := unix.FcntlInt(i.lock.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
	}
	shared.lock = os.NewFile(uintptr(fd), i.lock.Name())
	return &shared, nil
}

// Get returns the image that a reference names, from the cache or its origin. A
// folder is used where it is and not copied.
func (s *Store) Get(ctx context.Context, r Request) (_ *Image, err error) {
	ref, err := ParseReference(r.Ref)
	if err != nil {
		return nil, err
	}
	if ref.Kind == Folder {
		return folderImage(ref)
	}
	all, err := s.lock(ctx, "lock", unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	image, fetched, err := s.get(ctx, ref, r)
	err = errors.Join(err, all.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("image %s: %w", ref, err), image.Close())
	}
	if fetched && s.options.CacheSize > 0 {
		if err := s.shrink(); err != nil {
			s.options.Warn(err.Error())
		}
	}
	return image, nil
}

func folderImage(ref Reference) (*Image, error) {
	info, err := os.Stat(ref.Path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("image %s: it is not a folder", ref)
	}
	return &Image{Ref: ref.String(), Root: ref.Path, Config: Config{WorkingDir: "/"}}, nil
}

// get finds or fetches an image. The cache is locked.
func (s *Store) get(ctx context.Context, ref Reference, r Request) (_ *Image, fetched bool, err error) {
	rec := record{Ref: ref.String(), Scope: r.Scope}
	var from source
	switch ref.Kind {
	case Layout:
		layout, err := openLayout(ref)
		if err != nil {
			return nil, false, err
		}
		defer func() { err = errors.Join(err, layout.close()) }()
		from, rec.Local = layout, true
	case Archive:
		archive, err := openArchive(ctx, ref)
		if err != nil {
			return nil, false, err
		}
		defer func() { err = errors.Join(err, archive.close()) }()
		from, rec.Local = archive, true
	default:
		known, err := s.findRecord(r.Scope, rec.Ref)
		if err != nil {
			return nil, false, err
		}
		var cached *Image
		if known != nil {
			if cached, err = s.cached(ctx, known); err != nil {
				return nil, false, err
			}
		}
		local := ref.name.Context().RegistryStr() == localRegistry
		switch {
		case cached != nil && (r.Policy != Always || ref.ByDigest() || local):
			return cached, false, nil
		case local:
			return nil, false, fmt.Errorf("%w; images of %s are made by kontain build and kontain image import", ErrNotCached, localRegistry)
		case r.Policy == Never:
			return nil, false, fmt.Errorf("%w, and imagePullPolicy is Never; kontain image pull fetches it", ErrNotCached)
		}
		image, err := s.pull(ctx, ref, rec)
		if err != nil && cached != nil && Temporary(err) && ctx.Err() == nil {
			s.options.Warn(fmt.Sprintf("image %s: what it meant at %s is used, because the registry cannot say what it means now: %v",
				ref, known.Pulled.UTC().Format(time.RFC3339), err))
			return cached, false, nil
		}
		return image, true, errors.Join(err, cached.Close())
	}
	image, err := s.fetch(ctx, from, rec)
	return image, true, err
}

// localRegistry is the host of images that no registry has.
const localRegistry = "localhost"

// pull fetches an image from its registry.
func (s *Store) pull(ctx context.Context, ref Reference, rec record) (*Image, error) {
	from, err := s.client.source(ref.name)
	if err != nil {
		return nil, err
	}
	return s.fetch(ctx, from, rec)
}

// cached returns the image of a record, or nil when it is there no longer.
func (s *Store) cached(ctx context.Context, rec *record) (*Image, error) {
	h, err := parseHash(rec.Manifest)
	if err != nil {
		return nil, err
	}
	m, err := s.readMeta(h)
	if err != nil || m == nil {
		return nil, err
	}
	return s.use(ctx, rec, m, h)
}

// use holds an unpacked image.
func (s *Store) use(ctx context.Context, rec *record, m *meta, h v1.Hash) (*Image, error) {
	lock, err := s.lock(ctx, filepath.Join("locks", h.Hex), unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if err := os.Chtimes(s.path("images", h.Hex, "image.json"), now, now); err != nil {
		s.options.Warn(fmt.Sprintf("image cache: the use of an image is not noted: %v", err))
	}
	i := &Image{
		Ref: rec.Ref, Digest: rec.Digest, Manifest: rec.Manifest, Config: m.Config,
		Root: s.path("images", h.Hex, "rootfs"), Owners: s.path("images", h.Hex, ownersFile), lock: lock,
	}
	if _, err := os.Stat(i.Owners); errors.Is(err, os.ErrNotExist) {
		i.Owners = "" // unpacked by a build that did not write it
	}
	return i, nil
}

// fetch brings an image of a source into the cache and notes what the reference
// means.
func (s *Store) fetch(ctx context.Context, from source, rec record) (*Image, error) {
	named, d, manifest, raw, err := resolve(ctx, from)
	if err != nil {
		return nil, err
	}
	if err := s.checkManifest(manifest); err != nil {
		return nil, fmt.Errorf("manifest %s: %w: %w", d.Digest, ErrBadImage, err)
	}
	making, err := s.lock(ctx, filepath.Join("locks", d.Digest.Hex+".make"), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer making.Close() //nolint:errcheck // Nothing was written; the lock goes with the descriptor.

	file, config, err := s.fetchBlobs(ctx, from, rec, d, manifest, raw)
	if err != nil {
		return nil, err
	}
	m, err := s.readMeta(d.Digest)
	if err != nil {
		return nil, err
	}
	if m == nil {
		if m, err = s.unpack(ctx, d, manifest, file, config); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadImage, err)
		}
	}
	rec.Digest, rec.Manifest, rec.Pulled = named.String(), d.Digest.String(), time.Now().UTC()
	if err := s.writeRecord(rec); err != nil {
		return nil, err
	}
	return s.use(ctx, &rec, m, d.Digest)
}

// checkManifest bounds what a manifest announces, before anything is fetched.
func (s *Store) checkManifest(m *v1.Manifest) error {
	if n := len(m.Layers); n > s.options.Limits.Layers {
		return tooLarge("%d layers, more than %d", n, s.options.Limits.Layers)
	}
	if m.Config.Size > maxConfigBytes {
		return tooLarge("the configuration has %d bytes, more than %d", m.Config.Size, maxConfigBytes)
	}
	if err := checkHash(m.Config.Digest); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	total := int64(0)
	for i, d := range m.Layers {
		if err := checkHash(d.Digest); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if d.Size < 0 || d.Size > s.options.Limits.Blob {
			return fmt.Errorf("layer %s: %w", d.Digest, tooLarge("it has %d bytes, more than %d", d.Size, s.options.Limits.Blob))
		}
		if total += d.Size; total > s.options.Limits.Unpacked {
			return tooLarge("the layers have more than %d bytes", s.options.Limits.Unpacked)
		}
	}
	if m.Config.Size < 0 {
		return errors.New("the configuration has a negative size")
	}
	return nil
}

// parallelFetches is how many layers are fetched at once.
const parallelFetches = 3

// fetchBlobs brings what the scope was not let have yet.
func (s *Store) fetchBlobs(ctx context.Context, from source, rec record, d v1.Descriptor, m *v1.Manifest, raw []byte) (*v1.ConfigFile, Config, error) {
	var none Config
	if err := s.writeFile(raw, "blobs", d.Digest.Hex); err != nil {
		return nil, none, err
	}
	if err := s.grant(rec.Scope, d.Digest); err != nil {
		return nil, none, err
	}
	wanted := []v1.Descriptor{m.Config}
	seen := map[v1.Hash]bool{m.Config.Digest: true}
	total := m.Config.Size
	for _, l := range m.Layers {
		if !seen[l.Digest] {
			seen[l.Digest] = true
			wanted = append(wanted, l)
			total += l.Size
		}
	}
	var done atomic.Int64
	moved := func(n int64) { s.options.Progress(rec.Ref, done.Add(n), total) }
	fetch := func(ctx context.Context, d v1.Descriptor) error {
		if s.granted(rec.Scope, d.Digest) {
			moved(d.Size)
			return nil
		}
		return s.fetchBlob(ctx, from, rec.Scope, d, moved)
	}

	// The configuration first: an image for another platform costs no layer.
	if err := fetch(ctx, m.Config); err != nil {
		return nil, none, fmt.Errorf("configuration %s: %w", m.Config.Digest, err)
	}
	rawConfig, err := s.readBlob(m.Config.Digest, maxConfigBytes)
	if err != nil {
		return nil, none, err
	}
	file, config, err := parseConfig(rawConfig)
	if err == nil && len(file.RootFS.DiffIDs) != len(m.Layers) {
		err = fmt.Errorf("it lists %d layers, and the manifest %d", len(file.RootFS.DiffIDs), len(m.Layers))
	}
	if err != nil {
		return nil, none, fmt.Errorf("%w: configuration %s: %w", ErrBadImage, m.Config.Digest, err)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, parallelFetches)
	var running sync.WaitGroup
	for _, d := range wanted[1:] {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := fetch(ctx, d); err != nil {
				cancel(fmt.Errorf("layer %s: %w", d.Digest, err))
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, none, err
	}
	return file, config, nil
}

// fetchBlob fetches and checks one blob, again when its transfer breaks off.
func (s *Store) fetchBlob(ctx context.Context, from source, scope string, d v1.Descriptor, moved func(int64)) error {
	back := s.client.Backoff
	for wait := back.Duration; ; wait = time.Duration(float64(wait) * back.Factor) {
		sent := int64(0)
		body, err := from.blob(ctx, d)
		if err == nil {
			err = s.putBlob(ctx, scope, d, body, func(n int64) { sent += n; moved(n) })
			err = errors.Join(err, body.Close())
		}
		back.Steps--
		if err == nil || back.Steps <= 0 || !Temporary(err) || ctx.Err() != nil {
			return err
		}
		moved(-sent)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// unpack applies the layers in a folder of its own and gives that its name.
func (s *Store) unpack(ctx context.Context, d v1.Descriptor, manifest *v1.Manifest, file *v1.ConfigFile, config Config) (_ *meta, err error) {
	dir, err := os.MkdirTemp(s.path("tmp"), "image-")
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(rootfs, 0o755); err != nil { //nolint:gosec // A program's root is shown to it with its mode; the folder above is private.
		return nil, fmt.Errorf("image cache: %w", err)
	}
	u, err := newUnpacker(rootfs, s.options.Limits)
	if err != nil {
		return nil, err
	}
	defer u.close()
	m := &meta{Manifest: d.Digest.String(), Made: time.Now().UTC(), Config: config}
	for i, l := range manifest.Layers {
		if err := s.applyBlob(ctx, u, l.Digest, file.RootFS.DiffIDs[i]); err != nil {
			return nil, err
		}
		m.Blobs = append(m.Blobs, blobRef{l.Digest.String(), l.Size})
	}
	if err := u.finish(config.WorkingDir); err != nil {
		return nil, err
	}
	m.Blobs = append(m.Blobs, blobRef{d.Digest.String(), d.Size}, blobRef{manifest.Config.Digest.String(), manifest.Config.Size})
	m.Unpacked, m.Entries, m.Skipped = u.bytes, u.entries, u.skipped
	for name, v := range map[string]any{"image.json": m, ownersFile: u.owners()} {
		data, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("image cache: %w", err)
		}
	}
	// After a loss of power the name must not lead to files without content.
	if err := syncFS(dir); err != nil {
		return nil, err
	}
	if err := os.Rename(dir, s.path("images", d.Digest.Hex)); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	return m, nil
}

func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	return errors.Join(os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd()))), f.Close())
}

// applyBlob applies a layer. A blob that is not what it was, as after a failure
// of the disk, is dropped, so that the next attempt fetches it.
func (s *Store) applyBlob(ctx context.Context, u *unpacker, digest, diffID v1.Hash) error {
	f, err := os.Open(s.path("blobs", digest.Hex))
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	err = u.apply(ctx, digest, diffID, f)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, e := f.Seek(0, 0); e == nil {
		if h, e := hashReader(ctx, f); e == nil && h != digest {
			return errors.Join(err, ErrDigest, os.Remove(f.Name()))
		}
	}
	return err
}

// Put brings an image that was made here into the cache under a name, which must
// be a tag.
func (s *Store) Put(ctx context.Context, ref string, made v1.Image) (*Image, error) {
	r, err := ParseReference(ref)
	if err != nil {
		return nil, err
	}
	if _, ok := r.name.(name.Tag); !ok {
		return nil, fmt.Errorf("image %s: a name with a tag is needed", ref)
	}
	all, err := s.lock(ctx, "lock", unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	image, err := s.fetch(ctx, &madeSource{made}, record{Ref: r.String(), Local: true})
	err = errors.Join(err, all.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("image %s: %w", r, err), image.Close())
	}
	return image, nil
}
