// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/snapshot"
	"kontain.dev/eventing/vmexec/internal/snapshot/graph"
	"kontain.dev/eventing/vmexec/internal/syscalls"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// A snapshot on disk is for the very build that wrote it, so that nothing has to
// describe what is in it: the kernel's objects are written as they are. See
// docs/adr/0004.

// SnapshotInfo is the header of a snapshot file: what it is of, and what it needs.
type SnapshotInfo = snapshot.Info

// SnapshotError says why a snapshot file is not used or could not be written.
type SnapshotError = snapshot.Error

// SnapshotReason is the kind of a SnapshotError.
type SnapshotReason = snapshot.Reason

// Reasons why a snapshot file is not used, or not written.
const (
	SnapshotMissing   = snapshot.Missing   // there is no such file
	SnapshotUnsafe    = snapshot.Unsafe    // it is not this user's alone, or no regular file
	SnapshotBusy      = snapshot.Busy      // it is being removed
	SnapshotDamaged   = snapshot.Damaged   // it is cut off or changed, or was never a snapshot
	SnapshotFormat    = snapshot.Format    // it has another format
	SnapshotBuild     = snapshot.Build     // another build of the monitor wrote it
	SnapshotProcessor = snapshot.Processor // processor or platform offer the program something else
	SnapshotClock     = snapshot.Counter   // the time stamp counter has another rate
	SnapshotProgram   = snapshot.Changed   // program, arguments, environment, limits or root are others
	SnapshotFiles     = snapshot.Files     // files of the root have changed
	SnapshotFull      = snapshot.Full      // there is no room to write it
	SnapshotSecret    = snapshot.Secret    // it may not be written: ProgramSpec.Secret
	SnapshotFailed    = snapshot.Failed    // the host failed
)

// savedState is what of a snapshot is written beside its memory.
type savedState struct {
	Snapshot *Snapshot
}

// stateTypes describes the types of savedState. What is external belongs to the
// host, or is the clone's own.
func stateTypes() *graph.Types {
	ts := &graph.Types{}
	ts.External(
		reflect.TypeFor[*Program](), reflect.TypeFor[*guestmem.Image](), reflect.TypeFor[*guestmem.Memory](), reflect.TypeFor[*mm.Spaces](),
		reflect.TypeFor[platform.Machine](), reflect.TypeFor[*task.Table](), reflect.TypeFor[*vfs.FS](), reflect.TypeFor[vfs.Lower](),
	)
	ts.Register(fd.SnapshotTypes()...)
	ts.Register(mm.SnapshotTypes()...)
	ts.Register(net.SnapshotTypes()...)
	ts.Register(syscalls.SnapshotTypes()...)
	ts.Register(task.SnapshotTypes()...)
	ts.Register(vfs.SnapshotTypes()...)
	ts.Register((*programSource)(nil))
	return ts
}

// fingerprint is that of savedState.
var fingerprint = sync.OnceValue(func() string {
	sum := stateTypes().Fingerprint(reflect.TypeFor[*savedState]())
	return hex.EncodeToString(sum[:])
})

// buildIdentity identifies this build of the monitor: the commit it was made of, or, when
// that does not say all, the bytes of the running program.
var buildIdentity = sync.OnceValues(func() (string, error) {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path == module {
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if rev := settings["vcs.revision"]; rev != "" && settings["vcs.modified"] == "false" {
			return "commit " + rev + " " + info.GoVersion + " " + settings["GOAMD64"] + settings["-tags"], nil
		}
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("identify this build of the monitor: %w", err)
	}
	defer func() { _ = exe.Close() }()
	st, err := exe.Stat()
	if err != nil {
		return "", fmt.Errorf("identify this build of the monitor: %w", err)
	}
	sum, err := fileDigest(exe, st.Size())
	if err != nil {
		return "", fmt.Errorf("identify this build of the monitor: %w", err)
	}
	return "program " + sum, nil
})

const module = "kontain.dev/eventing"

// BuildIdentity returns what identifies this build of the monitor: snapshot files
// of another one are refused.
func BuildIdentity() (string, error) { return buildIdentity() }

// IsSnapshotTemp reports whether a file name is that of a snapshot that is being
// written, or was when its writer died: it holds a lock of flock(2) while it lives.
func IsSnapshotTemp(name string) bool { return snapshot.IsTemp(name) }

