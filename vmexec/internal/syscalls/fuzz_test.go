// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Memory of a fuzzed program: slots with structures and strings, pages of every
// protection, and a stack.
const (
	fuzzSlots    = 0x1000_0000 // 16 structures, then 48 paths, fuzzSlotSize each
	fuzzSlotSize = 512
	fuzzPages    = fuzzSlots + 0x1_0000 // read-write page, read-only page, PROT_NONE page, hole
	fuzzStack    = fuzzSlots + 0x4_0000 // end of 64 KiB
	fuzzTop      = fuzzStack - 4096

	fuzzMemory = 8 << 20
	// fuzzAllocs bounds what the host may allocate for one call: whatever a call
	// keeps is charged to the memory of the VM, and the rest is working space.
	fuzzAllocs = 2*fuzzMemory + 4<<20
	// fuzzCPU bounds the processor time of one call.
	fuzzCPU = 3 * time.Second
	fuzzOps = 256
)

// fuzzPaths are the names that calls are given.
var fuzzPaths = [48]string{
	"/tmp/a", "/tmp/b", "/tmp/d", "/tmp/d/e", "a", "..", ".", "", "/", "/tmp", "/proc/self/fd/1", "/proc/self/fd/5",
	"/proc/self/maps", "/proc/self/status", "/proc/self/cwd", "/proc/self/exe", "/proc/self/task", "/proc/self/comm",
	"/proc/thread-self/stat", "/proc/meminfo", "/proc", "/proc/100/mountinfo", "/dev/null", "/dev/zero", "/dev/urandom",
	"/dev/full", "/dev/fd/0", "/dev/stdin", "/etc/motd", "/etc", "/etc/link", "/loop", "/sys", "/etc/motd/", "/tmp/../tmp/a",
	"/tmp/d/", "b/c", "/dev/tty", "/proc/self/fd", "/proc/self/fdinfo/3", "/proc/sys/kernel/random/uuid", "//tmp//b//",
	strings.Repeat("n", 255), strings.Repeat("n", 256), "/tmp/" + strings.Repeat("x", 200), strings.Repeat("./", 200),
	"/proc/self/fd/63", "memfd",
}

// fuzzNumbers are arguments that are sizes, flags or nonsense.
var fuzzNumbers = [48]uint64{
	0, 1<<64 - 1, 1 << 63, 1<<63 - 1, 1 << 62, x86.UserEnd, x86.UserEnd - 4096, 1 << 47, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32,
	1<<64 - 100, 1<<64 - 4096, 4096, 8, 24, 32, 64, 88, 128, 512, 65536, 1 << 20, 1 << 24, 1 << 30, 1000, 8191,
	0x50f00, 0x3d0f00, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, unix.MAP_SHARED | unix.MAP_ANONYMOUS,
	unix.MAP_PRIVATE | unix.MAP_FIXED, unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS, unix.O_CREAT | unix.O_RDWR, unix.O_TMPFILE | unix.O_RDWR,
	unix.O_PATH, unix.O_CREAT | unix.O_WRONLY | unix.O_APPEND, unix.O_DIRECTORY, unix.AT_EMPTY_PATH, unix.AT_SYMLINK_NOFOLLOW,
	100, 101, 0x1002, 0x5421, 0x541b, 1031, 1030,
}

// fuzzStructs are what the slots hold at first: the arguments that calls point to.
func fuzzStructs() (out [16][]byte) {
	words := func(vs ...uint64) []byte { return appendU64(nil, vs...) }
	rw := uint64(fuzzPages)
	out[0] = words(rw, 100, rw+4090, 100, fuzzSlots, 16, rw+8, 0) // iovecs; one runs into the read-only page
	out[1] = words(0, 1000)                                       // a timespec of 1 µs
	out[2] = words(0, 0)
	out[3] = words(1<<40, 999_999_999)
	out[4] = words(0, 1, 0, 20_000)        // itimerspec
	out[5] = words(1<<9|1<<13, ^uint64(0)) // signal sets
	out[6] = words(scriptHandler, 0x1400_0000, scriptReturn, 0)
	out[7] = appendU32(nil, 0, unix.POLLIN, 1, unix.POLLOUT, 3, 5, 4, 5, 5, 5, 6, 5, ^uint32(0), 5)
	out[8] = appendU32(nil, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET, 7, 0)
	out[9] = words(0x50f00, 0, rw, rw+4, 0, fuzzStack-32768, 4096, rw, 0, 0, 0) // clone_args
	out[10] = words(unix.O_RDWR|unix.O_CREAT, 0o644, 0)                         // open_how
	out[11] = words(20, 30)                                                     // rlimit
	out[12] = words(fuzzSlots+12*fuzzSlotSize, 8, fuzzSlots+12*fuzzSlotSize)    // a robust list that is a circle
	out[13] = appendU32(nil, 10, 0, ^uint32(0)-5, 0, 100, 0, 7)                 // siginfo, sigevent, flock
	out[14] = words(rw, ^uint64(0), 1<<47-8192, 8192, ^uint64(0)-10, 4096)      // hostile iovecs
	out[15] = appendU32(nil, unix.LINUX_CAPABILITY_VERSION_3, 0)
	return out
}

