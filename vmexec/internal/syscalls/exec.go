// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/loader"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/start"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

func execCalls() []Entry {
	const note = "x86-64 ELF files and scripts; set-user-ID bits have no effect"
	return []Entry{
		{Nr: unix.SYS_EXECVE, Name: "execve", Support: Full, Note: note, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return execAt(t, unix.AT_FDCWD, a[0], a[1], a[2], 0)
		}},
		{Nr: unix.SYS_EXECVEAT, Name: "execveat", Support: Full, Note: note, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return execAt(t, int32(a[0]), a[1], a[2], a[3], int32(a[4]))
		}},
	}
}

// execAt is execveat(2). Errors: those of path resolution, EACCES, E2BIG, EFAULT,
// EINVAL, ELIBBAD, ELOOP, ENOEXEC, ENOMEM, ETXTBSY.
func execAt(t *task.Thread, dirfd int32, pathAddr, argv, envp uint64, flags int32) (uint64, abi.Errno) {
	if flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 {
		return 0, abi.EINVAL
	}
	name, errno := copyPath(t, pathAddr)
	if errno != 0 {
		return 0, errno
	}
	e := &execution{t: t, name: name}
	defer e.close()
	if errno := e.open(dirfd, name, flags); errno != 0 {
		return 0, errno
	}
	if errno := e.copyLists(argv, envp); errno != 0 {
		return 0, errno
	}
	if errno := e.resolve(); errno != 0 {
		return 0, errno
	}
	return 0, e.run()
}

// execution is one execve(2) on its way.
type execution struct {
	t         *task.Thread
	name      string // as it is shown to the program: AT_EXECFN
	comm      string // whose last part is the name of the process
	args, env []string
	hidden    bool // a script could not be opened by its interpreter: it is a descriptor that gets closed

	exe, interp *executable
}

// executable is a file that may be run.
type executable struct {
	file  vfs.Mapper
	where vfs.Path
	size  int64
	image *loader.Image
}

func (e *execution) close() {
	for _, x := range []*executable{e.exe, e.interp} {
		if x != nil {
			x.file.Release()
		}
	}
}

// open opens what the call names.
func (e *execution) open(dirfd int32, name string, flags int32) abi.Errno {
	t := e.t
	var fl vfs.Flag
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		fl |= vfs.NoFollow
	}
	e.comm = name
	if name == "" {
		if flags&unix.AT_EMPTY_PATH == 0 {
			return abi.ENOENT
		}
		fl |= vfs.EmptyPath
	}
	base, errno := baseOf(t, dirfd, name)
	if errno == abi.ENOTDIR && name == "" {
		errno = abi.EACCES // the file itself, and it is none that can be run
	}
	if errno != 0 {
		return errno
	}
	if name == "" || name[0] != '/' && dirfd != unix.AT_FDCWD {
		e.name = fmt.Sprintf("/dev/fd/%d", dirfd)
		if name != "" {
			e.name += "/" + name
		}
		e.comm = e.name
		e.hidden, _ = t.P.FDs.Cloexec(dirfd)
	}
	e.exe, errno = openExecutable(t, base, name, fl)
	if errno == 0 && name == "" {
		e.comm = strings.TrimSuffix(e.exe.where.String(), " (deleted)")
	}
	return errno
}

// openExecutable opens a file to be run. Errors: those of path resolution; EACCES for
// what is no regular file, or may not be executed; ETXTBSY for what is open for writing.
func openExecutable(t *task.Thread, base vfs.Path, name string, fl vfs.Flag) (*executable, abi.Errno) {
	fs := t.K.FS
	where, errno := fs.Resolve(base, name, fl)
	if errno != 0 {
		return nil, errno
	}
	at, errno := where.Attr()
	switch {
	case errno != 0:
		return nil, errno
	case at.Stat.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil, abi.ELOOP
	case at.Stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, abi.EACCES
	}
	if errno := fs.Access(where, unix.X_OK); errno != 0 {
		return nil, errno
	}
	if errno := fs.NotWritten(where); errno != 0 {
		return nil, errno
	}
	f, errno := fs.OpenToRun(where)
	if errno != 0 {
		return nil, errno
	}
	return &executable{file: f, where: where, size: at.Stat.Size}, 0
}

// ReadAt implements io.ReaderAt.
func (x *executable) ReadAt(p []byte, off int64) (int, error) {
	return fd.ReaderAt{File: x.file}.ReadAt(p, off)
}

// Bounds of execve(2): of all strings with their pointers, and of one string with
// its NUL.
const (
	maxArgBytes = task.StackSize / 4
	maxArgLen   = 32 * pageSize
)

