// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
)

// The file, numbers little-endian:
//
//	 0  magic
//	 8  version, 4 bytes
//	12  length of the header, 4 bytes
//	16  SHA-256 of the header
//	48  the header: Info as JSON
//	    the index: pairs of varints, pages without and then with data, in turn
//	    the state
//	    zeros up to a page boundary
//	    the memory, of which pages that are zeros are holes
const (
	magic   = "\x89KSNAP\r\n"
	version = 1

	prologue  = 48
	maxHeader = 4 << 20
	maxState  = 4 << 30
	// freeState is what a state may have beyond the files that the limit of memory
	// bounds.
	freeState = 64 << 20
	pageSize  = guestmem.PageSize
)

// maxMemory bounds the memory of a snapshot: that of the largest VM and more.
const maxMemory = 1 << 40

func digest(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

func align(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// stateLimit is the most bytes of state of a program with a limit of memory.
func stateLimit(memory uint64) uint64 {
	return min(maxState, freeState+2*min(memory, maxState))
}

// tempPattern is the name of a file that is being written, for os.CreateTemp.
const tempPattern = ".snapshot-*.tmp"

// IsTemp reports whether a name is that of a file that is being written, or was
// when its writer died.
func IsTemp(name string) bool {
	ok, _ := filepath.Match(tempPattern, name)
	return ok
}

// Write makes the file at path, in place of one that is there. It appears whole or
// not at all; writers of the same path do not disturb each other. It is readable
// for this user alone. The sections of info are filled in. The error is an *Error.
func Write(path string, info Info, state []byte, img *guestmem.Image) error {
	fail := func(err error) error {
		e := &Error{Path: path, Reason: Failed, Detail: "it could not be written", Err: err}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
			e.Reason, e.Detail, e.Todo = Full, "there is no room for it", "free some space, or choose another folder"
		}
		return e
	}
	if most := stateLimit(info.Limits.Memory); uint64(len(state)) > most {
		return fail(fmt.Errorf("the state is %d MiB long, the most is %d", len(state)>>20, most>>20))
	}
	dir := filepath.Dir(path)
	f, err := createTemp(dir)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if f != nil {
			_ = os.Remove(f.Name())
			_ = f.Close()
		}
	}()
	if err := fill(f, info, state, img); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fail(err)
	}
	err = f.Close()
	f = nil
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// createTemp makes a file to be written, which whoever tidies up the folder leaves
// alone because it is locked. One that was found, and taken for a dead writer's, in the
// moment before it was locked is given up for another.
func createTemp(dir string) (*os.File, error) {
	const tries = 100 // it takes another process at the same place each time
	for try := 1; ; try++ {
		f, err := os.CreateTemp(dir, tempPattern) // mode 0600, never an existing file
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		var st, named unix.Stat_t
		if err == nil {
			err = errors.Join(unix.Fstat(int(f.Fd()), &st), unix.Lstat(f.Name(), &named))
		}
		if err == nil {
			if st.Dev == named.Dev && st.Ino == named.Ino {
				return f, nil
			}
			err = unix.ENOENT
		}
		_ = os.Remove(f.Name())
		_ = f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.ENOENT) || try == tries {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// fill writes the file's contents.
func fill(f *os.File, info Info, state []byte, img *guestmem.Image) error {
	runs, err := img.Data()
	if err != nil {
		return err
	}
	index := appendIndex(nil, runs)
	info.Pages = Section{uint64(len(index)), digest(index)}
	info.State = Section{uint64(len(state)), digest(state)}
	info.Memory.Bytes, info.Data = img.Size(), 0
	for _, r := range runs {
		info.Data += r.End - r.Start
	}
	info.Used = img.Used() * pageSize
	// The digest of the memory is as long as this, and comes when all was written.
	info.Memory.SHA256 = digest(nil)
	header, err := json.Marshal(&info)
	if err != nil {
		return err
	}
	if len(header) > maxHeader {
		return fmt.Errorf("its header is %d bytes long, the most is %d: arguments and environment are too long", len(header), maxHeader)
	}
	start := align(uint64(prologue + len(header) + len(index) + len(state)))
	if err := f.Truncate(int64(start + img.Size())); err != nil {
		return err
	}
	memory := sha256.New()
	if err := img.Store(f, int64(start), runs, memory); err != nil {
		return err
	}
	info.Memory.SHA256 = hex.EncodeToString(memory.Sum(nil))
	if header, err = json.Marshal(&info); err != nil {
		return err
	}
	sum := sha256.Sum256(header)
	var b bytes.Buffer
	b.WriteString(magic)
	b.Write(binary.LittleEndian.AppendUint32(nil, version))
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(header))))
	b.Write(sum[:])
	b.Write(header)
	b.Write(index)
	if _, err := f.WriteAt(b.Bytes(), 0); err != nil {
		return err
	}
	_, err = f.WriteAt(state, int64(b.Len()))
	return err
}

