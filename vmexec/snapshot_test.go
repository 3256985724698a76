// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// generated returns an event: JSON-like or binary, up to 64 KiB, mostly small.
func generated(rng *rand.Rand) []byte {
	n := rng.IntN(64)
	switch rng.IntN(8) {
	case 0:
		n = rng.IntN(64<<10 + 1)
	case 1, 2:
		n = rng.IntN(4 << 10)
	}
	var b bytes.Buffer
	if rng.IntN(2) == 0 {
		for b.Len() < n {
			fmt.Fprintf(&b, "{\"id\": %d, \"text\": %q}", rng.Uint32(), fmt.Sprint(rng.Perm(5)))
		}
		b.Truncate(n)
	} else {
		for range n {
			b.WriteByte(byte(rng.Uint32()))
		}
	}
	out := b.Bytes()
	if n > 0 && rng.IntN(2) == 0 {
		out[0] = byte(rng.IntN(16)) // what the guest does
	}
	return out
}

// ended is what is the same however a program was started.
type ended struct {
	stdout, stderr string
	reason         vmexec.Reason
	status         int
	signal         int
}

func endedBy(r *vmexec.Result) ended {
	e := ended{stdout: string(r.Stdout), stderr: string(r.Stderr), reason: r.Reason, status: r.Status}
	if r.Death != nil {
		e.signal = r.Death.Signal
	}
	return e
}

// TestDifferential holds that events give the same in a machine that was just
// started, in a clone, and in one that ran other events before.
func TestDifferential(t *testing.T) {
	elf := buildGuest(t, "event_mix", build.Glibc)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		p := programOf(t, elf, nil)
		s := snapshotOf(t, h, p)
		limits := vmexec.Limits{Wall: time.Minute}
		rng := rand.New(rand.NewPCG(1, 2))
		events := 1000
		switch {
		case testing.Short():
			events = 100
		case h.Kind() == vmexec.Ptrace: // what is compared is above the platform
			events = 300
		}
		clone := func() *vmexec.VM {
			vm, err := h.Clone(s, limits)
			if err != nil {
				t.Fatal(err)
			}
			return vm
		}
		finish := func(vm *vmexec.VM) {
			if err := vm.Close(); err != nil {
				t.Fatal(err)
			}
		}
		with := func(vm *vmexec.VM, in []byte) ended {
			r, err := vm.Run(context.Background(), vmexec.IO{Event: in})
			if err != nil {
				t.Fatalf("the monitor failed: %v", err)
			}
			return endedBy(r)
		}
		long := clone()
		defer func() { finish(long) }()
		failed, resets := 0, 0
		for i := range events {
			in := generated(rng)
			cold := endedBy(run(context.Background(), t, h, p, limits, vmexec.IO{Event: in}))
			if cold.reason != vmexec.Exited {
				failed++
			}
			if i%5 == 0 {
				vm := clone()
				if got := with(vm, in); got != cold {
					t.Fatalf("event %d of %d bytes, %.40q: cold %+.300v, in a clone %+.300v", i, len(in), in, cold, got)
				}
				finish(vm)
			}
			if got := with(long, in); got != cold {
				t.Fatalf("event %d of %d bytes, %.40q: cold %+.300v, after %d resets %+.300v", i, len(in), in, cold, resets, got)
			}
			if cold.reason != vmexec.Exited {
				if err := long.Reset(); err == nil {
					t.Fatalf("event %d: a machine whose program was killed could be reset", i)
				}
				finish(long)
				long = clone()
				continue
			}
			if err := long.Reset(); err != nil {
				t.Fatal(err)
			}
			resets++
		}
		if failed == 0 || resets < events/2 {
			t.Errorf("%d of %d events died and %d machines were reset: too few to show anything", failed, events, resets)
		}
	})
}