// fuzzRun is one program: a machine that runs no instruction and makes the calls
// that the input spells.
type fuzzRun struct {
	t     *testing.T
	k     *task.Kernel
	space *mm.MM
	mem   *guestmem.Memory
	data  []byte
	ops   int                          // calls of the input
	steps int                          // all exits
	last  map[*platform.Context]uint64 // number of the call that each thread has made
	kept  [16]uint64                   // results of the last calls
	nkept [2]int

	allocs  [1]metrics.Sample
	before  uint64 // allocated when the call began
	cpu     int64
	current string // the call under way
}

func (r *fuzzRun) byte() byte {
	if len(r.data) == 0 {
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *fuzzRun) bytes(n int) []byte {
	b := make([]byte, n)
	r.data = r.data[copy(b, r.data):]
	return b
}

// arg decodes an argument: a kind in the upper half of a byte and a choice in the
// lower one.
func (r *fuzzRun) arg() uint64 {
	b := r.byte()
	n := uint64(b & 15)
	switch b >> 4 {
	case 0:
		return n
	case 1:
		return 1 << n
	case 2:
		return 1 << (16 + n)
	case 3:
		return fuzzSlots + n*fuzzSlotSize
	case 4, 5, 6:
		return fuzzSlots + (uint64(b)-0x30)*fuzzSlotSize
	case 7: // around the ends of pages
		return fuzzPages + 4096*(1+n/4) - [4]uint64{0, 1, 8, 40}[n%4]
	case 8: // nothing is mapped there, or nothing of the program's
		return [16]uint64{0, 8, 4096, scriptCall, x86.UserEnd - 1, x86.UserEnd, x86.ControlVA + 4096, x86.VDSOVA, 1<<47 - 1, 1 << 47, 1 << 48, 1 << 63, 1<<64 - 1, 1<<64 - 8, 1<<64 - 4096, 0xffff_8000_0000_0000}[n]
	case 9:
		return -n - 1
	case 10:
		return 0xdead_beef_0000_0000 | n
	case 11:
		return r.kept[n]
	case 12:
		return fuzzNumbers[n]
	case 13:
		return fuzzNumbers[16+n]
	case 14:
		if n < 8 {
			return fuzzNumbers[32+n+8*uint64(r.byte()&1)]
		}
		return binary.LittleEndian.Uint64(r.bytes(8))
	}
	at := fuzzSlots + n*fuzzSlotSize
	if errno := r.space.CopyOut(at, r.bytes(8*(1+int(n)%6))); errno != 0 {
		return 0 // the program has unmapped it
	}
	return at
}

// Numbers at and beyond this in the input are not calls.
const fuzzSpecial = 0xf0

func (r *fuzzRun) Run(c *platform.Context) (platform.Exit, error) {
	g := &c.Regs
	r.finished(c)
	if r.steps++; r.steps > 8*fuzzOps { // such as a handler that returns to itself
		return r.make(c, unix.SYS_EXIT_GROUP, [6]uint64{})
	}
	switch g.RIP {
	case scriptCall: // a call that is made again
		g.RIP += 2
		r.begin(c)
		return platform.Exit{Kind: platform.ExitSyscall}, nil
	case scriptHandler:
		g.RSP += 8 // the handler's RET
		return r.make(c, unix.SYS_RT_SIGRETURN, [6]uint64{})
	}
	if g.RSP < fuzzStack-65536+8192 || g.RSP > fuzzStack {
		g.RSP = fuzzTop
	}
	if r.ops++; r.ops > fuzzOps || len(r.data) == 0 {
		return r.make(c, unix.SYS_EXIT_GROUP, [6]uint64{})
	}
	hi := r.byte()
	if hi >= fuzzSpecial {
		delete(r.last, c)
		return r.special(hi & 15), nil
	}
	nr := (uint64(hi)<<8 | uint64(r.byte())) % task.Calls
	for hi&0x80 == 0 && nr < task.Calls-1 && Table()[nr] == nil { // the upper half may hit unknown ones
		nr++
	}
	var args [6]uint64
	for i := range args {
		args[i] = r.arg()
	}
	return r.make(c, nr, args)
}

func (r *fuzzRun) special(n byte) platform.Exit {
	e := platform.Exit{Kind: platform.ExitException}
	switch n {
	case 0, 1:
		return platform.Exit{Kind: platform.ExitKick}
	case 2, 3, 4, 5, 6:
		e.Vector, e.Addr = x86.VecPageFault, r.arg()
		e.ErrorCode = [8]uint64{x86.FaultWrite, x86.FaultFetch}[n%8]
	default:
		e.Vector = int(r.byte()) % 32
	}
	return e
}

func (r *fuzzRun) make(c *platform.Context, nr uint64, a [6]uint64) (platform.Exit, error) {
	g := &c.Regs
	g.RAX, g.RDI, g.RSI, g.RDX, g.R10, g.R8, g.R9 = nr, a[0], a[1], a[2], a[3], a[4], a[5]
	g.RIP = scriptCall + 2
	r.begin(c)
	return platform.Exit{Kind: platform.ExitSyscall}, nil
}

func (r *fuzzRun) begin(c *platform.Context) {
	g := &c.Regs
	r.last[c] = g.RAX
	r.current = fmt.Sprintf("%s(%#x, %#x, %#x, %#x, %#x, %#x)", Name(g.RAX), g.RDI, g.RSI, g.RDX, g.R10, g.R8, g.R9)
	metrics.Read(r.allocs[:])
	r.before = r.allocs[0].Value.Uint64()
	r.cpu = fuzzThreadCPU()
}

// finished checks what the last call left.
func (r *fuzzRun) finished(c *platform.Context) {
	r.cost()
	if nr, ok := r.last[c]; ok {
		v := c.Regs.RAX
		if -v > 0 && -v < 4096 && -v > 133 && nr != unix.SYS_RT_SIGRETURN && c.Regs.RIP == scriptCall+2 {
			r.t.Errorf("%s gave the program %d", r.current, int64(v))
		}
		delete(r.last, c)
		if v > 2 && v < 1<<47 { // small ones and addresses apart
			at := 0
			if v >= mm.MinVA {
				at = 1
			}
			r.kept[8*at+r.nkept[at]%8] = v
			r.nkept[at]++
		}
	}
}

// cost checks the bounds that hold at any time.
func (r *fuzzRun) cost() {
	if r.mem.Used() > r.mem.Limit() {
		r.t.Errorf("%s: %d pages are in use, the limit is %d", r.current, r.mem.Used(), r.mem.Limit())
	}
	if r.current == "" {
		return
	}
	metrics.Read(r.allocs[:])
	if n := r.allocs[0].Value.Uint64() - r.before; n > fuzzAllocs {
		r.t.Errorf("%s allocated %d bytes on the host", r.current, n)
	}
	if d := time.Duration(fuzzThreadCPU() - r.cpu); d > fuzzCPU {
		r.t.Errorf("%s took %v of processor time", r.current, d)
	}
}

func fuzzThreadCPU() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return ts.Nano()
}

