// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// values returns the lines of a guest that prints a name and a value on each.
func values(t testing.TB, b []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	for l := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok || m[name] != "" {
			t.Fatalf("a line without a value, or a second one: %q", l)
		}
		m[name] = value
	}
	return m
}

// unique is a program that prints what it takes for unique.
type unique struct {
	name    string
	program func(t *testing.T) *vmexec.Program
	fresh   []string // never the same in two events
	shared  []string // the same in every event: docs/snapshots.md says so
}

const pythonUnique = `
import hashlib, os, random, secrets, ssl, sys, time, uuid
random.random(); secrets.token_hex(); uuid.uuid4(); ssl.RAND_bytes(16)
early = secrets.token_hex()
source = random.Random()
sys.stdin.read()
print("secrets", secrets.token_hex())
print("uuid4", uuid.uuid4())
print("uuid1", uuid.uuid1())
print("ssl", ssl.RAND_bytes(16).hex())
print("urandom", os.urandom(16).hex())
print("system_random", random.SystemRandom().random())
print("time", time.time_ns())
print("pid", os.getpid())
print("random", random.random())
print("source", source.random())
print("hash", hash("text"))
print("set_order", ",".join({"a", "b", "c", "d", "e", "f", "g", "h"}))
print("early", early)
`

const nodeUnique = `
const crypto = require('crypto'), fs = require('fs');
crypto.randomBytes(16); crypto.randomUUID(); Math.random();
const early = crypto.randomBytes(16).toString('hex');
fs.readFileSync(0);
console.log('random_bytes', crypto.randomBytes(16).toString('hex'));
console.log('uuid', crypto.randomUUID());
console.log('uuid_uncached', crypto.randomUUID({disableEntropyCache: true}));
console.log('web', Buffer.from(crypto.webcrypto.getRandomValues(new Uint8Array(16))).toString('hex'));
console.log('time', Date.now() + process.hrtime()[1] / 1e9);
console.log('pid', process.pid);
console.log('math', Math.random());
console.log('early', early);
`

func guestProgram(source string, flavour build.Flavour) func(t *testing.T) *vmexec.Program {
	return func(t *testing.T) *vmexec.Program { return programOf(t, buildGuest(t, source, flavour), nil) }
}

// hostProgram is a program of this machine, with the machine's files under it.
func hostProgram(path string, args ...string) func(t *testing.T) *vmexec.Program {
	return func(t *testing.T) *vmexec.Program {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not on this machine: %v", path, err)
		}
		root, err := vmexec.DirRoot("/")
		if err != nil {
			t.Fatal(err)
		}
		p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: path, Args: append([]string{path}, args...), Env: []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"}})
		if err != nil {
			_ = root.Close()
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(p.Close(), root.Close()); err != nil {
				t.Error(err)
			}
		})
		return p
	}
}

// javaProgram compiles testdata/Unique.java.
func javaProgram(t *testing.T) *vmexec.Program {
	javac, err := exec.LookPath("javac")
	if err != nil {
		if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), javac, "-d", dir, "testdata/Unique.java").CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	return hostProgram("/usr/bin/java", "-Xmx64m", "-cp", dir, "Unique")(t)
}

var uniques = []unique{
	{
		name: "c", program: guestProgram("uniqueness", build.Glibc),
		fresh:  []string{"getrandom", "open_urandom", "urandom", "random", "at_random", "wiped_generator", "pid_generator", "pid", "mkstemp", "generation", "real"},
		shared: []string{"generation_before", "wiped_page_keyed", "shared_generator", "shared_rand", "shared_early", "shared_stack_guard"},
	},
	{
		name: "musl", program: guestProgram("uniqueness", build.Musl),
		fresh:  []string{"getrandom", "open_urandom", "urandom", "random", "at_random", "wiped_generator", "pid_generator", "pid", "generation", "real"},
		shared: []string{"shared_generator", "shared_rand", "shared_early", "shared_stack_guard"},
	},
	{
		name: "go", program: guestProgram("uniqueness", build.Go),
		fresh:  []string{"crypto_rand", "crypto_text", "time", "pid"},
		shared: []string{"shared_source", "shared_maphash", "global_rand", "global_rand2", "map_order"},
	},
	{
		name: "python", program: hostProgram("/usr/bin/python3", "-I", "-c", pythonUnique),
		fresh:  []string{"secrets", "uuid4", "uuid1", "ssl", "urandom", "system_random", "time", "pid"},
		shared: []string{"random", "source", "hash", "set_order", "early"},
	},
	{
		name: "node", program: hostProgram("/usr/bin/node", "-e", nodeUnique),
		fresh:  []string{"random_bytes", "uuid_uncached", "web", "time"},
		shared: []string{"math", "uuid", "pid", "early"}, // uuid: of a cache that the first one fills
	},
	{
		name: "java", program: javaProgram,
		fresh:  []string{"secure_random", "used", "uuid", "strong", "time", "pid", "new_random"},
		shared: []string{"seeded", "drbg", "random", "identity", "early"},
	},
}

