// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/loader"
	"kontain.dev/eventing/vmexec/internal/start"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/talk"
)

// ProgramSpec says what to run.
type ProgramSpec struct {
	Root *Root
	Path string   // absolute path of the executable in Root
	Args []string // argv, including argv[0]; Path alone when empty
	Env  []string // NAME=value
	Dir  string   // working directory in Root; "/" when empty
	// User is whose processes the program's are.
	User User
	// Streams are descriptors that the program begins with as ends of pipes, whose other
	// ends are the host's in a run with a Line or Talk: talk.Side.Stream. It reads 0, and
	// writes 1 and more, up to talk.MaxStream. They are in ascending order. What it has
	// written when it ends can still be read. With 1 or 2 there is no Result.Stdout or
	// Stderr.
	Streams []int
	// Outward: the program may ask for connections to the network outside, which
	// IO.Outward makes, and finds a name server in its /etc/resolv.conf. With HostLoopback
	// it also asks for those to its loopback interface that none of its processes listens
	// for.
	Outward, HostLoopback bool
	// State is the most bytes of the file StatePath, which the program finds with
	// IO.State in it, and which Result.State has when it is done; at most MaxState.
	// 0: there is none.
	State int
	// Secret: something that the program is given, such as a value of Env, must not
	// come to rest anywhere. Snapshots of the program are never written to disk.
	Secret bool
}

// StatePath is the file that goes from one run of a program to the next; see
// ProgramSpec.State.
const StatePath = vfs.StatePath

// MaxState bounds ProgramSpec.State.
const MaxState = 1 << 20

// User is a user of a program's files: what it may do with these depends on their
// owners and modes, as in Linux, unless it is user 0, which may do everything. No
// program has capabilities, and none becomes another user. The zero value is user 0.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"` // supplementary ones
}

// Program is a checked executable, held in memory that cannot change, from
// which any number of VMs can be started, also at the same time.
type Program struct {
	spec   ProgramSpec // of a script: as its interpreter is started
	execFn string      // AT_EXECFN: the path that was asked for
	exe    executable
	interp *executable // the dynamic linker, when the program names one
}

// executable is an ELF file in sealed memory.
type executable struct {
	path  string // resolved, in the guest's tree
	image *loader.Image
	file  *os.File
	size  int64 // of the file, in bytes
	owned bool  // close it with the program

	digest func() (string, error) // SHA-256 of the file, hexadecimal; taken once
}

func (e *executable) close() error {
	if e == nil || !e.owned {
		return nil
	}
	return e.file.Close()
}

// NewProgram reads and checks an executable. The error is a *ProgramError when
// the file is not one that can run here.
func NewProgram(spec ProgramSpec) (*Program, error) {
	if spec.Dir == "" {
		spec.Dir = "/"
	}
	if len(spec.Args) == 0 {
		spec.Args = []string{spec.Path}
	}
	if !path.IsAbs(spec.Path) || !path.IsAbs(spec.Dir) {
		return nil, &ProgramError{Path: spec.Path, Reason: "the paths of the program and of its working directory must be absolute"}
	}
	for _, s := range append(append([]string(nil), spec.Args...), spec.Env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, &ProgramError{Path: spec.Path, Reason: "an argument or an environment variable contains a zero byte"}
		}
	}
	if spec.State < 0 || spec.State > MaxState {
		return nil, fmt.Errorf("vmexec: a state of at most %d bytes: must be from 0 to %d", spec.State, MaxState)
	}
	for i, n := range spec.Streams {
		if n < 0 || n > talk.MaxStream || i > 0 && n <= spec.Streams[i-1] {
			return nil, fmt.Errorf("vmexec: the descriptors %v cannot be streams", spec.Streams)
		}
	}
	for _, s := range spec.Env {
		if strings.IndexByte(s, '=') <= 0 {
			return nil, &ProgramError{Path: spec.Path, Reason: "the environment entry '" + s + "' is not NAME=value"}
		}
	}
	fs, err := vfs.New(vfs.Config{Lower: spec.Root.lower, Cred: vfs.Cred(spec.User)})
	if err != nil {
		return nil, err
	}
	defer fs.Close()
	p := &Program{spec: spec, execFn: spec.Path}
	if err := p.load(fs); err != nil {
		return nil, err
	}
	if in := p.exe.image.Interp; in != "" {
		p.interp = &executable{}
		if err := p.interp.load(fs, spec.Root, in); err != nil {
			_ = p.exe.close()
			var pe *ProgramError
			if errors.As(err, &pe) {
				pe.Path, pe.Reason = spec.Path, "it needs the dynamic linker "+in+" in its root file system, but "+pe.Reason
			}
			return nil, err
		}
	}
	d, errno := fs.Resolve(fs.Root(), spec.Dir, vfs.Directory)
	reason := "its working directory " + spec.Dir + " is not there"
	if errno == 0 {
		errno = fs.MayEnter(d)
	}
	if errno == abi.EACCES {
		reason = fmt.Sprintf("user %d may not enter its working directory %s", spec.User.UID, spec.Dir)
	}
	if errno != 0 {
		_ = p.Close()
		return nil, &ProgramError{Path: spec.Path, Reason: reason, Err: unix.Errno(errno)}
	}
	return p, nil
}