// TestSnapshotShared makes clones of one snapshot in several goroutines at once.
func TestSnapshotShared(t *testing.T) {
	elf := buildGuest(t, "event_mix", build.Glibc)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		s := snapshotOf(t, h, programOf(t, elf, nil))
		limits := vmexec.Limits{Wall: time.Minute}
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 15 {
					vm, err := h.Clone(s, limits)
					if err != nil {
						t.Error(err)
						return
					}
					for j := range 3 {
						in := fmt.Sprintf("xevent %d of %d in %d", j, i, g)
						r, err := vm.Run(context.Background(), vmexec.IO{Event: []byte(in)})
						if err != nil {
							t.Error(err)
							break
						}
						if want := fmt.Sprintf("%s\ncount %d\n", strings.ToUpper(in), len(in)); r.Status != 65 && r.Status != 0 || string(r.Stdout) != strings.Replace(want, "\ncount", "count", 1) {
							t.Errorf("%q gave %q, status %d: %s", in, r.Stdout, r.Status, r.Message)
						}
						if err := vm.Reset(); err != nil {
							t.Error(err)
							break
						}
					}
					if err := vm.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// asks are the ways to ask for an event, as programs that then copy 5 bytes of it.
func asks() map[string]func(a *asm) {
	const buf, at = dataVA + 0x400, dataVA + 0x200
	copied := func(a *asm, fd uint64) {
		a.call(unix.SYS_READ, fd, buf, 5).call(unix.SYS_WRITE, 1, buf, 5).exit(0)
	}
	return map[string]func(a *asm){
		"read": func(a *asm) { copied(a, 0) },
		"readv": func(a *asm) {
			a.store(at, buf).store(at+8, 5).call(unix.SYS_READV, 0, at, 1).call(unix.SYS_WRITE, 1, buf, 5).exit(0)
		},
		"poll": func(a *asm) { a.store(at, 1<<32).call(unix.SYS_POLL, at, 1, ^uint64(0)); copied(a, 0) },
		"select": func(a *asm) {
			a.store(at, 1).call(unix.SYS_SELECT, 1, at, 0, 0, 0)
			copied(a, 0)
		},
		"epoll": func(a *asm) {
			a.call(unix.SYS_EPOLL_CREATE1, 0).store(at, 1).call(unix.SYS_EPOLL_CTL, 3, unix.EPOLL_CTL_ADD, 0, at)
			a.call(unix.SYS_EPOLL_WAIT, 3, at+32, 1, ^uint64(0))
			copied(a, 0)
		},
		"splice": func(a *asm) { a.call(unix.SYS_SENDFILE, 1, 0, 0, 0); copied(a, 0) },
		"dup":    func(a *asm) { a.call(unix.SYS_DUP2, 0, 7).call(unix.SYS_CLOSE, 0); copied(a, 7) },
		"/dev/stdin": func(a *asm) {
			a.text(dataVA+0x300, "/dev/stdin")
			a.call(unix.SYS_OPEN, dataVA+0x300, unix.O_RDONLY, 0)
			copied(a, 3)
		},
		"open of the event file": func(a *asm) {
			a.text(dataVA+0x300, "/etc/jobsink-event/event")
			a.call(unix.SYS_OPEN, dataVA+0x300, unix.O_RDONLY|unix.O_NONBLOCK, 0)
			copied(a, 3)
		},
		"stat of the event file": func(a *asm) {
			a.text(dataVA+0x300, "/etc/jobsink-event/event")
			a.call(unix.SYS_STAT, dataVA+0x300, dataVA+0x600)
			copied(a, 0)
		},
		"nonblocking then poll": func(a *asm) {
			a.call(unix.SYS_FCNTL, 0, unix.F_SETFL, unix.O_NONBLOCK).call(unix.SYS_READ, 0, buf, 5)
			a.store(at, 1<<32).call(unix.SYS_POLL, at, 1, ^uint64(0))
			copied(a, 0)
		},
		"while a thread naps": func(a *asm) {
			thread(a, func() {
				a.store(at+64, 0).store(at+72, 1_000_000).loop(func() { a.call(unix.SYS_NANOSLEEP, at+64, 0) })
			})
			copied(a, 0)
		},
		"while a thread sleeps": func(a *asm) {
			thread(a, func() { a.loop(func() { a.call(unix.SYS_PAUSE) }) })
			copied(a, 0)
		},
		"poll with a deadline": func(a *asm) {
			a.store(at, 1<<32).call(unix.SYS_POLL, at, 1, 3_600_000)
			copied(a, 0)
		},
	}
}

// thread starts a thread that does f, which must not end.
func thread(a *asm, f func()) {
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	start := a.aside(f)
	a.call(unix.SYS_CLONE, flags, dataVA+0x8000, 0, 0, 0)
	a.raw(0x48, 0x85, 0xc0, 0x75, 0x0c) // test rax, rax; jnz over
	a.mov(rax, start).raw(0xff, 0xe0)   // jmp rax
}

// TestWaitPoints freezes programs that ask for their event in every way there is.
func TestWaitPoints(t *testing.T) {
	for name, code := range asks() {
		t.Run(name, func(t *testing.T) {
			p := program(t, nil, code)
			onEach(t, func(t *testing.T, h *vmexec.Host) {
				s := snapshotOf(t, h, p)
				vm := cloneOf(t, h, s)
				for range 3 {
					if got := event(t, vm, "event"); string(got) != "event" {
						t.Errorf("got %q", got)
					}
					reset(t, vm)
				}
			})
		})
	}
}

// TestNoSnapshot holds that what cannot be frozen is an error that says why.
func TestNoSnapshot(t *testing.T) {
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		for _, c := range []struct {
			name   string
			code   func(a *asm)
			limits vmexec.Limits
			cancel time.Duration
			want   vmexec.Reason
			says   string
		}{
			{name: "exits", code: func(a *asm) { a.exit(3) }, want: vmexec.Exited, says: "exit status 3"},
			{name: "exits well", code: func(a *asm) { a.exit(0) }, want: vmexec.Exited, says: "before it read its event"},
			{name: "dies", code: func(a *asm) { a.raw(0x0f, 0x0b) }, want: vmexec.Signaled, says: "SIGILL"},
			{name: "spins to its limit", code: func(a *asm) { a.raw(0xeb, 0xfe) }, limits: vmexec.Limits{Wall: 20 * time.Millisecond}, want: vmexec.WallLimit, says: "time limit"},
			{name: "is given up", code: func(a *asm) { a.raw(0xeb, 0xfe) }, cancel: 20 * time.Millisecond, want: vmexec.Canceled, says: "the caller gave up"},
			{name: "sleeps for ever", code: func(a *asm) { a.call(unix.SYS_PAUSE) }, want: vmexec.Deadlock, says: "can no longer happen"},
			{name: "polls stdin without waiting", code: func(a *asm) {
				a.call(unix.SYS_FCNTL, 0, unix.F_SETFL, unix.O_NONBLOCK)
				a.loop(func() { a.call(unix.SYS_READ, 0, dataVA+0x400, 5) })
			}, limits: vmexec.Limits{Wall: 3 * time.Second}, want: vmexec.WallLimit, says: "did not come to rest"},
			{name: "is interrupted while it opens the event file", code: func(a *asm) {
				const at, path = dataVA + 0x200, dataVA + 0x300
				a.handler(uint64(unix.SIGALRM), a.aside(func() { a.raw(0xc3) }), 0)
				a.store(at, 0).store(at+8, 0).store(at+16, 0).store(at+24, 5000) // 5 ms, which no snapshot waits for
				a.call(unix.SYS_SETITIMER, uint64(unix.ITIMER_REAL), at, 0)
				a.text(path, "/etc/jobsink-event/event")
				a.call(unix.SYS_OPEN, path, unix.O_RDONLY, 0).exitErrno()
			}, want: vmexec.Exited, says: "exit status 4"},
			{name: "a thread spins", code: func(a *asm) {
				thread(a, func() { a.raw(0xeb, 0xfe) })
				asks()["read"](a)
			}, limits: vmexec.Limits{Wall: 3 * time.Second}, want: vmexec.WallLimit, says: "other threads of it did not come to rest"},
		} {
			t.Run(c.name, func(t *testing.T) {
				ctx := t.Context()
				if c.cancel > 0 {
					var stop context.CancelFunc
					ctx, stop = context.WithTimeout(ctx, c.cancel)
					defer stop()
				}
				if c.limits.Wall == 0 {
					c.limits.Wall = 20 * time.Second
				}
				s, err := h.NewSnapshot(ctx, program(t, nil, c.code), c.limits, vmexec.Wait{})
				var never *vmexec.NoWaitError
				if !errors.As(err, &never) {
					if err == nil {
						_ = s.Close()
					}
					t.Fatalf("got %v, want a *NoWaitError", err)
				}
				if never.Result.Reason != c.want || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %v; want %s and %q", never.Result.Reason, err, c.want, c.says)
				}
			})
		}
	})
}