// syncDir makes a rename outlive a crash of the host. Some file systems cannot,
// and need not.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// appendIndex appends the index of the memory.
func appendIndex(b []byte, runs []guestmem.Run) []byte {
	at := uint64(0)
	for _, r := range runs {
		b = binary.AppendUvarint(b, (r.Start-at)/pageSize)
		b = binary.AppendUvarint(b, (r.End-r.Start)/pageSize)
		at = r.End
	}
	return b
}

// parseIndex reads an index of a memory of size bytes. It reports false when it
// makes no sense.
func parseIndex(b []byte, size uint64) (runs []guestmem.Run, ok bool) {
	at, pages := uint64(0), size/pageSize
	for len(b) > 0 {
		hole, n := binary.Uvarint(b)
		if n <= 0 || hole > pages-at || hole == 0 && len(runs) > 0 {
			return nil, false
		}
		b, at = b[n:], at+hole
		data, n := binary.Uvarint(b)
		if n <= 0 || data > pages-at || data == 0 {
			return nil, false
		}
		b = b[n:]
		runs = append(runs, guestmem.Run{Start: at * pageSize, End: (at + data) * pageSize})
		at += data
	}
	return runs, true
}

// File is an open snapshot whose header is right.
type File struct {
	Info Info

	path  string
	f     *os.File
	size  uint64 // of the file
	index uint64 // offsets
	state uint64
	mem   uint64
}

// Open opens the file at path and checks its header. The file is in use, and not
// removed by those who tidy up, until it is closed, or the image of Image is. The
// error is an *Error.
func Open(path string) (*File, error) {
	// A last component that is a link is not followed, and no pipe waited for.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		e := &Error{Path: path, Reason: Failed, Detail: "it could not be opened", Err: err}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.Reason, e.Detail, e.Err = Missing, "there is no such file", fs.ErrNotExist
		case errors.Is(err, unix.ELOOP):
			e.Reason, e.Detail, e.Todo, e.Err = Unsafe, "it is a symbolic link", "name the file itself", nil
		}
		return nil, e
	}
	f := &File{path: path, f: os.NewFile(uintptr(fd), path)}
	if err := f.open(fd); err != nil {
		_ = f.f.Close()
		return nil, err
	}
	return f, nil
}

func (f *File) open(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &Error{Path: f.path, Reason: Failed, Detail: "it could not be read", Err: os.NewSyscallError("fstat", err)}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return &Error{Path: f.path, Reason: Unsafe, Detail: "it is not a regular file"}
	case int(st.Uid) != os.Geteuid():
		return &Error{
			Path: f.path, Reason: Unsafe, Detail: fmt.Sprintf("it belongs to user %d and not to this one, %d", st.Uid, os.Geteuid()),
			Todo: "make one of your own: it holds all of a program's memory, and what is in it is run",
		}
	case st.Mode&0o077 != 0:
		return &Error{
			Path: f.path, Reason: Unsafe, Detail: fmt.Sprintf("others may use it (mode %04o)", st.Mode&0o7777),
			Todo: "chmod 600 it, if nobody can have changed it",
		}
	}
	if err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return &Error{Path: f.path, Reason: Busy, Detail: "it is just being removed"}
		}
		return &Error{Path: f.path, Reason: Failed, Detail: "it could not be locked", Err: os.NewSyscallError("flock", err)}
	}
	f.size = uint64(st.Size)
	return f.parse(f.f)
}

func (f *File) damaged(format string, args ...any) error {
	return &Error{Path: f.path, Reason: Damaged, Detail: fmt.Sprintf(format, args...), Todo: "remove it and make it again"}
}

