// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/loader"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/platform/kvm"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// Handover is what another process on this machine needs to run a program, or to
// clone its snapshot, by TakeOver: open files, and a text that says what they are. It
// can be used any number of times, and must be closed before the snapshot and the
// program.
type Handover struct {
	// Files hold the memory of the snapshot, its state, and the program. None can be
	// written.
	Files []*os.File
	// Text is JSON.
	Text []byte
}

// handover is Handover.Text.
type handover struct {
	Kind     Kind              `json:"kind"`
	Features platform.Features `json:"features"`
	CPUID    []byte            `json:"cpuid,omitempty"` // kvm.Platform.CPUID
	Types    string            `json:"types"`           // fingerprint

	Path     string              `json:"path"`
	ExecFn   string              `json:"execFn"`
	Args     []string            `json:"args"`
	Env      []string            `json:"env"`
	Dir      string              `json:"dir"`
	Streams  []int               `json:"streams,omitempty"`
	Outward  bool                `json:"outward,omitempty"`
	Loopback bool                `json:"hostLoopback,omitempty"`
	State    int                 `json:"state,omitempty"`
	User     User                `json:"user"`
	Exe      handoverExecutable  `json:"exe"`
	Interp   *handoverExecutable `json:"interp,omitempty"`
	Device   int                 `json:"device"`            // KVM's device: index in Handover.Files
	Folder   *handoverFolder     `json:"folder,omitempty"`  // the root's
	Program  *handoverFile       `json:"program,omitempty"` // the root's only file, which is Exe's, in its place
	Snapshot *handoverSnapshot   `json:"snapshot,omitempty"`
}

// handoverExecutable is an executable of the program.
type handoverExecutable struct {
	Path string `json:"path"`
	File int    `json:"file"` // index in Handover.Files
}

// handoverFolder is the folder of a DirRoot.
type handoverFolder struct {
	Path  string `json:"path"`
	File  int    `json:"file"`  // index in Handover.Files
	Whole bool   `json:"whole"` // it is the host's own root directory
	// Owners is the index in Handover.Files of the file that says whose its files are;
	// -1 for none.
	Owners int `json:"owners"`
}