// info describes a snapshot of p, with l as its limits, made on a platform with
// these features now.
func info(p *Program, l Limits, kind Kind, f platform.Features, tag string) (SnapshotInfo, error) {
	b, err := buildIdentity()
	if err != nil {
		return SnapshotInfo{}, err
	}
	hexadecimal := func(v uint64) string { return "0x" + strconv.FormatUint(v, 16) }
	i := SnapshotInfo{
		Tag: tag,
		Program: snapshot.Program{
			// Never nil, as they are not when they come back from a file.
			Path: p.exe.path, Args: append([]string{}, p.spec.Args...), Env: append([]string{}, p.spec.Env...), Dir: p.spec.Dir,
			User: snapshot.User(p.spec.User), State: p.spec.State > 0,
		},
		Root:     p.spec.Root.info,
		Limits:   snapshot.Limits{Memory: l.Memory, Output: l.Output, Threads: l.Threads, Files: l.Files},
		Monitor:  snapshot.Monitor{Build: b, Types: fingerprint()},
		Platform: string(kind),
		CPU:      snapshot.CPU{XCR0: hexadecimal(f.XCR0), XSaveSize: f.XSaveSize, HWCAP: hexadecimal(f.HWCAP), HWCAP2: hexadecimal(f.HWCAP2), CPUID: f.CPUID},
		Clock:    snapshot.Clock{Guest: f.ClockOK, Tick: f.TSCMult},
	}
	if i.Program.SHA256, err = p.exe.digest(); err != nil {
		return i, fmt.Errorf("read %s: %w", p.exe.path, err)
	}
	if p.interp != nil {
		i.Program.Interpreter = p.interp.path
		if i.Program.InterpreterSHA256, err = p.interp.digest(); err != nil {
			return i, fmt.Errorf("read %s: %w", p.interp.path, err)
		}
	}
	i.Key = key(i)
	return i, nil
}