// copyLists copies the arguments and the environment.
func (e *execution) copyLists(argv, envp uint64) (errno abi.Errno) {
	left := maxArgBytes - len(e.name) - 1
	if e.args, errno = copyStrings(e.t, argv, &left); errno != 0 {
		return errno
	}
	e.env, errno = copyStrings(e.t, envp, &left)
	return errno
}

// copyStrings reads a list of pointers that ends with 0, and what they point to; a
// list at 0 is empty. left is how many bytes there may be yet. Errors: EFAULT, E2BIG.
func copyStrings(t *task.Thread, at uint64, left *int) ([]string, abi.Errno) {
	if at == 0 {
		return nil, 0
	}
	var out []string
	for ; ; at += 8 {
		p, errno := t.CopyInU64(at)
		if errno != 0 {
			return nil, errno
		}
		if p == 0 {
			return out, 0
		}
		if *left -= 8; *left < 0 {
			return nil, abi.E2BIG
		}
		s, errno := t.CopyInString(p, min(maxArgLen, *left))
		if errno == abi.ENAMETOOLONG {
			errno = abi.E2BIG
		}
		if errno != 0 {
			return nil, errno
		}
		*left -= len(s) + 1
		out = append(out, s)
	}
}

// resolve finds the program behind scripts, and its dynamic linker.
func (e *execution) resolve() abi.Errno {
	t := e.t
	for n := 0; ; n++ {
		head := make([]byte, start.HeadSize)
		k, err := e.exe.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return abi.EIO
		}
		interp, arg, ok := start.Script(head[:k])
		if !ok {
			break
		}
		switch {
		case n == start.MaxScripts:
			return abi.ELOOP
		case e.hidden:
			return abi.ENOENT
		}
		// argv[0] gives way to the interpreter with its argument and the script.
		script := e.name
		if n > 0 {
			script = e.args[0]
		}
		args := []string{interp}
		if arg != "" {
			args = append(args, arg)
		}
		e.args = append(append(args, script), e.args[min(1, len(e.args)):]...)
		base := t.P.Cwd
		if interp[0] == '/' {
			base = t.K.FS.Root()
		}
		x, errno := openExecutable(t, base, interp, 0)
		if errno != 0 {
			return errno
		}
		e.exe.file.Release()
		e.exe = x
	}
	var errno abi.Errno
	if errno = e.exe.parse(); errno != 0 {
		return errno
	}
	if in := e.exe.image.Interp; in != "" {
		base := t.P.Cwd
		if in[0] == '/' {
			base = t.K.FS.Root()
		}
		if e.interp, errno = openExecutable(t, base, in, 0); errno != 0 {
			return errno
		}
		if errno = e.interp.parse(); errno == abi.ENOEXEC {
			errno = abi.ELIBBAD
		}
	}
	return errno
}

func (x *executable) parse() abi.Errno {
	var err error
	x.image, err = loader.Parse(x, x.size)
	var fe *loader.FormatError
	switch {
	case errors.As(err, &fe):
		return abi.ENOEXEC
	case err != nil:
		return abi.EIO
	}
	return 0
}

// program returns the file as start takes it.
func (x *executable) program() start.File {
	return start.File{Path: x.where.String(), Image: x.image, Map: func(m *mm.MM, v mm.VMA) error {
		src := &fileSource{Mapper: x.file}
		src.MapHold()
		src.MapShare()
		v.Src = src
		if errno := m.Map(v); errno != 0 {
			return guestmem.ErrLimit
		}
		return nil
	}}
}

// run loads the program and, when that has succeeded, starts it.
func (e *execution) run() abi.Errno {
	t := e.t
	space, err := t.P.MM.Spaces().New()
	if err != nil {
		return abi.ENOMEM
	}
	k := t.K
	spec := start.Spec{
		Exe: e.exe.program(), Args: e.args, Env: e.env, ExecFn: e.name, StackSize: task.StackSize,
		Features: k.Features(), SignalFrame: k.SignalFrameSize(), Rand: k.Rand,
		UID: k.FS.Cred().UID, GID: k.FS.Cred().GID,
	}
	if e.interp != nil {
		interp := e.interp.program()
		spec.Interp = &interp
	}
	st, err := start.Program(space, spec)
	if err != nil {
		space.Release()
		var long *loader.TooLongError
		if errors.As(err, &long) {
			return abi.E2BIG
		}
		return abi.ENOMEM
	}
	t.Exec(space, task.Image{Name: path.Base(e.comm), Exe: e.exe.where, Program: st})
	return abi.ENORETURN
}