func (*fuzzRun) Bind() error                    { return nil }
func (*fuzzRun) SaveFP(*platform.Context) error { return nil }
func (*fuzzRun) LoadFP(*platform.Context)       {}
func (*fuzzRun) Reset() error                   { return nil }

func (r *fuzzRun) Forget(c *platform.Context) { delete(r.last, c) }
func (r *fuzzRun) DropRoot(uint64)            {}
func (*fuzzRun) Timer(int64, int64) error     { return nil }
func (*fuzzRun) Kick()                        {}
func (*fuzzRun) Close() error                 { return nil }

// account is a budget of the VM's memory that knows what was taken through it.
type account struct {
	t    *testing.T
	name string
	mem  *guestmem.Memory
	held int64
}

func (a *account) take(n int64) bool {
	if n < 0 {
		a.t.Errorf("%s: charged %d pages", a.name, n)
	}
	if !a.mem.Charge(uint64(n)) {
		return false
	}
	a.held += n
	return true
}

func (a *account) give(n int64) {
	if a.held -= n; n < 0 || a.held < 0 {
		a.t.Errorf("%s: released %d pages of %d", a.name, n, a.held+n)
	}
	a.mem.Release(uint64(n))
}

type fsAccount struct{ account }

func (a *fsAccount) Charge(n int64) bool { return a.take(n) }
func (a *fsAccount) Release(n int64)     { a.give(n) }

type pipeAccount struct{ account }

func (a *pipeAccount) Charge(n uint64) bool { return a.take(int64(n)) }
func (a *pipeAccount) Release(n uint64)     { a.give(int64(n)) }

