// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/snapshot"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// Root is a read-only root file system that many programs and VMs may share.
type Root struct {
	lower vfs.Lower
	close func() error
	info  snapshot.Root

	// The one file of a ProgramRoot, sealed: NewProgram need not copy it again.
	sealedPath string
	sealed     *os.File
	program    *handoverFile // what that file was

	folder *vfs.HostDir // of a DirRoot
}

// Kinds of a root, in the header of a snapshot.
const (
	rootProgram = "program"
	rootFolder  = "folder"
)

// ProgramRoot returns a root that holds only the program at the host path,
// under the same absolute path, with the usual empty /tmp, /dev and /proc. The
// file is copied, so that later changes of it have no effect. The error is a
// *ProgramError.
func ProgramRoot(path string) (*Root, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &ProgramError{Path: path, Reason: "its absolute path is not known", Err: err}
	}
	// Without O_NONBLOCK a named pipe would hold the caller for ever.
	f, err := os.OpenFile(abs, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, openError(path, err)
	}
	if !st.Mode().IsRegular() {
		return nil, &ProgramError{Path: path, Reason: "it is not a regular file but " + fileKind(st.Mode())}
	}
	if st.Mode()&0o111 == 0 {
		return nil, &ProgramError{Path: path, Reason: "it is not executable (chmod +x would make it so)"}
	}
	sealed, err := seal(f, st.Size())
	if err != nil {
		return nil, &ProgramError{Path: path, Reason: "it could not be read", Err: err}
	}
	root, err := (&handoverFile{Path: abs, Mode: uint32(st.Mode().Perm()), Size: st.Size(), Modified: st.ModTime()}).root(sealed)
	if err != nil {
		_ = sealed.Close()
		return nil, &ProgramError{Path: path, Reason: "its path cannot be shown to the program", Err: err}
	}
	return root, nil
}

// root returns the root that holds only the program in the sealed file, which it
// takes over.
func (f *handoverFile) root(sealed *os.File) (*Root, error) {
	m := vfs.NewMemory(f.Modified.UnixNano())
	if err := m.AddFile(f.Path, f.Mode, sealed, f.Size); err != nil {
		return nil, err
	}
	return &Root{
		lower: m, close: sealed.Close, sealedPath: f.Path, sealed: sealed, program: f,
		info: snapshot.Root{Kind: rootProgram, Path: f.Path},
	}, nil
}

func openError(path string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &ProgramError{Path: path, Reason: "it could not be opened", Err: err}
}

func fileKind(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a named pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	case m&os.ModeDevice != 0:
		return "a device"
	}
	return "something else (" + m.Type().String() + ")"
}

// maxProgram bounds the size of an executable file.
const maxProgram = 1 << 30

// seal copies a file of the given size into anonymous memory that nobody can
// change or shrink any more: VMs map it.
func seal(r io.ReaderAt, size int64) (*os.File, error) {
	if size > maxProgram {
		return nil, fmt.Errorf("%d MiB is more than the %d MiB a program may have", size>>20, maxProgram>>20)
	}
	fd, err := unix.MemfdCreate("kontain-program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "kontain-program")
	n, err := io.Copy(f, io.NewSectionReader(r, 0, size))
	if err == nil && n != size {
		err = fmt.Errorf("the file ends at %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
		err = os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// DirRoot returns a root that shows the host folder dir read-only.
func DirRoot(dir string) (*Root, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d, err := vfs.NewHostDir(dir)
	if err != nil {
		return nil, err
	}
	return folderRoot(d, abs), nil
}

// ImageRoot returns a root that shows the host folder dir read-only, with owners and
// modes that the host could not give its files: they are in the file owners, which
// pkg/image writes.
func ImageRoot(dir, owners string) (*Root, error) {
	f, err := os.Open(owners)
	if err != nil {
		return nil, err
	}
	r, err := DirRoot(dir)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.folder.SetOwners(vfs.NewOwners(f))
	r.info.Owners = owners
	return r, nil
}

func folderRoot(d *vfs.HostDir, path string) *Root {
	return &Root{lower: d, close: d.Close, folder: d, info: snapshot.Root{Kind: rootFolder, Path: path}}
}

// Close frees the root. Every Program that uses it must be closed before.
func (r *Root) Close() error { return r.close() }
