// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Limits bound what an image may hold. A zero field means its default.
type Limits struct {
	Unpacked int64 // bytes of files in the root
	Blob     int64 // bytes of one layer as it is fetched
	Entries  int   // files, folders and links in all layers
	Depth    int   // folders above a file
	Layers   int
	// Ratio is how many bytes one fetched byte may become, once a layer is
	// larger than 64 MiB.
	Ratio int64
}

// The default limits.
const (
	DefaultUnpacked = 16 << 30
	DefaultBlob     = 8 << 30
	DefaultEntries  = 1 << 20
	DefaultDepth    = 128
	DefaultLayers   = 256
	DefaultRatio    = 250

	ratioFrom  = 64 << 20
	maxPath    = 4095     // PATH_MAX without its NUL
	maxName    = 255      // NAME_MAX
	maxPadding = 16 << 20 // after the end of a layer's archive
	maxWindow  = 128 << 20
)

func (l Limits) withDefaults() Limits {
	set := func(p *int64, value int64) {
		if *p <= 0 {
			*p = value
		}
	}
	count := func(p *int, value int) {
		if *p <= 0 {
			*p = value
		}
	}
	set(&l.Unpacked, DefaultUnpacked)
	set(&l.Blob, DefaultBlob)
	set(&l.Ratio, DefaultRatio)
	count(&l.Entries, DefaultEntries)
	count(&l.Depth, DefaultDepth)
	count(&l.Layers, DefaultLayers)
	return l
}

// LayerError says what is wrong with a layer, or with one entry of it.
type LayerError struct {
	Layer string // digest
	Entry string // name in the layer; empty when the layer as a whole is meant
	Err   error
}

func (e *LayerError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("layer %s: %v", e.Layer, e.Err)
	}
	return fmt.Sprintf("layer %s: entry %q: %v", e.Layer, clip(e.Entry), e.Err)
}

func (e *LayerError) Unwrap() error { return e.Err }

// ErrTooLarge says that an image passes one of its Limits.
var ErrTooLarge = errors.New("the image is larger than it may be")

func tooLarge(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...))
}