// key is the digest of what a snapshot depends on. The rate of the counter is not
// in it: it is measured, and a little different each time.
func key(i SnapshotInfo) string {
	i.Created, i.Key, i.Start, i.Threads, i.Learned = time.Time{}, "", 0, 0, nil
	i.Pages, i.State, i.Memory, i.Data, i.Used = snapshot.Section{}, snapshot.Section{}, snapshot.Section{}, 0, 0
	i.Clock.Tick = 0
	b, err := json.Marshal(i)
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// SnapshotKey returns what a snapshot of the program on this host is found by: a
// digest of the program and its dynamic linker, its arguments, environment, working
// directory and root, the limits that shape it, the build of the monitor, the
// platform, what the processor offers, and tag, which stands for what else the
// caller's snapshots depend on.
func (h *Host) SnapshotKey(p *Program, l Limits, tag string) (string, error) {
	l, err := l.withDefaults()
	if err != nil {
		return "", err
	}
	i, err := info(p, l, h.kind, h.p.Features(), tag)
	return i.Key, err
}

// Save writes the snapshot to a file that LoadSnapshot reads, readable for this
// user alone, in place of one that is there. The file appears whole or not at all.
// tag is that of SnapshotKey. The snapshot may be in use meanwhile. What it has learned
// of events is written too: worth to be saved once more. The error is a *SnapshotError.
func (s *Snapshot) Save(path, tag string) error {
	fail := func(r SnapshotReason, err error) error {
		return &SnapshotError{Path: path, Reason: r, Detail: "it could not be written", Err: err}
	}
	switch {
	case s.program.spec.Secret:
		return secretError(path)
	case !s.fs.Recorded():
		return fail(SnapshotFailed, errUnrecorded)
	}
	state, err := s.encode()
	if err != nil {
		return fail(SnapshotFailed, err)
	}
	return save(path, tag, s.program, s.limits, s.platform, s.kernel.Features(), s.image, state, s.LearnedPages(), s.Took, s.kernel.Threads())
}

var errUnrecorded = errors.New("the program has read more files than can be remembered")

func secretError(path string) error {
	return &SnapshotError{Path: path, Reason: SnapshotSecret, Detail: "the program has been given a secret, which must not come to rest on disk", Todo: "keep the snapshot in memory"}
}

// save writes a snapshot of p that took so long to come to with so many threads.
func save(path, tag string, p *Program, l Limits, kind Kind, f platform.Features, image *guestmem.Image, state []byte, learned []uint64, took time.Duration, threads int) error {
	i, err := info(p, l, kind, f, tag)
	if err != nil {
		return &SnapshotError{Path: path, Reason: SnapshotFailed, Detail: "it could not be written", Err: err}
	}
	i.Created, i.Start, i.Threads, i.Learned = time.Now().UTC().Truncate(time.Second), took, threads, snapshot.NewPages(learned)
	return snapshot.Write(path, i, state, image)
}

// encode returns what of the snapshot is not its memory.
func (s *Snapshot) encode() ([]byte, error) {
	state, err := stateTypes().Encode(&savedState{Snapshot: s})
	if err != nil {
		return nil, fmt.Errorf("the program holds something that cannot be written: %w", err)
	}
	return state, nil
}

// ReadSnapshotInfo returns the header of a snapshot file. With all it reads the
// whole file and compares its checksums. The error is a *SnapshotError.
func ReadSnapshotInfo(path string, all bool) (*SnapshotInfo, error) {
	f, err := snapshot.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if all {
		err = f.Verify()
	}
	return &f.Info, err
}

// SnapshotProgramSpec returns what a snapshot file was made of, for Host.LoadSnapshot,
// and its limits. The caller closes Root. The error is a *ProgramError when the
// program or its root is not to be had here.
func SnapshotProgramSpec(i *SnapshotInfo) (ProgramSpec, Limits, error) {
	spec := ProgramSpec{Path: i.Program.Path, Args: i.Program.Args, Env: i.Program.Env, Dir: i.Program.Dir, User: User(i.Program.User)}
	l := Limits{Memory: i.Limits.Memory, Output: i.Limits.Output, Threads: i.Limits.Threads, Files: i.Limits.Files}
	var err error
	switch i.Root.Kind {
	case rootProgram:
		spec.Root, err = ProgramRoot(i.Root.Path)
	case rootFolder:
		if i.Root.Owners != "" {
			spec.Root, err = ImageRoot(i.Root.Path, i.Root.Owners)
		} else {
			spec.Root, err = DirRoot(i.Root.Path)
		}
	default:
		err = &ProgramError{Path: i.Program.Path, Reason: fmt.Sprintf("the kind of its root, %q, is not known", i.Root.Kind)}
	}
	return spec, l, err
}

// LoadSnapshot returns the snapshot of p in a file that Save wrote. p and l must be
// what it was made with, but for l.Wall and l.CPU, and so must be the monitor, the
// processor, and those files of the root that the program had read; the error is a
// *SnapshotError that says what is not. The file is in use until the snapshot is
// closed: it may be removed or replaced, but not written.
func (h *Host) LoadSnapshot(p *Program, l Limits, path string) (*Snapshot, error) {
	i, image, state, err := h.openSnapshot(p, l, path)
	if err != nil {
		return nil, err
	}
	s, err := restored(p, image, state, h.p.Features())
	if err == nil {
		s.platform, s.fromDisk = h.kind, true
		s.Learn(i.Learned)
	}
	if err != nil {
		_ = image.Close()
		var changed *vfs.ChangedError
		if errors.As(err, &changed) {
			return nil, &SnapshotError{Path: path, Reason: SnapshotFiles, Detail: "a file that the program had seen is another now", Err: err, Todo: "make it again"}
		}
		return nil, &SnapshotError{Path: path, Reason: SnapshotDamaged, Detail: "its state makes no sense", Err: err, Todo: "remove it and make it again"}
	}
	return s, nil
}

// openSnapshot returns the parts of a snapshot of p, whose checksums are right and
// which fits this host.
func (h *Host) openSnapshot(p *Program, l Limits, path string) (*SnapshotInfo, *guestmem.Image, []byte, error) {
	l, err := l.withDefaults()
	if err != nil {
		return nil, nil, nil, err
	}
	f, err := snapshot.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = f.Close() }()
	want, err := info(p, l, h.kind, h.p.Features(), f.Info.Tag)
	if err != nil {
		return nil, nil, nil, &SnapshotError{Path: path, Reason: SnapshotFailed, Detail: "it cannot be compared with the program", Err: err}
	}
	if err := differs(path, &f.Info, &want); err != nil {
		return nil, nil, nil, err
	}
	state, err := f.State()
	if err != nil {
		return nil, nil, nil, err
	}
	f.Touch()
	image, err := f.Image()
	return &f.Info, image, state, err
}