// TestUniqueness holds that what programs rely on to be unique is so in clones and
// after resets, and shows what is not.
func TestUniqueness(t *testing.T) {
	for _, u := range uniques {
		t.Run(u.name, func(t *testing.T) {
			p := u.program(t)
			onEach(t, func(t *testing.T, h *vmexec.Host) {
				limits := vmexec.Limits{Wall: time.Minute, Memory: 1 << 30}
				s, err := h.NewSnapshot(t.Context(), p, limits, vmexec.Wait{})
				var never *vmexec.NoWaitError
				if errors.As(err, &never) && never.Result.Reason != vmexec.Exited {
					t.Skipf("%s does not run up to its event here: %v", u.name, err)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}()
				var all []map[string]string
				for range 2 {
					vm, err := h.Clone(s, limits)
					if err != nil {
						t.Fatal(err)
					}
					for range 3 {
						all = append(all, values(t, event(t, vm, "show")))
						if err := vm.Reset(); err != nil {
							t.Fatal(err)
						}
					}
					if err := vm.Close(); err != nil {
						t.Error(err)
					}
				}
				for _, name := range u.fresh {
					seen := map[string]int{}
					for i, m := range all {
						if j, ok := seen[m[name]]; ok || m[name] == "" {
							t.Errorf("%s is %q in event %d and in event %d", name, m[name], j, i)
						}
						seen[m[name]] = i
					}
				}
				for _, name := range u.shared {
					for i, m := range all {
						if m[name] == "" || m[name] != all[0][name] {
							t.Errorf("%s is %q in event 0 and %q in event %d: the documentation says that it repeats", name, all[0][name], m[name], i)
						}
					}
				}
				t.Logf("an event: %v", all[0])
			})
		})
	}
}

// TestClocks holds that the wall clock of a clone is right however old the snapshot
// is, and that its monotonic clock and timers go on without the gap.
func TestClocks(t *testing.T) {
	elf := buildGuest(t, "uniqueness", build.Glibc)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		s := snapshotOf(t, h, programOf(t, elf, nil))
		const old = 1200 * time.Millisecond
		time.Sleep(old)
		check := func(vm *vmexec.VM) {
			t.Helper()
			before := time.Now()
			v := values(t, event(t, vm, "show"))
			after := time.Now()
			n := func(name string) int64 {
				i, err := strconv.ParseInt(v[name], 10, 64)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				return i
			}
			const near = int64(50 * time.Millisecond)
			for _, name := range []string{"real", "coarse"} {
				if got := n(name); got < before.UnixNano()-near || got > after.UnixNano()+near {
					t.Errorf("%s: the wall clock is off by %v", name, time.Duration(got-before.UnixNano()))
				}
			}
			if got := n("passed_real"); got < int64(old) {
				t.Errorf("the wall clock went on by %v since the snapshot, want %v and more", time.Duration(got), old)
			}
			if got := n("passed"); got < 0 || got > int64(old)/2 {
				t.Errorf("the monotonic clock went on by %v, want about nothing", time.Duration(got))
			}
			if got := n("timer"); got < int64(1000*time.Second-old/2) || got > int64(1000*time.Second) {
				t.Errorf("a timer of 1000 s has %v left", time.Duration(got))
			}
			if got := n("wiped_page_keyed"); got != 0 {
				t.Errorf("a page that a fork empties holds %d", got)
			}
		}
		vm := cloneOf(t, h, s)
		check(vm)
		reset(t, vm)
		time.Sleep(old / 4)
		check(vm)
		check(cloneOf(t, h, s))
	})
}

// TestGeneration holds that a program can tell by /run/kontain/generation that it
// goes on in a copy.
func TestGeneration(t *testing.T) {
	elf := buildGuest(t, "uniqueness", build.Glibc)
	h := openHost(t, vmexec.KVM)
	p := programOf(t, elf, nil)
	vm, err := h.NewVM(p, vmexec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	r, err := vm.Run(context.Background(), vmexec.IO{Event: []byte("show")})
	if err != nil {
		t.Fatal(err)
	}
	v := values(t, r.Stdout)
	if v["generation"] != v["generation_before"] {
		t.Errorf("in a machine that was not cloned the generation goes from %s to %s", v["generation_before"], v["generation"])
	}
	if v = values(t, event(t, cloneOf(t, h, snapshotOf(t, h, p)), "show")); v["generation"] == v["generation_before"] || v["generation"] == "0" {
		t.Errorf("in a clone the generation goes from %s to %s", v["generation_before"], v["generation"])
	}
}