// fuzzLower makes a folder of the host that programs see, and returns a function
// that tells what is in it.
func fuzzLower(tb testing.TB) (vfs.Lower, func() string) {
	dir := tb.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "etc"), 0o755), os.Mkdir(filepath.Join(dir, "tmp"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc/motd"), []byte(strings.Repeat("welcome\n", 2000)), 0o644),
		os.Symlink("motd", filepath.Join(dir, "etc/link")), os.Symlink("loop", filepath.Join(dir, "loop")),
		os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o755), os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")),
	} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	lower, err := vfs.NewHostDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return lower, func() string {
		var b strings.Builder
		err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
			if err == nil {
				fmt.Fprintln(&b, path, st.Mode(), st.Size(), st.ModTime())
			}
			return err
		})
		return b.String() + fmt.Sprint(err)
	}
}

// fuzzProgram runs the program that data spells.
func fuzzProgram(t *testing.T, lower vfs.Lower, data []byte) task.Outcome {
	t.Helper()
	mem, err := guestmem.New(fuzzMemory)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	space, err := mm.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []mm.VMA{
		{Start: fuzzSlots, End: fuzzSlots + 64*fuzzSlotSize, Prot: mm.Read | mm.Write},
		{Start: fuzzPages, End: fuzzPages + 4096, Prot: mm.Read | mm.Write},
		{Start: fuzzPages + 4096, End: fuzzPages + 2*4096, Prot: mm.Read},
		{Start: fuzzPages + 2*4096, End: fuzzPages + 3*4096},
		{Start: fuzzStack - 65536, End: fuzzStack, Prot: mm.Read | mm.Write, Stack: true},
	} {
		if errno := space.Map(v); errno != 0 {
			t.Fatal(errno)
		}
	}
	space.SetBrkStart(fuzzSlots + 0x100_0000)
	for i, b := range fuzzStructs() {
		if errno := space.CopyOut(fuzzSlots+uint64(i)*fuzzSlotSize, b); errno != 0 {
			t.Fatal(errno)
		}
	}
	for i, s := range fuzzPaths {
		if errno := space.CopyOut(fuzzSlots+uint64(16+i)*fuzzSlotSize, append([]byte(s), 0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	r := &fuzzRun{t: t, mem: mem, space: space, data: data, last: map[*platform.Context]uint64{}}
	r.allocs[0].Name = "/gc/heap/allocs:bytes"
	random := rand.NewChaCha8([32]byte{})
	k := task.New(task.Config{
		Table: Table(), Memory: mem, MM: space, Machine: r, Rand: random,
		Features: platform.Features{XCR0: 3, XSaveSize: 576},
		// A program that waits is ended almost at once.
		Limits: task.Limits{Threads: 8, Files: 64, Wall: 2 * time.Millisecond},
	})
	r.k = k
	files := &fsAccount{account{t: t, name: "files", mem: mem}}
	k.FS, err = vfs.New(vfs.Config{Lower: lower, Budget: files, Now: k.Clock.Realtime, Rand: random, Proc: k.ProcInfo()})
	if err != nil {
		t.Fatal(err)
	}
	p := k.Init
	p.Cwd = k.FS.Root()
	exe, _ := k.FS.Resolve(k.FS.Root(), "/a", 0)
	p.SetExe(exe)
	pipes := &pipeAccount{account{t: t, name: "pipes", mem: mem}}
	p.FDs.System().Memory = pipes
	released := 0
	install := func(f fd.File) {
		if _, errno := p.FDs.Install(&countedFile{f, &released}, false, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	install(fd.NewEventInput([]byte(strings.Repeat("input ", 100))))
	install(fd.NewCaptureOutput(1<<16, func() { k.End(task.OutputLimit) }))
	install(fd.NewStreamOutput(io.Discard, k.Post))
	// Handlers, so that not every second program dies of its first signal.
	for sig := 1; sig < int(unix.SIGTERM); sig++ {
		if sig != int(unix.SIGKILL) {
			p.SetAction(sig, task.SigAction{Handler: scriptHandler, Flags: 0x0400_0000, Restorer: scriptReturn})
		}
	}
	for _, reg := range []*uint64{&p.Threads[0].Ctx.Regs.RIP, &p.Threads[0].Ctx.Regs.RSP} {
		*reg = fuzzTop
	}
	out, err := k.Run(context.Background())
	if err != nil {
		t.Errorf("%s: the monitor failed: %v", r.current, err)
	}
	r.cost()
	// The end of a VM, and what must not be left of it.
	p.Timers.Clear()
	k.CloseFiles()
	space.Unmap(mm.MinVA, x86.UserEnd)
	k.FS.Close()
	switch {
	case released != 3:
		t.Errorf("%d of 3 standard streams were released", released)
	case len(p.FDs.List()) != 0:
		t.Errorf("%d descriptors are open at the end", len(p.FDs.List()))
	case pipes.held != 0:
		t.Errorf("%d pages of pipes are left", pipes.held)
	case files.held != 0:
		t.Errorf("%d pages of files are left", files.held)
	}
	return out
}

// countedFile counts its releases.
type countedFile struct {
	fd.File
	released *int
}

func (f *countedFile) Release() {
	*f.released++
	f.File.Release()
}

// Arguments of fuzzOp, as fuzzRun.arg decodes them.
func fuzzSlot(n byte) []byte   { return []byte{0x30 + n} }
func fuzzPath(s string) []byte { return []byte{0x40 + byte(slices.Index(fuzzPaths[:], s))} }

func fuzzWord(v uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{0xe8}, v)
}

// fuzzOp spells a call.
func fuzzOp(nr int, args ...any) []byte {
	b := []byte{byte(nr >> 8), byte(nr)}
	for i := range 6 {
		switch {
		case i >= len(args):
			b = append(b, 0)
		default:
			switch a := args[i].(type) {
			case []byte:
				b = append(b, a...)
			case int:
				b = append(b, fuzzWord(uint64(a))...)
			case uint64:
				b = append(b, fuzzWord(a)...)
			}
		}
	}
	return b
}

// fuzzSeeds are programs that reach the families; crashes that were found are
// among them for good.
func fuzzSeeds() map[string][]byte {
	join := func(ops ...[]byte) []byte { return slices.Concat(ops...) }
	rw := uint64(fuzzPages)
	return map[string][]byte{
		"files": join(
			fuzzOp(unix.SYS_MKDIR, fuzzPath("/tmp/d"), 0o755),
			fuzzOp(unix.SYS_OPEN, fuzzPath("/tmp/a"), unix.O_CREAT|unix.O_RDWR, 0o644),
			fuzzOp(unix.SYS_WRITEV, 3, fuzzSlot(0), 2), fuzzOp(unix.SYS_PREADV, 3, fuzzSlot(0), 4, 0),
			fuzzOp(unix.SYS_MMAP, 0, 8192, unix.PROT_READ, unix.MAP_PRIVATE, 3, 0),
			fuzzOp(unix.SYS_RENAME, fuzzPath("/tmp/a"), fuzzPath("/tmp/d/e")),
			fuzzOp(unix.SYS_OPEN, fuzzPath("/tmp/d"), 0), fuzzOp(unix.SYS_GETDENTS64, 4, rw, 4096),
			fuzzOp(unix.SYS_SENDFILE, 1, 3, 0, 1<<20), fuzzOp(unix.SYS_FTRUNCATE, 3, math.MaxInt64),
			fuzzOp(unix.SYS_FALLOCATE, 3, 3, 0, math.MaxInt64), fuzzOp(unix.SYS_COPY_FILE_RANGE, 3, 0, 3, fuzzSlot(3), -1),
			fuzzOp(unix.SYS_PWRITE64, 3, rw, 4096, math.MaxInt64-10), fuzzOp(unix.SYS_UNLINK, fuzzPath("/tmp/d/e")),
		),
		"pipes and epoll": join(
			fuzzOp(unix.SYS_PIPE2, rw, unix.O_NONBLOCK), fuzzOp(unix.SYS_EPOLL_CREATE1, 0),
			fuzzOp(unix.SYS_EPOLL_CTL, 5, unix.EPOLL_CTL_ADD, 3, fuzzSlot(8)), fuzzOp(unix.SYS_WRITE, 4, fuzzSlot(0), 512),
			fuzzOp(unix.SYS_EPOLL_WAIT, 5, rw, 100_000_000, 0), fuzzOp(unix.SYS_SPLICE, 3, 0, 1, 0, 100, 0),
			fuzzOp(unix.SYS_FCNTL, 3, unix.F_SETPIPE_SZ, 1<<20), fuzzOp(unix.SYS_PIPE, rw), fuzzOp(unix.SYS_TEE, 3, 7, 10, 0),
			fuzzOp(unix.SYS_POLL, fuzzSlot(7), 7, 1), fuzzOp(unix.SYS_DUP2, 4, 40), fuzzOp(unix.SYS_CLOSE_RANGE, 3, -1),
		),
		"threads": join(
			fuzzOp(unix.SYS_CLONE, 0x50f00, fuzzStack-32768), fuzzOp(unix.SYS_CLONE3, fuzzSlot(9), 88),
			fuzzOp(unix.SYS_FUTEX, rw+8, 0, 0, fuzzSlot(1)), fuzzOp(unix.SYS_FUTEX, rw+8, 3, 0, 9, rw+16),
			fuzzOp(unix.SYS_SET_ROBUST_LIST, fuzzSlot(12), 24), fuzzOp(unix.SYS_SCHED_YIELD), fuzzOp(unix.SYS_EXIT),
			fuzzOp(unix.SYS_FUTEX, rw+16, 1, 100), fuzzOp(unix.SYS_NANOSLEEP, fuzzSlot(1)),
		),
		"signals": join(
			fuzzOp(unix.SYS_RT_SIGACTION, 10, fuzzSlot(6), 0, 8), fuzzOp(unix.SYS_KILL, 100, 10), fuzzOp(unix.SYS_RT_SIGPROCMASK, 0, fuzzSlot(5), 0, 8),
			fuzzOp(unix.SYS_TGKILL, 100, 100, 10), fuzzOp(unix.SYS_RT_SIGTIMEDWAIT, fuzzSlot(5), rw, fuzzSlot(1), 8),
			fuzzOp(unix.SYS_TIMER_CREATE, 1, 0, rw), fuzzOp(unix.SYS_TIMER_SETTIME, 0, 0, fuzzSlot(4), 0),
			fuzzOp(unix.SYS_SETITIMER, 0, fuzzSlot(4), 0), fuzzOp(unix.SYS_PPOLL, 0, 0, fuzzSlot(1), fuzzSlot(5), 8),
			fuzzOp(unix.SYS_RT_SIGSUSPEND, fuzzSlot(2), 8),
		),
		"memory": join(
			fuzzOp(unix.SYS_MMAP, 0, 1<<40, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0),
			fuzzOp(unix.SYS_READ, 0, []byte{0xb0}, 1<<20), fuzzOp(unix.SYS_MINCORE, []byte{0xb0}, 1<<40, rw),
			fuzzOp(unix.SYS_MREMAP, []byte{0xb0}, 1<<40, 4096, 1), fuzzOp(unix.SYS_MADVISE, []byte{0xb0}, 1<<40, 4),
			fuzzOp(unix.SYS_MPROTECT, []byte{0xb0}, 1<<30, 0), fuzzOp(unix.SYS_BRK, fuzzSlots+0x200_0000), fuzzOp(unix.SYS_MUNMAP, 0, x86.UserEnd),
		),
		"hostile vectors": join(
			fuzzOp(unix.SYS_READV, 0, fuzzSlot(14), 3), fuzzOp(unix.SYS_WRITEV, 1, fuzzSlot(14), 1024), fuzzOp(unix.SYS_WRITEV, 1, rw+4088, 1),
			fuzzOp(unix.SYS_GETRANDOM, x86.UserEnd-8, -1, 0), fuzzOp(unix.SYS_PREADV2, 0, fuzzSlot(14), -1, -2),
		),
	}
}

// FuzzSyscalls runs programs of arbitrary calls on the real kernel of a VM. It must
// not panic or fail, not use more memory than it may, and leave nothing behind, on
// the host least of all.
func FuzzSyscalls(f *testing.F) {
	for _, s := range fuzzSeeds() {
		f.Add(s)
	}
	lower, state := fuzzLower(f)
	before := state()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzProgram(t, lower, data)
		if after := state(); after != before {
			t.Errorf("the host's files were:\n%s\nand are:\n%s", before, after)
		}
	})
}

var randomPrograms = flag.Int("programs", 300, "random programs that TestRandomSyscalls runs")

// TestRandomSyscalls runs programs as FuzzSyscalls does, but with calls that are
// more often sensible than what mutation finds in a short time.
func TestRandomSyscalls(t *testing.T) {
	lower, state := fuzzLower(t)
	before := state()
	seed := rand.Uint64()
	endings := map[task.Ending]int{}
	for i := range uint64(*randomPrograms) {
		endings[fuzzProgram(t, lower, randomProgram(rand.New(rand.NewPCG(seed, i)))).Ending]++
		if t.Failed() {
			t.Fatalf("program %d of seed %d", i, seed)
		}
	}
	t.Logf("endings: %v", endings)
	if after := state(); after != before {
		t.Errorf("the host's files were:\n%s\nand are:\n%s", before, after)
	}
}

// fuzzShapes are sensible arguments of calls, a letter each: f a descriptor, p a
// path, b a buffer, n a size, i a small number, w flags of open, c an address that a call
// gave, 0 zero, a character from 3 on a descriptor that programs begin with; a
// capital letter is the slot with the structure for the call.
var fuzzShapes = map[int]string{
	unix.SYS_READ: "fbn", unix.SYS_WRITE: "fbn", unix.SYS_READV: "3Ai", unix.SYS_WRITEV: "4Ai", unix.SYS_PREAD64: "fbnn", unix.SYS_PWRITE64: ":bnn",
	unix.SYS_PREADV: ":Ain", unix.SYS_PWRITEV2: "fAin0i", unix.SYS_LSEEK: "fni", unix.SYS_SENDFILE: "f:Cn", unix.SYS_COPY_FILE_RANGE: ":C:Bn0",
	unix.SYS_OPEN: "pwn", unix.SYS_OPENAT: "fpwn", unix.SYS_CREAT: "pn", unix.SYS_OPENAT2: "fpKn", unix.SYS_CLOSE: "f", unix.SYS_DUP: "f", unix.SYS_DUP2: "ff",
	unix.SYS_DUP3: "ffn", unix.SYS_FCNTL: "fnn", unix.SYS_IOCTL: "fnb", unix.SYS_PIPE: "b", unix.SYS_PIPE2: "b0", unix.SYS_SPLICE: "3bf0n0", unix.SYS_TEE: "36n0",
	unix.SYS_EPOLL_CREATE1: "0", unix.SYS_EPOLL_CTL: "7ifI", unix.SYS_EPOLL_WAIT: "7bii", unix.SYS_EPOLL_PWAIT: "7bniF", unix.SYS_EPOLL_PWAIT2: "7bnB0",
	unix.SYS_EVENTFD2: "i0", unix.SYS_TIMERFD_CREATE: "i0", unix.SYS_TIMERFD_SETTIME: "9iEb", unix.SYS_TIMERFD_GETTIME: "9b",
	unix.SYS_POLL: "Hii", unix.SYS_PPOLL: "HiBF", unix.SYS_SELECT: "nFFFB", unix.SYS_PSELECT6: "nFFFB0",
	unix.SYS_TIMER_CREATE: "iNb", unix.SYS_TIMER_SETTIME: "iiEb", unix.SYS_TIMER_GETTIME: "ib", unix.SYS_TIMER_DELETE: "i", unix.SYS_TIMER_GETOVERRUN: "i",
	unix.SYS_SETITIMER: "iEb", unix.SYS_GETDENTS64: ";bn", unix.SYS_GETDENTS: ";bn", unix.SYS_FCHDIR: "f", unix.SYS_CHDIR: "p", unix.SYS_GETCWD: "bn",
	unix.SYS_MKDIR: "pn", unix.SYS_RENAME: "pp", unix.SYS_RENAMEAT2: "fpfpi", unix.SYS_LINK: "pp", unix.SYS_SYMLINK: "pp", unix.SYS_UNLINK: "p", unix.SYS_RMDIR: "p",
	unix.SYS_LINKAT: "fpfpn", unix.SYS_READLINK: "pbn", unix.SYS_FTRUNCATE: ":n", unix.SYS_TRUNCATE: "pn", unix.SYS_FALLOCATE: ":inn", unix.SYS_STAT: "pb",
	unix.SYS_STATX: "fpn0b", unix.SYS_FSTAT: "fb", unix.SYS_UTIMENSAT: "fpB0", unix.SYS_MEMFD_CREATE: "p0", unix.SYS_STATFS: "pb",
	unix.SYS_MMAP: "0ninf0", unix.SYS_MREMAP: "cnni", unix.SYS_MPROTECT: "cni", unix.SYS_MADVISE: "cni", unix.SYS_MUNMAP: "cn", unix.SYS_MINCORE: "cnb", unix.SYS_BRK: "n",
	unix.SYS_CLONE: "nbbbb", unix.SYS_CLONE3: "Jn", unix.SYS_FUTEX: "biiBbi", unix.SYS_SET_ROBUST_LIST: "Mn", unix.SYS_SET_TID_ADDRESS: "b",
	unix.SYS_RT_SIGACTION: "iGbn", unix.SYS_RT_SIGPROCMASK: "iFbn", unix.SYS_RT_SIGTIMEDWAIT: "FbBn", unix.SYS_RT_SIGQUEUEINFO: "niN", unix.SYS_SIGALTSTACK: "Bb",
	unix.SYS_NANOSLEEP: "Bb", unix.SYS_CLOCK_NANOSLEEP: "iiBb", unix.SYS_PRLIMIT64: "0iLb", unix.SYS_PRCTL: "ipii", unix.SYS_CAPGET: "Pb", unix.SYS_TGKILL: "nni",
	unix.SYS_CLOSE_RANGE: "fii",
}

// fuzzArg spells an argument of a shape.
func fuzzArg(r *rand.Rand, shape byte) []byte {
	n := byte(r.IntN(16))
	switch shape {
	case 'f':
		return []byte{0xb0*byte(r.IntN(2)) | n}
	case 'p':
		return []byte{0x40 + byte(r.IntN(48))}
	case 'b':
		return [][]byte{{0x30 + n}, {0x70}, {0x71 + n%15}, fuzzWord(fuzzPages), fuzzWord(fuzzPages + uint64(n)*256)}[r.IntN(5)]
	case 'n':
		return [][]byte{{n}, {0xc0 + n}, {0xd0 + n}, {0xe0 + n%8, byte(r.Uint32())}}[r.IntN(4)]
	case 'i':
		return []byte{n & byte([3]int{1, 3, 15}[r.IntN(3)])}
	case 'w':
		return [][]byte{{n % 4}, {0xe4 + n%4, n}, fuzzWord(uint64(unix.O_CREAT|unix.O_RDWR) | r.Uint64()&0xe00)}[r.IntN(3)]
	case 'c':
		return []byte{0xb8 + n%8}
	case '0':
		return []byte{0}
	}
	if shape >= '3' && shape <= '<' {
		if r.IntN(5) == 0 {
			return fuzzArg(r, 'f')
		}
		return []byte{shape - '0'}
	}
	if shape >= 'A' && shape <= 'P' {
		return []byte{0x30 + shape - 'A'}
	}
	b := []byte{byte(r.Uint32())}
	if b[0] >= 0xe0 {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

// randomProgram spells a program that does not end at once.
func randomProgram(r *rand.Rand) []byte {
	all := slices.Sorted(maps.Keys(Entries()))
	shaped := slices.Sorted(maps.Keys(fuzzShapes))
	// Descriptors from 3 on: two pipes, a set, a counter, a timer, a file, a folder,
	// a place.
	b := slices.Concat(fuzzOp(unix.SYS_PIPE2, fuzzPages, unix.O_NONBLOCK), fuzzOp(unix.SYS_PIPE, fuzzPages), fuzzOp(unix.SYS_EPOLL_CREATE1),
		fuzzOp(unix.SYS_EVENTFD2, 1, unix.O_NONBLOCK), fuzzOp(unix.SYS_TIMERFD_CREATE, 1, unix.O_NONBLOCK),
		fuzzOp(unix.SYS_OPEN, fuzzPath("/tmp/a"), unix.O_CREAT|unix.O_RDWR, 0o644), fuzzOp(unix.SYS_OPEN, fuzzPath("/tmp"), 0),
		fuzzOp(unix.SYS_OPEN, fuzzPath("/etc/motd"), unix.O_PATH))
	for range 20 + r.IntN(180) {
		if r.IntN(30) == 0 {
			b = append(b, fuzzSpecial+byte(r.IntN(3)), byte(r.Uint32()))
			continue
		}
		nr := all[r.IntN(len(all))]
		if r.IntN(4) != 0 {
			nr = shaped[r.IntN(len(shaped))]
		}
		switch nr {
		case unix.SYS_EXIT_GROUP, unix.SYS_EXIT, unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGRETURN, unix.SYS_PAUSE,
			unix.SYS_RT_SIGSUSPEND, unix.SYS_CLOSE_RANGE, unix.SYS_CLOSE, unix.SYS_SETRLIMIT, unix.SYS_PRLIMIT64:
			if r.IntN(20) != 0 {
				continue
			}
		}
		b = append(b, byte(nr>>8), byte(nr))
		shape := fuzzShapes[nr]
		for i := range 6 {
			kind := byte('x')
			if i < len(shape) && r.IntN(12) != 0 {
				kind = shape[i]
			} else if shape != "" && r.IntN(3) != 0 {
				kind = '0'
			}
			b = append(b, fuzzArg(r, kind)...)
		}
	}
	return b
}

func FuzzWaitv(f *testing.F) {
	f.Add([]byte{})
	f.Add(slices.Repeat([]byte{0xff}, waitvSize*3))
	one := make([]byte, waitvSize)
	one[8], one[16] = 4, waitvFlag32
	f.Add(one)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, errno := decodeWaitv(b)
		if errno == 0 && len(list) != len(b)/waitvSize {
			t.Errorf("%d bytes are %d futexes", len(b), len(list))
		}
		for _, x := range list {
			if x.Addr%4 != 0 {
				t.Errorf("futex at %#x", x.Addr)
			}
		}
	})
}

func FuzzSchedAttr(f *testing.F) {
	f.Add(make([]byte, schedAttrSize))
	f.Add(slices.Repeat([]byte{0xff}, schedAttrSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < schedAttrSize {
			return
		}
		policy, nice, _, _, errno := decodeSchedAttr(b)
		if errno == 0 && (policy < 0 || nice < minNice || nice > maxNice) {
			t.Errorf("policy %d, nice %d", policy, nice)
		}
	})
}
