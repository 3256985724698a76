// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func TestPipe(t *testing.T) {
	sys := &System{}
	r, w := NewPipe(sys, unix.O_NONBLOCK)
	if r.Name() != w.Name() || r.Name() != "pipe:[1]" || !r.SamePipe(w) {
		t.Errorf("names %q, %q", r.Name(), w.Name())
	}
	if r.StatusFlags() != unix.O_NONBLOCK || w.StatusFlags() != unix.O_WRONLY|unix.O_NONBLOCK {
		t.Errorf("flags %#x, %#x", r.StatusFlags(), w.StatusFlags())
	}
	wantReady(t, r, 0)
	wantReady(t, w, Out)
	wantRead(t, r, 1, "", abi.EAGAIN)
	wantRead(t, r, 0, "", abi.OK)
	wantWrite(t, w, "", 0, abi.OK)
	var woken wakes
	r.Queue().Add(&woken)
	wantWrite(t, w, "hello", 5, abi.OK)
	if woken != 1 || r.Available() != 5 || w.Available() != 5 {
		t.Errorf("woken %d times, %d bytes", woken, r.Available())
	}
	wantReady(t, r, In)
	wantRead(t, r, 3, "hel", abi.OK)
	w.Release()
	wantReady(t, r, In|Hup)
	wantRead(t, r, 3, "lo", abi.OK)
	wantReady(t, r, Hup)
	wantRead(t, r, 3, "", abi.OK)
	if !r.Ended() {
		t.Error("not ended")
	}
	r.Release()
	if sys.pipeBytes != 0 {
		t.Errorf("%d bytes still counted", sys.pipeBytes)
	}
	for _, off := range []int64{0, 5} {
		if _, errno := r.Read(bufs("x"), off); errno != abi.ESPIPE {
			t.Errorf("pread: %v", errno)
		}
		if _, errno := w.Write(bufs("x"), off); errno != abi.ESPIPE {
			t.Errorf("pwrite: %v", errno)
		}
	}
}

func TestPipeBrokenAndFull(t *testing.T) {
	r, w := NewPipe(&System{}, 0)
	big := strings.Repeat("x", pipeDefault+1)
	wantWrite(t, w, big[:pipeDefault-10], pipeDefault-10, abi.OK)
	wantReady(t, w, 0)
	wantWrite(t, w, "12345678901", 0, abi.EAGAIN) // not split
	wantWrite(t, w, big, 10, abi.OK)              // more than PIPE_BUF is
	wantWrite(t, w, "1", 0, abi.EAGAIN)
	var woken wakes
	w.Queue().Add(&woken)
	wantRead(t, r, pipeBuf-1, big[:pipeBuf-1], abi.OK)
	if woken != 0 {
		t.Error("woken although not writable")
	}
	wantRead(t, r, 1, "x", abi.OK)
	if woken != 1 {
		t.Errorf("woken %d times", woken)
	}
	wantReady(t, w, Out)
	w.Queue().Add(&woken)
	r.Release()
	if woken != 2 {
		t.Errorf("woken %d times", woken)
	}
	wantReady(t, w, Out|Err)
	wantWrite(t, w, "1", 0, abi.EPIPE)
	wantWrite(t, w, "", 0, abi.OK)
}

func TestPipeSize(t *testing.T) {
	sys := &System{}
	r, w := NewPipe(sys, 0)
	for _, tt := range []struct {
		ask, want int
		errno     abi.Errno
	}{
		{0, 4096, abi.OK},
		{5000, 8192, abi.OK},
		{pipeMax, pipeMax, abi.OK},
		{pipeMax + 1, 0, abi.EPERM},
		{-1, 0, abi.EINVAL},
	} {
		if n, errno := w.SetPipeSize(tt.ask); n != tt.want || errno != tt.errno {
			t.Errorf("SetPipeSize(%d) = %d, %v; want %d, %v", tt.ask, n, errno, tt.want, tt.errno)
		}
	}
	wantWrite(t, w, strings.Repeat("x", 9000), 9000, abi.OK)
	if _, errno := r.SetPipeSize(8192); errno != abi.EBUSY {
		t.Errorf("shrink below the content: %v", errno)
	}
	if n, errno := r.SetPipeSize(9001); n != 16384 || errno != abi.OK || w.PipeSize() != 16384 {
		t.Errorf("SetPipeSize = %d, %v", n, errno)
	}
}

