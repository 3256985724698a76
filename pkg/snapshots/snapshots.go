// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package snapshots keeps snapshots of programs in a folder: each under the digest
// of what it depends on, so that one that fits is found and one that does not is
// never met. Several processes may use a folder at once.
package snapshots

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// DirVariable names the environment variable with the folder to use.
const DirVariable = "KONTAIN_SNAPSHOT_DIR"

// DefaultSize is the most bytes that a folder keeps.
const DefaultSize = 10 << 30

const (
	suffix = ".snapshot"
	// maxUnused is how long a snapshot is kept that nobody uses, and maxForeign one
	// that another build of kontain wrote: after an upgrade nobody will read it.
	maxUnused  = 30 * 24 * time.Hour
	maxForeign = 24 * time.Hour
)

// DefaultDir returns the folder of this user: that of KONTAIN_SNAPSHOT_DIR, or
// kontain/snapshots in the user's cache.
func DefaultDir() (string, error) {
	if dir := os.Getenv(DirVariable); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for snapshots is known: %w; set %s", err, DirVariable)
	}
	return filepath.Join(cache, "kontain", "snapshots"), nil
}

// Store is a folder of snapshots. Its methods may be called from several
// goroutines.
type Store struct {
	dir  string
	size int64
}

// Open returns the store in a folder, which is made when there is none, and keeps
// at most size bytes there. The folder must be this user's and nobody else's: what
// is in it is run, and holds what programs had in memory.
func Open(dir string, size int64) (*Store, error) {
	if size <= 0 {
		return nil, fmt.Errorf("folder for snapshots %s: a size of %d bytes leaves no room", dir, size)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("folder for snapshots %s: %w", dir, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for snapshots: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(abs, &st); err != nil {
		return nil, fmt.Errorf("folder for snapshots %s: %w", abs, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fmt.Errorf("folder for snapshots %s: it is not a folder", abs)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("folder for snapshots %s: it belongs to user %d and not to this one, %d; name one of your own", abs, st.Uid, os.Geteuid())
	case st.Mode&0o077 != 0:
		return nil, fmt.Errorf("folder for snapshots %s: others may use it (mode %04o); chmod 700 it, or name another", abs, st.Mode&0o7777)
	}
	return &Store{dir: abs, size: size}, nil
}

// Dir returns the folder.
func (s *Store) Dir() string { return s.dir }

// Path returns the file of a snapshot with the key of vmexec.Host.SnapshotKey.
func (s *Store) Path(key string) string { return filepath.Join(s.dir, key+suffix) }

// Save writes a snapshot under its key, and then removes what is too much.
func (s *Store) Save(snapshot interface{ Save(path, tag string) error }, key, tag string) error {
	if err := snapshot.Save(s.Path(key), tag); err != nil {
		return err
	}
	_, err := s.GC()
	return err
}

// Entry is one file of a store.
type Entry struct {
	Path string
	Key  string               // empty: what a writer left behind
	Info *vmexec.SnapshotInfo // nil when Err is not
	Err  error                // why it cannot be used
	Size int64                // bytes of disk space
	Used time.Time            // when it was last written or loaded
	Busy bool                 // somebody uses it now
}

var names = regexp.MustCompile(`^[0-9a-f]{64}\.snapshot$`)

// List returns the snapshots of the store, the one that was used last first.
func (s *Store) List() ([]Entry, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []Entry
	for _, f := range files {
		if !names.MatchString(f.Name()) && !vmexec.IsSnapshotTemp(f.Name()) {
			continue // not ours
		}
		e := Entry{Path: filepath.Join(s.dir, f.Name())}
		var st unix.Stat_t
		if err := unix.Lstat(e.Path, &st); errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, fmt.Errorf("list snapshots: %s: %w", e.Path, err)
		}
		e.Size, e.Used = st.Blocks*512, time.Unix(st.Mtim.Sec, st.Mtim.Nsec)
		if !vmexec.IsSnapshotTemp(f.Name()) {
			e.Key = strings.TrimSuffix(f.Name(), suffix)
			if e.Info, e.Err = vmexec.ReadSnapshotInfo(e.Path, false); e.Err != nil {
				e.Info = nil
			}
		}
		e.Busy = busy(e.Path)
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.Path, b.Path)) })
	return out, nil
}

// lock opens a file so that nobody begins to use it before it is closed. It
// reports false when somebody does already, or it is gone or no regular file.
func lock(path string) (*os.File, bool) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	f := os.NewFile(uintptr(fd), path)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = f.Close()
		return nil, false
	}
	return f, true
}

func busy(path string) bool {
	f, ok := lock(path)
	if ok {
		_ = f.Close()
	}
	return !ok
}

// ErrBusy says that a snapshot is not removed because somebody uses it.
var ErrBusy = errors.New("it is in use")

// remove removes a file that nobody uses.
func remove(path string) error {
	f, ok := lock(path)
	if !ok {
		return fmt.Errorf("remove %s: %w", path, ErrBusy)
	}
	defer func() { _ = f.Close() }()
	return os.Remove(path)
}

// Report says what GC did.
type Report struct {
	Removed []Entry
	Freed   int64 // bytes
	Kept    int64 // bytes that are left
	Files   int   // that are left
}

// GC removes what nobody uses: files of writers that died, files that cannot be
// read, those that another build of kontain wrote and that were not used for a day,
// those that were not used for 30 days, and, beyond the size of the store, those
// that were not used for the longest time.
func (s *Store) GC() (Report, error) { return s.collect(time.Now(), s.size) }

// Clear removes all that nobody uses.
func (s *Store) Clear() (Report, error) { return s.collect(time.Now(), 0) }

func (s *Store) collect(now time.Time, size int64) (Report, error) {
	var r Report
	list, err := s.List()
	if err != nil {
		return r, err
	}
	build, err := vmexec.BuildIdentity()
	if err != nil {
		return r, err
	}
	for _, e := range list {
		unused := now.Sub(e.Used)
		var bad *vmexec.SnapshotError
		damaged := errors.As(e.Err, &bad) && (bad.Reason == vmexec.SnapshotDamaged || bad.Reason == vmexec.SnapshotUnsafe)
		foreign := e.Info != nil && e.Info.Monitor.Build != build || bad != nil && bad.Reason == vmexec.SnapshotFormat
		if !e.Busy && (e.Key == "" || damaged || foreign && unused > maxForeign || unused > maxUnused || r.Kept+e.Size > size) {
			switch err := remove(e.Path); {
			case err == nil:
				r.Removed = append(r.Removed, e)
				r.Freed += e.Size
				continue
			case errors.Is(err, fs.ErrNotExist):
				continue // another process was faster
			case !errors.Is(err, ErrBusy):
				return r, fmt.Errorf("remove what is not needed: %w", err)
			}
		}
		r.Kept += e.Size
		r.Files++
	}
	return r, nil
}

// Remove removes the snapshot whose key begins with prefix; there must be exactly
// one. The error is ErrBusy, wrapped, when it is in use.
func (s *Store) Remove(prefix string) (Entry, error) {
	list, err := s.List()
	if err != nil {
		return Entry{}, err
	}
	list = slices.DeleteFunc(list, func(e Entry) bool { return e.Key == "" || !strings.HasPrefix(e.Key, prefix) })
	switch {
	case len(list) == 0:
		return Entry{}, fmt.Errorf("there is no snapshot %s in %s", prefix, s.dir)
	case len(list) > 1 || prefix == "":
		return Entry{}, fmt.Errorf("%d snapshots in %s begin with %q; give more of the key", len(list), s.dir, prefix)
	}
	return list[0], remove(list[0].Path)
}
