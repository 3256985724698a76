// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// DefaultCacheSize is the size of the cache above which a pull removes images
// that nobody used for longest.
const DefaultCacheSize = 20 << 30

// DefaultDir returns the folder of the cache: KONTAIN_IMAGE_DIR, or a folder of
// the user's caches.
func DefaultDir() (string, error) {
	if dir := os.Getenv("KONTAIN_IMAGE_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no folder for images (set KONTAIN_IMAGE_DIR): %w", err)
	}
	return filepath.Join(dir, "kontain", "images"), nil
}

// Options say how a Store works. The zero value has the defaults.
type Options struct {
	Registries Registries
	Limits     Limits
	// CacheSize is the size in bytes that a pull brings the cache back to; below
	// zero there is no bound, zero means DefaultCacheSize.
	CacheSize int64
	// Progress is told how many bytes of an image were fetched, from several
	// goroutines. total is 0 until it is known; done is total at the end.
	Progress func(ref string, done, total int64)
	// Warn is told what went wrong that the result does not suffer from.
	Warn func(message string)
}

// ownersFile is the name of the file beside a root that says whose its files are.
const ownersFile = "owners.json"

// Store is the cache of images on disk. Any number of processes may use one:
//
//	lock            held shared while an image is got, and alone while one is removed
//	blobs/HEX       manifests, configurations and layers by SHA-256
//	images/HEX/     image.json, owners.json and rootfs/ by the manifest's SHA-256
//	locks/HEX       held shared by who uses the image
//	refs/HEX.json   what a reference meant at the last successful pull
//	grants/S/HEX    blobs that scope S was let have
//	tmp/            what is being made
//
// Everything is made in tmp and renamed, so that what has its name is whole.
type Store struct {
	dir     string
	options Options
	client  *client
}

// Open opens the cache in dir, which is made when it is not there and is for
// this user alone.
func Open(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the image cache: %w", err)
	}
	o.Limits = o.Limits.withDefaults()
	if o.CacheSize == 0 {
		o.CacheSize = DefaultCacheSize
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	for _, sub := range []string{"blobs", "images", "locks", "refs", "grants", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open the image cache: %w", err)
		}
	}
	// Roots hold whatever the images do: not for other users to run or read.
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("open the image cache: %s belongs to user %d; --image-dir names another", dir, st.Uid)
	}
	if st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("open the image cache: others can write to %s; run chmod go-w on it", dir)
	}
	c, err := newClient(o.Registries)
	if err != nil {
		return nil, err
	}
	return &Store{dir, o, c}, nil
}

// Close frees connections. Images that were got stay.
func (s *Store) Close() error {
	s.client.close()
	return nil
}

// Dir returns the folder of the cache.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// lock waits for a lock file. kind is unix.LOCK_SH or LOCK_EX.
func (s *Store) lock(ctx context.Context, name string, kind int) (*os.File, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), kind|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("image cache: wait for another process: %w", context.Cause(ctx)), f.Close())
		case <-time.After(wait):
		}
	}
}

// tryLock takes a lock alone, or returns nil when somebody has it.
func (s *Store) tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, f.Close()
		}
		return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
	}
	return f, nil
}

// writeFile makes a file whole or not at all.
func (s *Store) writeFile(data []byte, parts ...string) error {
	f, err := os.CreateTemp(s.path("tmp"), "file-")
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path(parts...))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("image cache: %w", err)
	}
	return nil
}

func (s *Store) readBlob(h v1.Hash, most int64) ([]byte, error) {
	if err := checkHash(h); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path("blobs", h.Hex))
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	b, err := readBounded(f, f.Name(), most)
	if err == nil && hashOf(b) != h {
		err = fmt.Errorf("image cache: %s: %w", f.Name(), ErrDigest)
	}
	return b, err
}

// grant notes that a scope was let have a blob, and granted asks for it. A blob
// that another scope fetched is fetched again: knowing its digest is no right to
// it.
func (s *Store) grant(scope string, h v1.Hash) error {
	dir := s.path("grants", hashOf([]byte(scope)).Hex)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, h.Hex), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	return f.Close()
}

