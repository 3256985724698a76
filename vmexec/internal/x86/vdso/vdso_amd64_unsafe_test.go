// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func open(t testing.TB, img []byte) *elf.File {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(img))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// symbol returns the offset of a function in the image.
func symbol(t testing.TB, img []byte, name string) uint64 {
	t.Helper()
	syms, err := open(t, img).DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range syms {
		if s.Name == name {
			return s.Value
		}
	}
	t.Fatalf("no symbol %s", name)
	return 0
}

func TestImageShape(t *testing.T) {
	img := Image(0x7fff_0000_0000)
	if len(img) == 0 || len(img)%pageSize != 0 {
		t.Fatalf("%d bytes", len(img))
	}
	f := open(t, img)
	if f.Type != elf.ET_DYN || f.Machine != elf.EM_X86_64 || f.Entry != 0 {
		t.Errorf("header %+v", f.FileHeader)
	}
	var loads, dynamics int
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			loads++
			if p.Off != 0 || p.Vaddr != 0 || p.Filesz != uint64(len(img)) || p.Memsz != p.Filesz || p.Flags != elf.PF_R|elf.PF_X {
				t.Errorf("segment %+v", p.ProgHeader)
			}
		case elf.PT_DYNAMIC:
			dynamics++
			if p.Flags != elf.PF_R || p.Off != p.Vaddr || p.Vaddr%8 != 0 {
				t.Errorf("dynamic %+v", p.ProgHeader)
			}
		}
	}
	if loads != 1 || dynamics != 1 {
		t.Errorf("%d PT_LOAD, %d PT_DYNAMIC; want one of each", loads, dynamics)
	}
	name, err := f.DynString(elf.DT_SONAME)
	if err != nil || !cmp.Equal(name, []string{"linux-vdso.so.1"}) {
		t.Errorf("SONAME %q, %v", name, err)
	}
	versions, err := f.DynamicVersions()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]elf.DynamicVersion{
		{Name: SOName, Index: 1, Flags: elf.VER_FLG_BASE},
		{Name: Version, Index: 2},
	}, versions); d != "" {
		t.Error(d)
	}
	syms, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]elf.SymBind{}
	for _, s := range syms {
		got[s.Name] = elf.ST_BIND(s.Info)
		if s.Version != Version || s.VersionIndex.Index() != 2 || s.VersionIndex.IsHidden() {
			t.Errorf("%s: version %q, index %v", s.Name, s.Version, s.VersionIndex)
		}
		text := f.Section(".text")
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Value%16 != 0 || s.Value < text.Addr || s.Value+s.Size > text.Addr+text.Size {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	if d := cmp.Diff(map[string]elf.SymBind{
		"__vdso_clock_gettime": elf.STB_GLOBAL, "clock_gettime": elf.STB_WEAK,
		"__vdso_gettimeofday": elf.STB_GLOBAL, "gettimeofday": elf.STB_WEAK,
		"__vdso_time": elf.STB_GLOBAL, "time": elf.STB_WEAK,
		"__vdso_getcpu": elf.STB_GLOBAL, "getcpu": elf.STB_WEAK,
		"__vdso_clock_getres": elf.STB_GLOBAL, "clock_getres": elf.STB_WEAK,
	}, got); d != "" {
		t.Error(d)
	}
}

// TestLookup finds the functions as musl and the Go runtime do: from the program
// headers and the hash table alone, with the version LINUX_2.6.
func TestLookup(t *testing.T) {
	img := Image(0x1000)
	le := binary.LittleEndian
	str := func(table, at uint64) string {
		s, _, _ := bytes.Cut(img[table+at:], []byte{0})
		return string(s)
	}
	dyn := map[elf.DynTag]uint64{}
	for _, p := range open(t, img).Progs {
		if p.Type != elf.PT_DYNAMIC {
			continue
		}
		for b := img[p.Off:]; le.Uint64(b) != uint64(elf.DT_NULL); b = b[16:] {
			dyn[elf.DynTag(le.Uint64(b))] = le.Uint64(b[8:])
		}
	}
	// The version: what Go's runtime compares, hash and name.
	version := uint16(0)
	for def := img[dyn[elf.DT_VERDEF]:]; ; {
		aux := def[le.Uint32(def[12:]):]
		if le.Uint16(def[2:])&1 == 0 && le.Uint32(def[8:]) == 0x3ae75f6 && str(dyn[elf.DT_STRTAB], uint64(le.Uint32(aux))) == "LINUX_2.6" {
			version = le.Uint16(def[4:]) & 0x7fff
		}
		next := le.Uint32(def[16:])
		if next == 0 {
			break
		}
		def = def[next:]
	}
	if version == 0 {
		t.Fatal("no version LINUX_2.6 with hash 0x3ae75f6")
	}
	hash := img[dyn[elf.DT_HASH]:]
	buckets, chains := le.Uint32(hash), le.Uint32(hash[4:])
	if chains != 11 {
		t.Errorf("%d symbols in the hash table; musl counts them here", chains)
	}
	// Names and hashes as in the Go runtime's vdso_linux_amd64.go.
	for name, h := range map[string]uint32{"__vdso_gettimeofday": 0x315ca59, "__vdso_clock_gettime": 0xd35ec75, "__vdso_time": sysvHash("__vdso_time"), "getcpu": sysvHash("getcpu")} {
		found := false
		for i := le.Uint32(hash[8+4*(h%buckets):]); i != 0; i = le.Uint32(hash[8+4*(buckets+i):]) {
			sym := img[dyn[elf.DT_SYMTAB]+24*uint64(i):]
			if str(dyn[elf.DT_STRTAB], uint64(le.Uint32(sym))) == name {
				found = le.Uint16(img[dyn[elf.DT_VERSYM]+2*uint64(i):])&0x7fff == version && le.Uint16(sym[6:]) != 0
			}
		}
		if !found {
			t.Errorf("%s (hash %#x) is not found", name, h)
		}
	}
}

func TestImageAddress(t *testing.T) {
	a, b := Image(0x1122334455667788), Image(0)
	places := 0
	for i := 0; i+8 <= len(a); i++ {
		if binary.LittleEndian.Uint64(a[i:]) == 0x1122334455667788 {
			places++
		}
	}
	if places != len(functions) {
		t.Errorf("the address of the data page is in %d places, want %d", places, len(functions))
	}
	for name, img := range map[string][]byte{"first": a, "second": b} {
		if bytes.Contains(img, binary.LittleEndian.AppendUint64(nil, dataMagic)) {
			t.Errorf("%s image: the placeholder is still there", name)
		}
	}
}

func TestEncode(t *testing.T) {
	d := Data{Enabled: true, Generation: 2, TSCBase: 3, Mult: 4, MonotonicBase: 5, RealtimeOffset: -6, CPU: 7}
	got := bytes.Repeat([]byte{0xff}, DataSize)
	d.Encode(got)
	want := []byte("\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00" +
		"\x05\x00\x00\x00\x00\x00\x00\x00\xfa\xff\xff\xff\xff\xff\xff\xff\x07\x00\x00\x00\x00\x00\x00\x00")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTickMult(t *testing.T) {
	for khz, want := range map[uint64]uint64{1e6: 1 << 32, 2e6: 1 << 31, 500e3: 1 << 33, 1000: 1000 << 32} {
		if got := TickMult(khz); got != want {
			t.Errorf("%d kHz: got %d, want %d", khz, got, want)
		}
	}
}

// frozen is a clock that stands still: the counter is behind the base.
func frozen(mono, offset int64) Data {
	return Data{Enabled: true, TSCBase: math.MaxUint64, Mult: 1 << 32, MonotonicBase: mono, RealtimeOffset: offset, CPU: 3}
}

func TestClockGettime(t *testing.T) {
	const mono, wall = 5_000_000_123, 1_700_000_000_999_999_999
	d := frozen(mono, wall-mono)
	l := load(t, &d)
	fn := symbol(t, l.img, "__vdso_clock_gettime")
	res := symbol(t, l.img, "__vdso_clock_getres")
	for clock, want := range map[uint64]int64{
		unix.CLOCK_REALTIME: wall, unix.CLOCK_REALTIME_COARSE: wall,
		unix.CLOCK_MONOTONIC: mono, unix.CLOCK_MONOTONIC_COARSE: mono, unix.CLOCK_MONOTONIC_RAW: mono, unix.CLOCK_BOOTTIME: mono,
	} {
		var ts unix.Timespec
		if r := l.call(fn, clock, unsafe.Pointer(&ts)); r != 0 || ts.Nano() != want || ts.Nsec < 0 || ts.Nsec >= 1e9 {
			t.Errorf("clock %d: got %d, %+v; want %d", clock, r, ts, want)
		}
		// The upper half of the register is not part of an int argument.
		if r := l.call(fn, clock|1<<40, unsafe.Pointer(&ts)); r != 0 || ts.Nano() != want {
			t.Errorf("clock %d with a dirty register: got %d, %+v", clock, r, ts)
		}
		if r := l.call(res, clock, unsafe.Pointer(&ts)); r != 0 || ts != (unix.Timespec{Nsec: 1}) {
			t.Errorf("resolution of %d: got %d, %+v", clock, r, ts)
		}
		if r := l.call(res, clock, nil); r != 0 {
			t.Errorf("resolution of %d to nowhere: got %d", clock, r)
		}
	}
}

// TestFallback: clocks that are not answered here, and all of them when disabled,
// come from the kernel: this machine's own in the test.
func TestFallback(t *testing.T) {
	on := frozen(1, 1)
	off := on
	off.Enabled = false
	for name, tc := range map[string]struct {
		data   *Data
		clocks []int32
	}{
		"enabled":  {&on, []int32{unix.CLOCK_PROCESS_CPUTIME_ID, unix.CLOCK_THREAD_CPUTIME_ID, unix.CLOCK_TAI, 8, 63, 33, -1, -6}},
		"disabled": {&off, []int32{0, 1, 4, 5, 6, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			l := load(t, tc.data)
			for _, sym := range []string{"__vdso_clock_gettime", "__vdso_clock_getres"} {
				fn := symbol(t, l.img, sym)
				for _, clock := range tc.clocks {
					var got, want unix.Timespec
					r := l.call(fn, uint64(uint32(clock)), unsafe.Pointer(&got))
					call := unix.ClockGettime
					if sym == "__vdso_clock_getres" {
						call = unix.ClockGetres
					}
					wantR := int64(0)
					var errno unix.Errno
					if errors.As(call(clock, &want), &errno) {
						wantR = -int64(errno)
					}
					if diff := want.Nano() - got.Nano(); r != wantR || diff < 0 || diff > int64(10*time.Second) {
						t.Errorf("%s %d: got %d %+v, want %d %+v", sym, clock, r, got, wantR, want)
					}
				}
			}
			if tc.data.Enabled {
				return
			}
			var tv unix.Timeval
			now := time.Now().Unix()
			if r := l.call2(symbol(t, l.img, "__vdso_gettimeofday"), unsafe.Pointer(&tv), nil); r != 0 || tv.Sec < now {
				t.Errorf("gettimeofday: %d, %+v", r, tv)
			}
			if r := l.call(symbol(t, l.img, "__vdso_time"), 0, nil); r < now {
				t.Errorf("time: %d, want at least %d", r, now)
			}
			cpu := uint32(math.MaxUint32)
			if r := l.call2(symbol(t, l.img, "__vdso_getcpu"), unsafe.Pointer(&cpu), nil); r != 0 || cpu == math.MaxUint32 {
				t.Errorf("getcpu: %d, %d", r, cpu)
			}
		})
	}
}

func TestOtherFunctions(t *testing.T) {
	d := frozen(0, 1_700_000_000_123_456_789)
	l := load(t, &d)
	fn := symbol(t, l.img, "__vdso_gettimeofday")
	tv, tz := unix.Timeval{Sec: 1, Usec: 1}, [2]int32{1, 1}
	if r := l.call2(fn, unsafe.Pointer(&tv), unsafe.Pointer(&tz)); r != 0 || tv != (unix.Timeval{Sec: 1_700_000_000, Usec: 123456}) || tz != [2]int32{} {
		t.Errorf("gettimeofday: %d, %+v, %v", r, tv, tz)
	}
	if r := l.call2(fn, nil, nil); r != 0 {
		t.Errorf("gettimeofday to nowhere: %d", r)
	}
	fn = symbol(t, l.img, "__vdso_time")
	at := int64(0)
	if r := l.call2(fn, unsafe.Pointer(&at), nil); r != 1_700_000_000 || at != r {
		t.Errorf("time: %d, %d", r, at)
	}
	if r := l.call2(fn, nil, nil); r != 1_700_000_000 {
		t.Errorf("time to nowhere: %d", r)
	}
	fn = symbol(t, l.img, "__vdso_getcpu")
	cpu, node := uint32(9), uint32(9)
	if r := l.call2(fn, unsafe.Pointer(&cpu), unsafe.Pointer(&node)); r != 0 || cpu != 3 || node != 0 {
		t.Errorf("getcpu: %d, %d, %d", r, cpu, node)
	}
	if r := l.call2(fn, nil, nil); r != 0 {
		t.Errorf("getcpu to nowhere: %d", r)
	}
}

// TestRunningClock checks rate and order against this machine's own clock.
func TestRunningClock(t *testing.T) {
	// A nominal 1 GHz: the clock then counts ticks.
	d := Data{Enabled: true, Mult: 1 << 32}
	l := load(t, &d)
	fn := symbol(t, l.img, "__vdso_clock_gettime")
	now := func() int64 {
		var ts unix.Timespec
		if r := l.call(fn, unix.CLOCK_MONOTONIC, unsafe.Pointer(&ts)); r != 0 {
			t.Fatalf("result %d", r)
		}
		return ts.Nano()
	}
	start, ticks := time.Now(), now()
	time.Sleep(20 * time.Millisecond)
	khz := uint64(float64(now()-ticks) / float64(time.Since(start).Nanoseconds()) * 1e6)

	d = Data{Enabled: true, Generation: 1, TSCBase: uint64(ticks), Mult: TickMult(khz), MonotonicBase: 1000}
	d.Encode(l.data)
	last := now()
	if last < 1000+int64(15*time.Millisecond) || last > int64(10*time.Second) {
		t.Errorf("%d ns after the base, want at least 20 ms (%d kHz)", last, khz)
	}
	for i := range 100_000 {
		l.setGeneration(uint32(i))
		v := now()
		if v < last {
			t.Fatalf("the clock went back from %d to %d", last, v)
		}
		last = v
	}
	// The product of ticks and multiplier has more than 64 bits: here the counter
	// so far stands for a century.
	const century = 100 * 365 * 86400
	hi, lo := bits.Mul64(century*1e9, 1<<32)
	d = Data{Enabled: true}
	d.Mult, _ = bits.Div64(hi, lo, uint64(ticks))
	d.Encode(l.data)
	if got := now() / 1e9; got < century || got > century*2 {
		t.Errorf("after a century: %d s, want %d", got, century)
	}
}

func BenchmarkClockGettime(b *testing.B) {
	d := Data{Enabled: true, Mult: TickMult(2e6)}
	l := load(b, &d)
	fn := symbol(b, l.img, "__vdso_clock_gettime")
	var ts unix.Timespec
	for b.Loop() {
		l.call(fn, unix.CLOCK_MONOTONIC, unsafe.Pointer(&ts))
	}
}

// TestGlibc has the dynamic linker of this machine load the image and find its
// functions by name and version.
func TestGlibc(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed")
	}
	dir := t.TempDir()
	const addr = 0x2_0000_0000
	d := frozen(7_000_000_042, 0)
	page := make([]byte, pageSize)
	d.Encode(page)
	files := map[string][]byte{
		"v.so": Image(addr),
		"data": page,
		"main.c": []byte(`#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
int main(int argc, char **argv) {
	int fd = open(argv[2], O_RDONLY);
	if (mmap((void *)0x200000000, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED, fd, 0) == MAP_FAILED) { perror("mmap"); return 1; }
	void *h = dlopen(argv[1], RTLD_NOW|RTLD_LOCAL);
	if (!h) { puts(dlerror()); return 1; }
	int (*f)(clockid_t, struct timespec *) = dlvsym(h, "__vdso_clock_gettime", "LINUX_2.6");
	if (!f) { puts(dlerror()); return 1; }
	struct timespec ts;
	int r = f(CLOCK_MONOTONIC, &ts);
	printf("%d %ld.%09ld\n", r, (long)ts.tv_sec, ts.tv_nsec);
	return dlvsym(h, "__vdso_clock_gettime", "LINUX_2.5") != 0;
}
`),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	main := filepath.Join(dir, "main")
	if out, err := exec.Command(gcc, "-O1", "-o", main, main+".c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	out, err := exec.Command(main, filepath.Join(dir, "v.so"), filepath.Join(dir, "data")).CombinedOutput()
	if want := "0 7.000000042\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}