// TestMisuse holds that calls out of order are errors and do no harm.
func TestMisuse(t *testing.T) {
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		p := program(t, nil, asks()["read"])
		s := snapshotOf(t, h, p)
		vm := cloneOf(t, h, s)
		if err := vm.Reset(); err == nil {
			t.Error("a clone that has not run could be reset")
		}
		if _, err := vm.Run(t.Context(), vmexec.IO{Stdin: strings.NewReader("x")}); err == nil {
			t.Error("a clone took a stream")
		}
		vm = cloneOf(t, h, s)
		event(t, vm, "event")
		if _, err := vm.Run(t.Context(), vmexec.IO{}); err == nil {
			t.Error("a clone ran twice without a reset")
		}
		if err := vm.Verify(); err == nil {
			t.Error("a clone that has run could be verified")
		}
		reset(t, vm)
		if err := vm.Reset(); err == nil {
			t.Error("a clone could be reset twice")
		}
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
		if err := vm.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if err := vm.Reset(); err == nil {
			t.Error("a closed machine could be reset")
		}
		cold, err := h.NewVM(p, vmexec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer cold.Close()
		if err := cold.Reset(); err == nil {
			t.Error("a machine that is no clone could be reset")
		}
	})
}

// TestResetAfterFailure holds that what a limit stopped is not used again.
func TestResetAfterFailure(t *testing.T) {
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		s := snapshotOf(t, h, program(t, nil, func(a *asm) {
			a.call(unix.SYS_READ, 0, dataVA, 5).raw(0xeb, 0xfe)
		}))
		for _, want := range []vmexec.Reason{vmexec.WallLimit, vmexec.Canceled} {
			l, ctx := vmexec.Limits{Wall: 20 * time.Millisecond}, t.Context()
			if want == vmexec.Canceled {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, 20*time.Millisecond)
				defer stop()
				l.Wall = 0
			}
			vm, err := h.Clone(s, l)
			if err != nil {
				t.Fatal(err)
			}
			r, err := vm.Run(ctx, vmexec.IO{Event: []byte("event")})
			if err != nil || r.Reason != want {
				t.Errorf("%v, %v; want %s", r, err, want)
			}
			if err := vm.Reset(); err == nil {
				t.Errorf("a machine could be reset after %s", want)
			}
			if err := vm.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