func (s *Store) granted(scope string, h v1.Hash) bool {
	for _, path := range []string{s.path("grants", hashOf([]byte(scope)).Hex, h.Hex), s.path("blobs", h.Hex)} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// putBlob stores what r has as d says it is.
func (s *Store) putBlob(ctx context.Context, scope string, d v1.Descriptor, r io.Reader, moved func(int64)) error {
	f, err := os.CreateTemp(s.path("tmp"), "blob-")
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	in := &hashedReader{r: contextReader{ctx, io.LimitReader(r, d.Size+1)}, hash: sha256.New(), moved: moved}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, in, make([]byte, 256<<10))
	switch got := hex.EncodeToString(in.hash.Sum(nil)); {
	case err != nil:
		err = fmt.Errorf("after %d of %d bytes: %w", n, d.Size, err)
	case n != d.Size:
		err = fmt.Errorf("%w: %d bytes are announced, and it has %s", ErrDigest, d.Size, atLeast(n, d.Size))
	case got != d.Digest.Hex:
		err = fmt.Errorf("%w: its content has sha256:%s", ErrDigest, got)
	default:
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.path("blobs", d.Digest.Hex)); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	return s.grant(scope, d.Digest)
}

func atLeast(n, size int64) string {
	if n > size {
		return "more"
	}
	return fmt.Sprint(n)
}

type hashedReader struct {
	r     io.Reader
	hash  hash.Hash
	moved func(int64)
}

func (h *hashedReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.hash.Write(p[:n])
	h.moved(int64(n))
	return n, err
}

// record is what a reference meant.
type record struct {
	Ref   string `json:"ref"`
	Scope string `json:"scope,omitempty"`
	// Digest is that of what the reference names, which may be an index.
	Digest string `json:"digest"`
	// Manifest is the digest of the image that it has for this machine.
	Manifest string    `json:"manifest"`
	Pulled   time.Time `json:"pulled"`
	Local    bool      `json:"local,omitempty"` // made here; no registry has it
}

func recordName(scope, ref string) string {
	return hashOf([]byte(scope+"\x00"+ref)).Hex + ".json"
}

func (s *Store) writeRecord(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.writeFile(data, "refs", recordName(r.Scope, r.Ref))
}

// findRecord returns nil when the reference was never pulled by the scope.
func (s *Store) findRecord(scope, ref string) (*record, error) {
	return s.readRecord(recordName(scope, ref))
}

func (s *Store) readRecord(name string) (*record, error) {
	data, err := os.ReadFile(s.path("refs", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	r := new(record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("image cache: %s: %w", s.path("refs", name), err)
	}
	if _, err := parseHash(r.Manifest); err != nil {
		return nil, fmt.Errorf("image cache: %s: %w", s.path("refs", name), err)
	}
	return r, nil
}

func parseHash(s string) (v1.Hash, error) {
	algorithm, digits, _ := strings.Cut(s, ":")
	h := v1.Hash{Algorithm: algorithm, Hex: digits}
	return h, checkHash(h)
}

// meta is image.json: what is known of an unpacked image.
type meta struct {
	Manifest string    `json:"manifest"`
	Made     time.Time `json:"made"`
	Unpacked int64     `json:"unpackedBytes"`
	Entries  int       `json:"entries"`
	Skipped  int       `json:"skippedDevices,omitempty"`
	Config   Config    `json:"config"`
	Blobs    []blobRef `json:"blobs"` // manifest, configuration and layers
}

type blobRef struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// readMeta returns nil when the image is not unpacked.
func (s *Store) readMeta(h v1.Hash) (*meta, error) {
	data, err := os.ReadFile(s.path("images", h.Hex, "image.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	m := new(meta)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("image cache: %s: %w", s.path("images", h.Hex), err)
	}
	return m, nil
}