// readAt reads n bytes at off, which are inside the file.
func (f *File) readAt(r io.ReaderAt, off, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := r.ReadAt(b, int64(off)); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, f.damaged("it is cut off")
		}
		return nil, &Error{Path: f.path, Reason: Failed, Detail: "it could not be read", Err: err}
	}
	return b, nil
}

// parse reads what comes before the sections. f.size is set.
func (f *File) parse(r io.ReaderAt) error {
	if f.size < prologue {
		return f.damaged("it is no snapshot")
	}
	b, err := f.readAt(r, 0, prologue)
	if err != nil {
		return err
	}
	if string(b[:8]) != magic {
		return f.damaged("it is no snapshot")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return &Error{Path: f.path, Reason: Format, Detail: fmt.Sprintf("its format is %d and not %d", v, version), Todo: "make it again with this version"}
	}
	n := uint64(binary.LittleEndian.Uint32(b[12:]))
	if n > maxHeader || n > f.size-prologue {
		return f.damaged("its header is cut off")
	}
	header, err := f.readAt(r, prologue, n)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(header); !bytes.Equal(sum[:], b[16:prologue]) {
		return f.damaged("its header was changed")
	}
	if err := json.Unmarshal(header, &f.Info); err != nil {
		return f.damaged("its header is not readable: %v", err)
	}
	i := &f.Info
	if i.State.Bytes > stateLimit(i.Limits.Memory) || i.Pages.Bytes > f.size || i.Memory.Bytes > maxMemory || i.Memory.Bytes%pageSize != 0 || i.Memory.Bytes == 0 {
		return f.damaged("its header tells impossible lengths")
	}
	f.index = prologue + n
	f.state = f.index + i.Pages.Bytes
	f.mem = align(f.state + i.State.Bytes)
	if want := f.mem + i.Memory.Bytes; f.size != want {
		return f.damaged("it has %d bytes and not %d", f.size, want)
	}
	return nil
}

// section reads a section and compares its digest.
func (f *File) section(r io.ReaderAt, off uint64, s Section, what string) ([]byte, error) {
	b, err := f.readAt(r, off, s.Bytes)
	if err != nil {
		return nil, err
	}
	if digest(b) != s.SHA256 {
		return nil, f.damaged("%s was changed", what)
	}
	return b, nil
}

// State returns the state, whose digest is right. The error is an *Error.
func (f *File) State() ([]byte, error) { return f.section(f.f, f.state, f.Info.State, "its state") }

// Image returns the memory, whose digest is right, and takes over the open file.
// The error is an *Error.
func (f *File) Image() (*guestmem.Image, error) {
	index, err := f.section(f.f, f.index, f.Info.Pages, "the index of its memory")
	if err != nil {
		return nil, err
	}
	i := &f.Info
	runs, ok := parseIndex(index, i.Memory.Bytes)
	limit := i.Limits.Memory / pageSize
	if !ok || i.Used/pageSize > limit || i.Memory.Bytes > align(i.Limits.Memory) {
		return nil, f.damaged("the index of its memory makes no sense")
	}
	h := sha256.New()
	file := f.f
	f.f = nil
	img, err := guestmem.OpenImage(file, int64(f.mem), i.Memory.Bytes, i.Used/pageSize, limit, runs, h)
	switch {
	case errors.Is(err, guestmem.ErrStray):
		return nil, f.damaged("its memory was changed")
	case err != nil:
		return nil, &Error{Path: f.path, Reason: Failed, Detail: "its memory could not be mapped", Err: err}
	}
	if hex.EncodeToString(h.Sum(nil)) != i.Memory.SHA256 {
		_ = img.Close()
		return nil, f.damaged("its memory was changed")
	}
	return img, nil
}

// Verify reads all of the file and compares the digests. The error is an *Error.
func (f *File) Verify() error {
	if _, err := f.State(); err != nil {
		return err
	}
	img, err := f.Image()
	if err != nil {
		return err
	}
	return img.Close()
}

// Touch marks the file as used now: those that tidy up remove what was not used
// for long. It is a service that may fail.
func (f *File) Touch() {
	_ = unix.Futimes(int(f.f.Fd()), nil)
}

// Close closes the file unless Image took it over.
func (f *File) Close() error {
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}