// The host memory behind a VM's pipes is bounded.
func TestPipeSystemLimit(t *testing.T) {
	sys := &System{}
	var last *PipeReader
	for range pipeSystemLimit/pipeDefault + 1 {
		last, _ = NewPipe(sys, 0)
	}
	if last.PipeSize() != pipeScarce {
		t.Errorf("a pipe beyond the limit holds %d bytes", last.PipeSize())
	}
	if _, errno := last.SetPipeSize(pipeMax); errno != abi.EPERM {
		t.Errorf("SetPipeSize beyond the limit: %v", errno)
	}
	if last.p.buf != nil {
		t.Error("an empty pipe has memory")
	}
}

// account has a number of pages.
type account int

func (a *account) Charge(n uint64) bool {
	if int(n) > int(*a) {
		return false
	}
	*a -= account(n)
	return true
}

func (a *account) Release(n uint64) { *a += account(n) }

// What is in a pipe counts as memory of the VM.
func TestPipeMemory(t *testing.T) {
	pages := account(6)
	r, w := NewPipe(&System{Memory: &pages}, 0)
	page := strings.Repeat("x", pipeBuf)
	for i, want := range []account{5, 4, 2, 2} {
		wantWrite(t, w, page, pipeBuf, abi.OK)
		if pages != want {
			t.Errorf("%d pages are left after %d writes, want %d", pages, i+1, want)
		}
	}
	wantWrite(t, w, page, 0, abi.ENOMEM)
	wantRead(t, r, pipeBuf, page, abi.OK)
	wantWrite(t, w, page, pipeBuf, abi.OK)
	w.Release()
	r.Release()
	if pages != 6 {
		t.Errorf("%d pages came back of 6", pages)
	}
}

// FuzzPipe compares a pipe with a plain byte queue.
func FuzzPipe(f *testing.F) {
	f.Add([]byte{1, 200, 0, 50, 1, 255, 2, 3, 0, 255})
	f.Add(bytes.Repeat([]byte{1, 255}, 40))
	f.Add(bytes.Repeat([]byte{1, 255, 0, 254, 2, 9}, 40))
	f.Fuzz(func(t *testing.T, ops []byte) {
		r, w := NewPipe(&System{}, 0)
		var model []byte
		next := byte(0)
		for i := 0; i+1 < len(ops); i += 2 {
			size := int(ops[i+1]) * 37
			switch ops[i] % 3 {
			case 0:
				p := make([]byte, size)
				n, errno := r.Read(Buffers{p[:size/3], p[size/3:]}, CurrentOffset)
				if wantN := min(size, len(model)); n != wantN || !bytes.Equal(p[:n], model[:n]) || (errno == abi.EAGAIN) != (wantN == 0 && size > 0) {
					t.Fatalf("step %d: Read(%d) = %d, %v; the model has %d bytes", i, size, n, errno, len(model))
				}
				model = model[n:]
			case 1:
				p := make([]byte, size)
				for j := range p {
					next++
					p[j] = next
				}
				room := w.PipeSize() - len(model)
				n, errno := w.Write(Buffers{p[:size/2], p[size/2:]}, CurrentOffset)
				want := min(size, room)
				if size <= pipeBuf && size > room {
					want = 0
				}
				if n != want || (errno == abi.EAGAIN) != (want == 0 && size > 0) {
					t.Fatalf("step %d: Write(%d) = %d, %v with room %d", i, size, n, errno, room)
				}
				model = append(model, p[:n]...)
			case 2:
				if n, errno := r.SetPipeSize(size * 8); errno == abi.OK && n < len(model) || errno == abi.EBUSY && len(model) <= size*8 {
					t.Fatalf("step %d: SetPipeSize(%d) = %d, %v with %d bytes inside", i, size*8, n, errno, len(model))
				}
			}
			if r.Available() != len(model) {
				t.Fatalf("step %d: %d bytes, the model has %d", i, r.Available(), len(model))
			}
		}
	})
}

func BenchmarkPipeTransfer(b *testing.B) {
	for _, size := range []int{64, 4096, 65536} {
		b.Run(map[int]string{64: "64B", 4096: "4KiB", 65536: "64KiB"}[size], func(b *testing.B) {
			r, w := NewPipe(&System{}, 0)
			p := Buffers{make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				w.Write(p, CurrentOffset)
				r.Read(p, CurrentOffset)
			}
		})
	}
}
