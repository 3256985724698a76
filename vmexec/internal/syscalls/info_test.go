// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func TestInfo(t *testing.T) {
	runScript(t, infoCalls(), func(g *guest) {
		uts := g.alloc(390)
		g.must(0, unix.SYS_UNAME, uts)
		for i, want := range []string{"Linux", "kontain", "6.1.0-kontain", Kernel.Version, "x86_64", "(none)"} {
			got, _, _ := bytes.Cut(g.get(uts+uint64(i)*65, 65), []byte{0})
			if string(got) != want {
				g.t.Errorf("uname field %d: %q, want %q", i, got, want)
			}
		}
		g.fails(abi.EFAULT, unix.SYS_UNAME, scriptBadAddr)

		si := g.alloc(112)
		g.must(0, unix.SYS_SYSINFO, si)
		total, free := g.word(si+32), g.word(si+40)
		if total != 16<<20 || free == 0 || free > total || g.get(si+104, 1)[0] != 1 || g.get(si+80, 1)[0] != 1 {
			g.t.Errorf("sysinfo: total %d, free %d", total, free)
		}

		cpu := g.put(words(^uint64(0)))
		g.must(0, unix.SYS_GETCPU, cpu, cpu+4)
		g.must(0, unix.SYS_GETCPU, 0, 0)
		if v := g.word(cpu); v != 0 {
			g.t.Errorf("getcpu: %#x", v)
		}
		g.fails(abi.EFAULT, unix.SYS_GETCPU, scriptBadAddr, 0)
		g.fails(abi.EPERM, unix.SYS_SYSLOG, 3, 0, 0)
	})
}

func TestGetrandom(t *testing.T) {
	runScript(t, randomCalls(), func(g *guest) {
		buf := g.alloc(64)
		g.k.Rand = bytes.NewReader(bytes.Repeat([]byte("random"), 1000))
		for _, flags := range []uint64{0, unix.GRND_NONBLOCK, unix.GRND_RANDOM, unix.GRND_INSECURE | unix.GRND_NONBLOCK} {
			g.set(buf, make([]byte, 64))
			g.must(60, unix.SYS_GETRANDOM, buf, 60, flags)
			if b := g.get(buf, 64); !bytes.Equal(b, append(bytes.Repeat([]byte("random"), 10), 0, 0, 0, 0)) {
				g.t.Errorf("flags %d: %q", flags, b)
			}
		}
		g.must(0, unix.SYS_GETRANDOM, scriptBadAddr, 0, 0)
		g.fails(abi.EFAULT, unix.SYS_GETRANDOM, scriptBadAddr, 1, 0)
		g.fails(abi.EINVAL, unix.SYS_GETRANDOM, buf, 1, 8)
		g.fails(abi.EINVAL, unix.SYS_GETRANDOM, buf, 1, unix.GRND_RANDOM|unix.GRND_INSECURE)
		// More than there is memory for: what fits, and no more than a bounded chunk.
		g.k.Rand = zeros{}
		g.must(64, unix.SYS_GETRANDOM, scriptMem+scriptMemSize-64, ^uint64(0), 0)
		g.must(scriptMemSize, unix.SYS_GETRANDOM, scriptMem, 1<<40, 0)
		g.k.Rand = io.MultiReader(bytes.NewReader([]byte("123")), broken{})
		g.must(3, unix.SYS_GETRANDOM, scriptMem, 10, 0)
		g.fails(abi.EIO, unix.SYS_GETRANDOM, scriptMem, 10, 0)
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no entropy") }