// handoverFile is the file of a ProgramRoot.
type handoverFile struct {
	Path     string    `json:"path"`
	Mode     uint32    `json:"mode"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// handoverSnapshot is a snapshot: the first file is its memory and the second one its
// state.
type handoverSnapshot struct {
	Offset int64  `json:"offset"` // of the memory in its file
	Size   uint64 `json:"size"`
	Used   uint64 `json:"used"`  // pages
	Limit  uint64 `json:"limit"` // pages
	State  int    `json:"state"` // bytes

	// For its file on disk.
	Took    time.Duration `json:"tookNs"`
	Threads int           `json:"threads"`
	Whole   bool          `json:"whole"` // it is known which files the program has read
}

func describe(image *guestmem.Image, state int) *handoverSnapshot {
	return &handoverSnapshot{Offset: image.Offset(), Size: image.Size(), Used: image.Used(), Limit: image.Limit(), State: state}
}

// addSnapshot adds the files of a snapshot, which are the first two.
func (o *Handover) addSnapshot(image *guestmem.Image, state []byte) error {
	memory, err := image.File()
	if err != nil {
		return err
	}
	o.Files = append(o.Files, memory)
	sealed, err := seal(bytes.NewReader(state), int64(len(state)))
	if err != nil {
		return err
	}
	o.Files = append(o.Files, sealed)
	return nil
}

// HandOver prepares a program, and its snapshot if s is not nil, for other processes.
func (h *Host) HandOver(p *Program, s *Snapshot) (*Handover, error) {
	o := &Handover{}
	if err := h.handOver(o, p, s); err != nil {
		return nil, errors.Join(fmt.Errorf("hand %s over: %w", p.spec.Path, err), o.Close())
	}
	return o, nil
}

func (h *Host) handOver(o *Handover, p *Program, s *Snapshot) error {
	root := p.spec.Root
	t := handover{
		Kind: h.kind, Features: h.p.Features(), Types: fingerprint(),
		Path: p.spec.Path, ExecFn: p.execFn, Args: p.spec.Args, Env: p.spec.Env, Dir: p.spec.Dir, Streams: p.spec.Streams, Outward: p.spec.Outward, Loopback: p.spec.HostLoopback, State: p.spec.State, User: p.spec.User, Program: root.program,
	}
	add := func(f *os.File, err error) (int, error) {
		if err != nil {
			return 0, err
		}
		o.Files = append(o.Files, f)
		return len(o.Files) - 1, nil
	}
	if s != nil {
		state, err := s.encode()
		if err != nil {
			return err
		}
		if err := o.addSnapshot(s.image, state); err != nil {
			return err
		}
		t.Snapshot = describe(s.image, len(state))
		t.Snapshot.Took, t.Snapshot.Threads, t.Snapshot.Whole = s.Took, s.kernel.Threads(), s.fs.Recorded()
	}
	n, err := add(duplicate(p.exe.file))
	if err != nil {
		return err
	}
	t.Exe = handoverExecutable{Path: p.exe.path, File: n}
	if p.interp != nil {
		if n, err = add(duplicate(p.interp.file)); err != nil {
			return err
		}
		t.Interp = &handoverExecutable{Path: p.interp.path, File: n}
	}
	if root.folder != nil {
		if n, err = add(duplicateFD(root.folder.FD(), root.info.Path)); err != nil {
			return err
		}
		t.Folder = &handoverFolder{Path: root.info.Path, File: n, Whole: root.folder.Whole(), Owners: -1}
		if o := root.folder.Owners(); o != nil {
			if t.Folder.Owners, err = add(duplicate(o.File())); err != nil {
				return err
			}
		}
	}
	if k, ok := h.p.(*kvm.Platform); ok {
		t.CPUID = k.CPUID()
		if t.Device, err = add(duplicateFD(k.Device(), "/dev/kvm")); err != nil {
			return err
		}
	}
	o.Text, err = json.Marshal(t)
	return err
}

func duplicate(f *os.File) (*os.File, error) { return duplicateFD(int(f.Fd()), f.Name()) }

func duplicateFD(fd int, name string) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReplaceFolder puts the folder of the program's root, if it has one, in the place of
// what replace returns for it: a descriptor of the same folder.
func (o *Handover) ReplaceFolder(replace func(folder *os.File) (*os.File, error)) error {
	var t handover
	if err := json.Unmarshal(o.Text, &t); err != nil {
		return err
	}
	if t.Folder == nil {
		return nil
	}
	old := o.Files[t.Folder.File]
	f, err := replace(old)
	if err != nil {
		return err
	}
	o.Files[t.Folder.File] = f
	return old.Close()
}

// Close closes the files.
func (o *Handover) Close() error {
	var errs []error
	for _, f := range o.Files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// WithSnapshot returns what is needed to clone the snapshot that another process, which
// took over the program of o, has made and handed over in turn: text and files are its.
// It need not be trusted: whatever it handed over concerns those alone who take it over.
// The files are dropped when that fails. The result is closed by itself.
func (o *Handover) WithSnapshot(text []byte, memory, state *os.File) (*Handover, error) {
	n := &Handover{Files: []*os.File{memory, state}}
	var theirs handover
	err := json.Unmarshal(text, &theirs)
	if err == nil && theirs.Snapshot == nil {
		err = errors.New("there is none")
	}
	if err == nil {
		err = theirs.Snapshot.check(memory, state)
	}
	if err == nil {
		err = o.join(n, theirs.Snapshot)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a snapshot that was handed over: %w", err), n.Close())
	}
	return n, nil
}

// check returns what is wrong with the files of a snapshot that is not trusted: they
// must be sealed, so that they stay as they are, and as long as it says, since to read a
// mapping beyond the end of its file is the end of the process.
func (s *handoverSnapshot) check(memory, state *os.File) error {
	for _, f := range []struct {
		file *os.File
		size uint64
	}{{memory, s.Size}, {state, uint64(max(0, s.State))}} {
		const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		if seals, err := unix.FcntlInt(f.file.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&sealed != sealed {
			return errors.New("its files can be written")
		}
		if st, err := f.file.Stat(); err != nil || uint64(st.Size()) != f.size {
			return errors.New("its files are not as long as it says")
		}
	}
	if s.Offset != 0 || s.Size == 0 || s.Size%pageSize != 0 || s.State < 0 || s.State > maxState {
		return errors.New("its sizes make no sense")
	}
	return nil
}

// join adds the program of o to n, which has the files of the snapshot.
func (o *Handover) join(n *Handover, s *handoverSnapshot) error {
	var t handover
	if err := json.Unmarshal(o.Text, &t); err != nil {
		return err
	}
	if t.Snapshot != nil {
		return errors.New("it has a snapshot already")
	}
	t.Snapshot = s
	t.Exe.File += len(n.Files)
	if t.Interp != nil {
		t.Interp.File += len(n.Files)
	}
	if t.Folder != nil {
		t.Folder.File += len(n.Files)
		if t.Folder.Owners >= 0 {
			t.Folder.Owners += len(n.Files)
		}
	}
	t.Device += len(n.Files)
	for _, f := range o.Files {
		d, err := duplicate(f)
		if err != nil {
			return err
		}
		n.Files = append(n.Files, d)
	}
	var err error
	n.Text, err = json.Marshal(t)
	return err
}

// LoadHandover is LoadSnapshot for those who hand the snapshot of p over: o is that of
// p alone. What the snapshot holds is not looked at, but for its checksums. learned are
// the pages that an event uses, for Learn, when that is known.
func (h *Host) LoadHandover(o *Handover, p *Program, l Limits, path string) (n *Handover, learned []uint64, err error) {
	i, image, state, err := h.openSnapshot(p, l, path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = image.Close() }() // the files stay open
	n = &Handover{}
	err = n.addSnapshot(image, state)
	if err == nil {
		s := describe(image, len(state))
		s.Took, s.Threads, s.Whole = i.Start, i.Threads, true
		err = o.join(n, s)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("load %s: %w", path, err), n.Close())
	}
	return n, i.Learned, nil
}

// SaveHandover is Snapshot.Save for the snapshot of p, made with the limits l, in o.
// What it holds is not looked at. learned are its LearnedPages, which need not be
// trusted either.
func (h *Host) SaveHandover(o *Handover, p *Program, l Limits, learned []uint64, path, tag string) error {
	fail := func(err error) error {
		return &SnapshotError{Path: path, Reason: SnapshotFailed, Detail: "it could not be written", Err: err}
	}
	if p.spec.Secret {
		return secretError(path)
	}
	l, err := l.withDefaults()
	if err != nil {
		return fail(err)
	}
	var t handover
	if err := json.Unmarshal(o.Text, &t); err != nil {
		return fail(err)
	}
	s := t.Snapshot
	switch {
	case s == nil:
		return fail(errors.New("there is no snapshot"))
	case !s.Whole:
		return fail(errUnrecorded)
	case s.Limit > l.Memory/pageSize || s.Used > s.Limit:
		return fail(errors.New("it has other limits"))
	}
	image, err := guestmem.AdoptImage(o.Files[0], s.Offset, s.Size, s.Used, s.Limit)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = image.Close() }()
	state := make([]byte, s.State)
	if _, err := o.Files[1].ReadAt(state, 0); err != nil {
		return fail(err)
	}
	return save(path, tag, p, l, h.kind, h.p.Features(), image, state, learned, s.Took, s.Threads)
}

// maxState bounds the state of a snapshot that another process has made.
const maxState = 1 << 30

// TakeOver returns the program of a Handover, its snapshot if there is one, and a
// host for them, in a process that was given the text and the files. They are for the
// life of the process. The host finds nothing out anew, so this takes little time; it
// trusts who gave the files. sameBuild says that this very program was found to be of
// their build before; otherwise that is found out.
func TakeOver(text []byte, files []*os.File, sameBuild bool) (*Host, *Program, *Snapshot, error) {
	var t handover
	err := json.Unmarshal(text, &t)
	if err == nil && !sameBuild && t.Types != fingerprint() {
		err = errors.New("it comes from another build of the monitor: install the programs of one release together")
	}
	if err == nil {
		var h *Host
		var p *Program
		var s *Snapshot
		if h, p, s, err = t.take(files); err == nil {
			return h, p, s, nil
		}
	}
	return nil, nil, nil, fmt.Errorf("take a program over: %w", err)
}

func (t *handover) take(files []*os.File) (h *Host, p *Program, s *Snapshot, err error) {
	device := -1
	if t.Kind == KVM {
		if device, err = t.file(t.Device, files); err != nil {
			return nil, nil, nil, err
		}
	}
	if h, err = attach(t.Kind, device, t.Features, t.CPUID); err != nil {
		return nil, nil, nil, err
	}
	if p, err = t.program(files); err != nil {
		return nil, nil, nil, err
	}
	if f := p.spec.Root.folder; f != nil {
		h.folder = fmt.Sprintf("/proc/self/fd/%d", f.FD())
	}
	if t.Snapshot == nil {
		return h, p, nil, nil
	}
	if len(files) < 2 {
		return nil, nil, nil, fmt.Errorf("%d files were given", len(files))
	}
	if s, err = t.Snapshot.open(files[0], files[1], p, t.Features); err != nil {
		return nil, nil, nil, err
	}
	s.platform = t.Kind
	return h, p, s, nil
}

// file returns the descriptor of one of the files.
func (t *handover) file(i int, files []*os.File) (int, error) {
	if i < 0 || i >= len(files) {
		return -1, fmt.Errorf("%d files were given", len(files))
	}
	return int(files[i].Fd()), nil
}

func (t *handover) program(files []*os.File) (*Program, error) {
	p := &Program{spec: ProgramSpec{Path: t.Path, Args: t.Args, Env: t.Env, Dir: t.Dir, Streams: t.Streams, Outward: t.Outward, HostLoopback: t.Loopback, State: t.State, User: t.User}, execFn: t.ExecFn}
	// A snapshot has its program in memory: there the ELF file is not looked at.
	if err := p.exe.take(t.Exe, files, t.Snapshot == nil); err != nil {
		return nil, err
	}
	if t.Interp != nil {
		p.interp = &executable{}
		if err := p.interp.take(*t.Interp, files, t.Snapshot == nil); err != nil {
			return nil, err
		}
	}
	var err error
	switch {
	case t.Program != nil:
		p.spec.Root, err = t.Program.root(p.exe.file)
	case t.Folder != nil:
		var fd int
		if fd, err = t.file(t.Folder.File, files); err != nil {
			return nil, err
		}
		var d *vfs.HostDir
		if d, err = vfs.NewHostDirAt(fd, t.Folder.Path, t.Folder.Whole); err == nil {
			p.spec.Root = folderRoot(d, t.Folder.Path)
		}
		if n := t.Folder.Owners; err == nil && n >= 0 {
			if n >= len(files) {
				return nil, fmt.Errorf("%d files were given", len(files))
			}
			d.SetOwners(vfs.NewOwners(files[n]))
		}
	default:
		err = errors.New("it has no root")
	}
	return p, err
}

func (e *executable) take(t handoverExecutable, files []*os.File, parse bool) error {
	if t.File < 0 || t.File >= len(files) {
		return fmt.Errorf("%d files were given", len(files))
	}
	e.path, e.file = t.Path, files[t.File]
	if !parse {
		return nil
	}
	st, err := e.file.Stat()
	if err == nil {
		e.size = st.Size()
		e.image, err = loader.Parse(e.file, e.size)
	}
	return err
}

// open reads the snapshot of p.
func (s *handoverSnapshot) open(memory, state *os.File, p *Program, f platform.Features) (*Snapshot, error) {
	image, err := guestmem.AdoptImage(memory, s.Offset, s.Size, s.Used, s.Limit)
	if err != nil {
		return nil, err
	}
	b := make([]byte, s.State)
	if _, err := io.ReadFull(io.NewSectionReader(state, 0, int64(s.State)), b); err != nil {
		return nil, err
	}
	return restored(p, image, b, f)
}

// LearnedPages returns the pages that an event uses, once one has shown that; nil
// before.
func (s *Snapshot) LearnedPages() []uint64 {
	if used := s.used.Load(); used != nil {
		return *used
	}
	return nil
}

// Learn tells what LearnedPages has returned for the same snapshot in another process:
// clones that are made from now on have these pages prepared. It changes nothing
// but the time that an event takes, whatever the pages are.
func (s *Snapshot) Learn(pages []uint64) {
	if len(pages) > 0 && s.learning.CompareAndSwap(false, true) {
		s.used.Store(&pages)
	}
}