// differs returns what of a file's header is not as it must be.
func differs(path string, is, want *SnapshotInfo) error {
	type check struct {
		reason SnapshotReason
		what   string
		is     any
		want   any
	}
	for _, c := range []check{
		{SnapshotBuild, "the build of the monitor that wrote it is", is.Monitor.Build, want.Monitor.Build},
		{SnapshotBuild, "the objects of the monitor that wrote it are", is.Monitor.Types, want.Monitor.Types},
		{SnapshotProgram, "it is of the program", is.Program.Path, want.Program.Path},
		{SnapshotProgram, "the SHA-256 of its program is", is.Program.SHA256, want.Program.SHA256},
		{SnapshotProgram, "its dynamic linker is", is.Program.Interpreter, want.Program.Interpreter},
		{SnapshotProgram, "the SHA-256 of its dynamic linker is", is.Program.InterpreterSHA256, want.Program.InterpreterSHA256},
		{SnapshotProgram, "its arguments are", is.Program.Args, want.Program.Args},
		{SnapshotProgram, "the SHA-256 of its environment is", environment(is), environment(want)},
		{SnapshotProgram, "its working directory is", is.Program.Dir, want.Program.Dir},
		{SnapshotProgram, "its root is", is.Root, want.Root},
		{SnapshotProgram, "its limits are", is.Limits, want.Limits},
		{SnapshotProcessor, "its program was made on platform " + is.Platform + " and has seen the processor", is.CPU, want.CPU},
		{SnapshotClock, "that its program reads clocks without leaving the machine is", is.Clock.Guest, want.Clock.Guest},
		{SnapshotClock, "a tick of the time stamp counter, in ns/2³², lasted", is.Clock.Tick, rate(is.Clock.Tick, want.Clock.Tick)},
	} {
		if !reflect.DeepEqual(c.is, c.want) {
			return &SnapshotError{Path: path, Reason: c.reason, Detail: fmt.Sprintf("%s %+v, here %+v", c.what, c.is, c.want), Todo: "make it again"}
		}
	}
	return nil
}

// environment stands for a program's environment in a message: there may be
// passwords in it.
func environment(i *SnapshotInfo) string {
	h := sha256.New()
	for _, v := range i.Program.Env {
		fmt.Fprintf(h, "%q\n", v)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// rate returns was when two measurements may be of one counter, else now: programs
// that have measured the counter themselves go by that. A measurement is good to
// far less than 0.1 %.
func rate(was, now uint64) uint64 {
	if max(was, now)-min(was, now) <= max(was, now)/1000 {
		return was
	}
	return now
}

// restored makes a snapshot of its parts. It takes over the image when it succeeds.
func restored(p *Program, image *guestmem.Image, state []byte, features platform.Features) (s *Snapshot, err error) {
	// The file was not changed by accident, and nobody but its owner could write it.
	// What a wrong state may still do must not end the monitor.
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("%v", r)
		}
	}()
	var saved *savedState
	fs := &vfs.FS{}
	g, err := stateTypes().Decode(state, &saved, p, image, fs, p.spec.Root.lower)
	if err != nil {
		return nil, err
	}
	s = saved.Snapshot
	if s == nil || s.program != p || s.image != image || s.spaces == nil || s.kernel == nil || s.fs == nil || s.stdin == nil || s.stdout == nil || s.stderr == nil {
		return nil, errors.New("a part of it is missing")
	}
	if err := s.kernel.Restore(syscalls.Table(), features); err != nil {
		return nil, err
	}
	if err := s.fs.Thaw(g, fs, p.spec.Root.lower, s.kernel.ProcInfo()); err != nil {
		return nil, err
	}
	if err := s.spaces.Check(image); err != nil {
		return nil, err
	}
	if err := s.fs.CheckLower(g); err != nil {
		return nil, err
	}
	return s, nil
}