// Fact is what an entry says that the host's files do not: without privilege they
// cannot have any owner, nor a mode that refuses access to whoever unpacks them.
type Fact struct {
	Path string `json:"path"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode uint32 `json:"mode"` // permission bits; that of a folder with the sticky one
}

// owners is owners.json, which vmexec.ImageRoot takes.
type owners struct {
	// UID and GID of files on the host stand for user and group 0.
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Files []Fact `json:"files"`
}

// unpacker applies layers to a folder.
type unpacker struct {
	root   *rootDir
	real   string // what the host calls the root
	limits Limits
	chown  bool // owners can be set

	facts   map[string]Fact
	times   map[string]time.Time // of folders: set last, what is put into them changes them
	bytes   int64
	entries int
	skipped int // devices, pipes

	layer  string          // digest of the current layer
	fresh  map[string]bool // what the current layer made; true: a folder
	buffer []byte

	// The folder of the last entry: most entries follow their neighbours.
	lastDir   string
	lastFD    int
	lastCanon string
}

func newUnpacker(dir string, limits Limits) (*unpacker, error) {
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	real, err := canonical(root.fd)
	if err != nil {
		root.close()
		return nil, err
	}
	return &unpacker{
		root: root, real: real, limits: limits.withDefaults(), chown: os.Geteuid() == 0,
		facts: map[string]Fact{}, times: map[string]time.Time{}, buffer: make([]byte, 256<<10), lastFD: -1,
	}, nil
}

func (u *unpacker) close() {
	u.forget()
	u.root.close()
}

// canonical returns the host's path of an open folder.
func canonical(fd int) (string, error) {
	s, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", fmt.Errorf("path of an open folder: %w", err)
	}
	return s, nil
}

// apply puts one layer over what is there. blob is the layer as it was fetched;
// its digest is the caller's to check.
func (u *unpacker) apply(ctx context.Context, digest, diffID v1.Hash, blob io.Reader) (err error) {
	u.layer = digest.String()
	u.fresh = map[string]bool{}
	fail := func(err error) error { return &LayerError{Layer: u.layer, Err: err} }
	in := &counter{r: blob}
	plain, closePlain, err := decompress(in)
	if err != nil {
		return fail(err)
	}
	defer closePlain()
	out := &inflated{r: plain, in: in, ratio: u.limits.Ratio, most: u.limits.Unpacked + u.limits.Unpacked/4 + 64<<20, hash: sha256.New()}
	archive := tar.NewReader(out)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fail(fmt.Errorf("read the archive: %w", err))
		}
		if err := u.entry(header, archive); err != nil {
			return &LayerError{Layer: u.layer, Entry: header.Name, Err: err}
		}
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(out, maxPadding+1)); err != nil {
		return fail(fmt.Errorf("read the end of the archive: %w", err))
	} else if n > maxPadding {
		return fail(tooLarge("more than %d bytes follow the archive", maxPadding))
	}
	if got := hex.EncodeToString(out.hash.Sum(nil)); got != diffID.Hex {
		return fail(fmt.Errorf("its content has the digest sha256:%s, and the image's configuration says %s", got, diffID))
	}
	return nil
}

// decompress finds out how a layer is compressed by its first bytes: media
// types are often wrong.
func decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", err)
		}
		return z, func() { _ = z.Close() }, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// inflated is a layer's plain bytes: bounded and hashed.
type inflated struct {
	r     io.Reader
	in    *counter
	n     int64
	ratio int64
	most  int64
	hash  hash.Hash
}

func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	i.n += int64(n)
	i.hash.Write(p[:n])
	switch {
	case i.n > i.most:
		return 0, tooLarge("its layers unpack to more than %d bytes", i.most)
	case i.n > ratioFrom && i.in.n > 0 && i.n/i.in.n > i.ratio:
		return 0, tooLarge("%d bytes became more than %d times as many", i.in.n, i.ratio)
	}
	return n, err
}

// Names of the OCI image specification that hide what lower layers have:
// https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// cleanName returns an entry's path from the root without a first slash, and
// empty for the root itself.
func (u *unpacker) cleanName(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", errors.New("its name contains a NUL byte")
	}
	if len(name) > maxPath {
		return "", tooLarge("the name is longer than %d bytes", maxPath)
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", errors.New(`its name contains ".."`)
		case len(part) > maxName:
			return "", tooLarge("a part of the name is longer than %d bytes", maxName)
		case part != "" && part != ".":
			depth++
		}
	}
	if depth > u.limits.Depth {
		return "", tooLarge("more than %d folders in one another", u.limits.Depth)
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if u.entries++; u.entries > u.limits.Entries {
		return tooLarge("more than %d entries", u.limits.Entries)
	}
	name, err := u.cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.Uid < 0 || h.Gid < 0 || h.Uid >= math.MaxUint32 || h.Gid >= math.MaxUint32 {
		return fmt.Errorf("owner %d:%d is none", h.Uid, h.Gid)
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("it would replace the root itself")
		}
		return u.attributes(u.root.fd, ".", "", h)
	}
	dir, base := path.Split(name)
	parent, canon, err := u.parent(strings.TrimSuffix(dir, "/"), true)
	if err != nil {
		return err
	}
	full := path.Join(canon, base)
	if base == opaque {
		return u.hideLower(parent, canon)
	}
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		if hidden == "" || hidden == "." || hidden == ".." || strings.HasPrefix(hidden, whiteout) {
			return errors.New("it hides nothing that can exist")
		}
		full = path.Join(canon, hidden)
		if _, ok := u.fresh[full]; ok {
			return nil
		}
		return u.remove(parent, hidden, full)
	}
	if wasDir, twice := u.fresh[full]; twice && (!wasDir || h.Typeflag != tar.TypeDir) {
		return errors.New("it is in the layer twice")
	}
	return u.create(parent, base, full, h, content)
}

func (u *unpacker) create(parent int, base, full string, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		var st unix.Stat_t
		err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			err = u.remove(parent, base, full)
			if err == nil {
				err = unix.ENOENT
			}
		}
		if errors.Is(err, unix.ENOENT) {
			err = os.NewSyscallError("mkdirat", unix.Mkdirat(parent, base, 0o700))
		}
		if err != nil {
			return err
		}
		u.fresh[full] = true
		u.times[full] = h.ModTime
		return u.attributes(parent, base, full, h)
	}

	var target int
	var targetBase string
	if h.Typeflag == tar.TypeLink { // before anything is removed: it may be itself
		name, err := u.cleanName(h.Linkname)
		if err != nil || name == "" {
			return fmt.Errorf("a hard link to %q: %w", clip(h.Linkname), errors.Join(err, errBadTarget))
		}
		dir, base := path.Split(name)
		if strings.HasPrefix(base, whiteout) {
			return fmt.Errorf("a hard link to %q: %w", clip(h.Linkname), errBadTarget)
		}
		if target, err = u.root.open(strings.TrimSuffix(dir, "/"), unix.O_PATH|unix.O_DIRECTORY); err != nil {
			return fmt.Errorf("a hard link to %q: %w", clip(h.Linkname), err)
		}
		defer unix.Close(target)
		var st unix.Stat_t
		if err := unix.Fstatat(target, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("a hard link to %q: %w", clip(h.Linkname), err)
		}
		if t := st.Mode & unix.S_IFMT; t != unix.S_IFREG && t != unix.S_IFLNK {
			return fmt.Errorf("a hard link to %q: %w", clip(h.Linkname), errBadTarget)
		}
		targetBase = base
	}
	if err := u.remove(parent, base, full); err != nil {
		return err
	}
	u.fresh[full] = false
	delete(u.facts, full)

	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(parent, base, full, h, content)
	case tar.TypeSymlink:
		if len(h.Linkname) > maxPath || h.Linkname == "" || strings.ContainsRune(h.Linkname, 0) {
			return errors.New("the target of a symbolic link is empty, too long or has a NUL byte")
		}
		if err := unix.Symlinkat(h.Linkname, parent, base); err != nil {
			return os.NewSyscallError("symlinkat", err)
		}
		return u.attributes(parent, base, full, h)
	case tar.TypeLink:
		if err := unix.Linkat(target, targetBase, parent, base, 0); err != nil {
			return os.NewSyscallError("linkat", err)
		}
		host, err := canonical(target)
		if err != nil {
			return err
		}
		if fact, ok := u.facts[path.Join(strings.TrimPrefix(strings.TrimPrefix(host, u.real), "/"), targetBase)]; ok {
			fact.Path = full
			u.facts[full] = fact
		}
		return nil
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		// A machine has devices of its own, and never one of the host's.
		u.skipped++
		return nil
	}
	return fmt.Errorf("entries of type %q are not known", h.Typeflag)
}

var errBadTarget = errors.New("it is no file that can be linked to")

func (u *unpacker) file(parent int, base, full string, h *tar.Header, content io.Reader) error {
	if h.Size < 0 || h.Size > u.limits.Unpacked-u.bytes {
		return tooLarge("more than %d bytes in all", u.limits.Unpacked)
	}
	u.bytes += h.Size
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), base)
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, content, u.buffer)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("write %d bytes: %w", h.Size, err)
	}
	return u.attributes(parent, base, full, h)
}

// attributes sets owner, mode and time of an entry, and notes what of these
// cannot be set.
func (u *unpacker) attributes(parent int, base, full string, h *tar.Header) error {
	mode := uint32(h.Mode) & 0o777
	if h.Typeflag == tar.TypeDir {
		mode |= uint32(h.Mode) & unix.S_ISVTX
	}
	fact := Fact{Path: full, UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: mode}
	lost := false
	if u.chown {
		err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
			return os.NewSyscallError("fchownat", err)
		}
		lost = err != nil
	} else {
		lost = h.Uid != 0 || h.Gid != 0 // whose they are on the host stands for user 0
	}
	if h.Typeflag != tar.TypeSymlink {
		host := mode
		if !u.chown { // whoever reads the cache has no privilege to do it with
			host |= 0o600
		}
		if h.Typeflag == tar.TypeDir {
			host |= 0o700
		}
		if err := unix.Fchmodat(parent, base, host, 0); err != nil {
			return os.NewSyscallError("fchmodat", err)
		}
		lost = lost || host != mode
	}
	if delete(u.facts, full); lost {
		u.facts[full] = fact
	}
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	return setTime(parent, base, h.ModTime)
}

func setTime(parent int, base string, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil || t.Year() < 1970 || t.Year() > 2400 {
		ts = unix.Timespec{}
	}
	err = unix.UtimesNanoAt(parent, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	return os.NewSyscallError("utimensat", err)
}

// parent opens the folder of an entry, makes what is missing of it, and returns
// its path without links. The descriptor is the unpacker's.
func (u *unpacker) parent(dir string, create bool) (int, string, error) {
	if dir == "" {
		u.forget() // the entry may replace what is on the way to it
		return u.root.fd, "", nil
	}
	if dir == u.lastDir && u.lastFD >= 0 {
		return u.lastFD, u.lastCanon, nil
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(u.root.fd, dir, &how)
	canon := dir
	if err != nil {
		// A link on the way, or nothing there.
		fd, err = u.root.open(dir, unix.O_PATH|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) && create {
			if err := u.makeDir(dir); err != nil {
				return -1, "", err
			}
			fd, err = u.root.open(dir, unix.O_PATH|unix.O_DIRECTORY)
		}
		if err != nil {
			return -1, "", fmt.Errorf("its folder /%s: %w", clip(dir), err)
		}
		host, err := canonical(fd)
		if err == nil && host != u.real && !strings.HasPrefix(host, u.real+"/") {
			err = errors.New("it is outside the root")
		}
		if err != nil {
			unix.Close(fd)
			return -1, "", fmt.Errorf("its folder /%s: %w", clip(dir), err)
		}
		// Links to links could otherwise build what no tool can remove.
		canon = strings.TrimPrefix(strings.TrimPrefix(host, u.real), "/")
		if strings.Count(canon, "/")+2 > u.limits.Depth || len(canon) > maxPath-maxName {
			unix.Close(fd)
			return -1, "", tooLarge("more than %d folders in one another", u.limits.Depth)
		}
	}
	u.forget()
	u.lastDir, u.lastFD, u.lastCanon = dir, fd, canon
	return fd, canon, nil
}

// makeDir makes a folder that no entry described, and those above it.
func (u *unpacker) makeDir(dir string) error {
	above, base := path.Split(dir)
	parent, canon, err := u.parent(strings.TrimSuffix(above, "/"), true)
	if err != nil {
		return err
	}
	if err := unix.Mkdirat(parent, base, 0o755); err != nil {
		return fmt.Errorf("its folder /%s: %w", clip(dir), os.NewSyscallError("mkdirat", err))
	}
	full := path.Join(canon, base)
	delete(u.facts, full)
	u.fresh[full] = true
	u.times[full] = time.Unix(0, 0)
	return os.NewSyscallError("fchmodat", unix.Fchmodat(parent, base, 0o755, 0))
}

// forget closes the folder that is kept open: it may be there no longer.
func (u *unpacker) forget() {
	if u.lastFD >= 0 {
		unix.Close(u.lastFD)
	}
	u.lastDir, u.lastFD = "", -1
}

// remove removes a file or a folder with all in it; it may be absent.
func (u *unpacker) remove(parent int, base, full string) error {
	err := unix.Unlinkat(parent, base, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.EPERM):
		if err = u.removeLower(parent, base, full, false); err == nil {
			err = unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
		}
		delete(u.times, full)
	}
	delete(u.facts, full)
	return os.NewSyscallError("unlinkat", err)
}

// hideLower removes what lower layers have in a folder.
func (u *unpacker) hideLower(dir int, full string) error {
	return u.removeLower(dir, ".", full, true)
}

// removeLower empties the folder base of parent; with keepFresh what the current
// layer made stays.
func (u *unpacker) removeLower(parent int, base, full string, keepFresh bool) error {
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close() //nolint:errcheck // Nothing was written.
	names, err := f.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("read a folder: %w", err)
	}
	for _, e := range names {
		child := path.Join(full, e.Name())
		isDir, fresh := u.fresh[child]
		if keepFresh && fresh {
			if isDir {
				if err := u.removeLower(fd, e.Name(), child, true); err != nil {
					return err
				}
			}
			continue
		}
		if e.Type() == fs.ModeDir {
			if err := u.removeLower(fd, e.Name(), child, false); err != nil {
				return err
			}
			err = unix.Unlinkat(fd, e.Name(), unix.AT_REMOVEDIR)
			delete(u.times, child)
		} else {
			err = unix.Unlinkat(fd, e.Name(), 0)
		}
		if err != nil {
			return os.NewSyscallError("unlinkat", err)
		}
		delete(u.facts, child)
		delete(u.fresh, child)
	}
	return nil
}

// finish makes the working directory, which may be in no layer, and sets the
// times of the folders.
func (u *unpacker) finish(workingDir string) error {
	u.fresh = map[string]bool{}
	if dir, err := u.cleanName(workingDir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	} else if dir != "" {
		if _, _, err := u.parent(dir, true); err != nil {
			return fmt.Errorf("working directory: %w", err)
		}
	}
	for full, t := range u.times {
		dir, base := path.Split(full)
		parent, _, err := u.parent(strings.TrimSuffix(dir, "/"), false)
		if err == nil {
			err = setTime(parent, base, t)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
	}
	return nil
}

// owners returns the facts by path.
func (u *unpacker) owners() owners {
	o := owners{Files: slices.Collect(maps.Values(u.facts))}
	if !u.chown {
		o.UID, o.GID = os.Geteuid(), os.Getegid()
	}
	slices.SortFunc(o.Files, func(a, b Fact) int { return strings.Compare(a.Path, b.Path) })
	return o
}