// load reads the executable, or the interpreter of a script with the script as its
// argument, as execve(2) has it.
func (p *Program) load(fs *vfs.FS) error {
	for n := 0; ; n++ {
		err := p.exe.load(fs, p.spec.Root, p.spec.Path)
		var se *scriptError
		if !errors.As(err, &se) {
			return p.inScript(err)
		}
		if n == start.MaxScripts {
			return &ProgramError{Path: p.execFn, Reason: "its interpreter is a script, whose interpreter is one, and so on"}
		}
		args := []string{se.interp}
		if se.arg != "" {
			args = append(args, se.arg)
		}
		p.spec.Args = append(append(args, p.spec.Path), p.spec.Args[1:]...)
		p.spec.Path = se.interp
		if !path.IsAbs(se.interp) {
			p.spec.Path = path.Join(p.spec.Dir, se.interp)
		}
	}
}

// inScript makes the error about the interpreter of a script one about the script.
func (p *Program) inScript(err error) error {
	var pe *ProgramError
	if errors.As(err, &pe) && p.spec.Path != p.execFn {
		pe.Path, pe.Reason = p.execFn, "it is a script for "+p.spec.Path+", but "+pe.Reason
	}
	return err
}

// scriptError says that a file is a script.
type scriptError struct{ interp, arg string }

func (e *scriptError) Error() string { return "this is a script for " + e.interp }

// script looks whether a file is a script.
func script(f *os.File) error {
	head := make([]byte, start.HeadSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if interp, arg, ok := start.Script(head[:n]); ok {
		return &scriptError{interp, arg}
	}
	return nil
}

func (e *executable) load(fs *vfs.FS, root *Root, name string) error {
	fail := func(reason string, err error) error { return &ProgramError{Path: name, Reason: reason, Err: err} }
	where, errno := fs.Resolve(fs.Root(), name, 0)
	if errno == 0 {
		errno = fs.Access(where, 1)
	}
	switch {
	case errno == abi.EACCES && fs.Cred().UID != 0:
		return fail(fmt.Sprintf("user %d may not execute it: its mode, or that of a folder above it, refuses that", fs.Cred().UID), nil)
	case errno == abi.EACCES:
		return fail("it is not executable (chmod +x would make it so)", nil)
	case errno != 0:
		return fail("it could not be opened", unix.Errno(errno))
	}
	e.path = where.String()
	if root.sealed != nil && root.sealedPath == e.path {
		e.file = root.sealed
	} else {
		f, errno := fs.OpenToRun(where)
		if errno == abi.EACCES {
			return fail("it is not a regular file", nil)
		}
		if errno != 0 {
			return fail("it could not be opened", unix.Errno(errno))
		}
		defer f.Release()
		st, errno := f.Stat()
		if errno != 0 {
			return fail("it could not be read", unix.Errno(errno))
		}
		sealed, err := seal(fd.ReaderAt{File: f}, st.Size)
		if err != nil {
			return fail("it could not be read", err)
		}
		e.file, e.owned = sealed, true
	}
	if err := script(e.file); err != nil {
		_ = e.close()
		var se *scriptError
		if errors.As(err, &se) {
			return err
		}
		return fail("it could not be read", err)
	}
	st, err := e.file.Stat()
	if err == nil {
		e.size = st.Size()
		e.image, err = loader.Parse(e.file, st.Size())
		e.digest = sync.OnceValues(func() (string, error) { return fileDigest(e.file, st.Size()) })
	}
	if err != nil {
		_ = e.close()
		var fe *loader.FormatError
		if errors.As(err, &fe) {
			return fail(fe.Error(), nil)
		}
		return fail("it could not be read", err)
	}
	return nil
}

// fileDigest returns the SHA-256 of a file, hexadecimal.
func fileDigest(r io.ReaderAt, size int64) (string, error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, size), make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// executable returns the program's own file, or its dynamic linker.
func (p *Program) executable(interp bool) *executable {
	if interp {
		return p.interp
	}
	return &p.exe
}

// programSource gives the contents of an executable for its pages that are not there
// any more; it is an mm.Source. It does not change, so that a snapshot and all of its
// clones have the same. The program outlives them.
type programSource struct {
	program *Program
	interp  bool  // it is the dynamic linker
	size    int64 // of the file, in bytes
}

// MapRead implements mm.Source.
func (s *programSource) MapRead(off int64, dst []byte) (int, abi.Errno) {
	e := s.program.executable(s.interp)
	if e == nil || off < 0 { // only in a snapshot file that makes no sense
		return 0, abi.EIO
	}
	n, err := e.file.ReadAt(dst, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, abi.EIO
	}
	return n, 0
}

// MapSize implements mm.Source.
func (s *programSource) MapSize() int64 { return s.size }

// MapShare implements mm.Source.
func (s *programSource) MapShare() {}

// MapDrop implements mm.Source.
func (s *programSource) MapDrop() {}

// State returns ProgramSpec.State.
func (p *Program) State() int { return p.spec.State }

// Path returns the path of the executable in the guest's tree, links resolved.
func (p *Program) Path() string { return p.exe.path }

// Close frees the program. Every VM made from it must be closed before.
func (p *Program) Close() error { return errors.Join(p.exe.close(), p.interp.close()) }
