// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/talk"
)

// TestOutside talks from outside with a program that serves a port, and which
// echoes what it gets until the end of data, on one connection after the other; then
// it connects to a port that the host serves.
func TestOutside(t *testing.T) {
	const port, served = 8080, 9001
	var client chan error
	var side *talk.Side
	entries := append(socketCalls(), append(socketIOCalls(), append(readwriteCalls(), descriptorCalls()...)...)...)
	out := runScript(t, entries, func(g *guest) {
		k := g.k
		k.SetExternal(true)
		side = talk.NewSide(true, poster{k})
		k.Net.Attach(func(m talk.Message) {
			if err := side.Hear(m); err != nil {
				t.Error(err)
			}
		}, k.Post)
		addr := g.put(net.Addr{Family: unix.AF_INET, Port: port}.Encode())
		l := uint64(g.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0))
		g.must(0, unix.SYS_BIND, l, addr, 16)
		if k.Net.Listening(port) {
			t.Error("the port is served before listen(2)")
		}
		client = make(chan error, 1)
		go func() { client <- converse(side, port, served) }()
		g.must(0, unix.SYS_LISTEN, l, 4)
		if !k.Net.Listening(port) || k.Net.Listening(port+1) {
			t.Error("the port is not served after listen(2), or another one is")
		}
		const size = 64 << 10
		buf := g.alloc(size)
		for range 3 {
			c := uint64(g.call(unix.SYS_ACCEPT, l, 0, 0))
			for {
				n := g.call(unix.SYS_READ, c, buf, size)
				if n <= 0 {
					break
				}
				g.must(n, unix.SYS_WRITE, c, buf, uint64(n))
			}
			g.must(0, unix.SYS_CLOSE, c)
		}
		// The host serves this one.
		c := uint64(g.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0))
		at := net.Addr{Family: unix.AF_INET, Port: served}
		at.IP[10], at.IP[11], at.IP[12], at.IP[15] = 0xff, 0xff, 127, 1
		g.must(0, unix.SYS_CONNECT, c, g.put(at.Encode()), 16)
		g.must(3, unix.SYS_READ, c, buf, size)
		g.must(2, unix.SYS_WRITE, c, buf, 2)
		g.must(0, unix.SYS_CLOSE, c)
		// The client is left waiting: the end of the run frees it.
		c = uint64(g.call(unix.SYS_ACCEPT, l, 0, 0))
		g.must(1, unix.SYS_READ, c, buf, size)
	})
	side.Over(nil)
	if out.Ending != task.Exited {
		t.Errorf("the program ended by %v", out.Ending)
	}
	if err := <-client; err != nil {
		t.Error(err)
	}
}

// poster is a talk.Transport to a kernel.
type poster struct{ k *task.Kernel }

func (p poster) Tell(m talk.Message) error {
	m.Data = bytes.Clone(m.Data)
	p.k.Post(func() { p.k.Net.Tell(m) })
	return nil
}

func (p poster) Flush() error { return nil }

// converse is the host's side of TestOutside.
func converse(side *talk.Side, port, served uint16) error {
	l, err := side.Listen(served)
	if err != nil {
		return err
	}
	for _, size := range []int{0, 5, 4 << 20} {
		c, err := side.Await(port)
		if err != nil {
			return err
		}
		data := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			sent <- errors.Join(err, c.CloseWrite())
		}()
		got, err := io.ReadAll(c)
		if err = errors.Join(err, <-sent, c.Close(), c.Close()); err != nil {
			return err
		}
		if !bytes.Equal(got, data) {
			return errors.New("the echo differs")
		}
	}
	refused, err := side.Dial(port + 1)
	if err != nil {
		return err
	}
	if _, err := refused.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("a port where no program listens: %w", err)
	}
	c, err := l.AcceptConn()
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte("abc")); err != nil {
		return err
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "ab" {
		return fmt.Errorf("the program said %q to a port of the host: %w", got, err)
	}
	if c, err = side.Dial(port); err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, talk.ErrOver) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("a read of a VM that has ended: %w", err)
	}
	return nil
}

// TestMessageHeader holds that a hostile struct msghdr is refused before anything
// is made of its size.
func TestMessageHeader(t *testing.T) {
	entries := append(socketCalls(), socketIOCalls()...)
	runScript(t, entries, func(g *guest) {
		pair := g.alloc(8)
		g.must(0, unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, pair)
		header := func(h messageHeader) uint64 {
			b := make([]byte, sizeofMsghdr)
			le := binary.LittleEndian
			le.PutUint64(b[0:], h.name)
			le.PutUint32(b[8:], h.nameLen)
			le.PutUint64(b[16:], h.iov)
			le.PutUint64(b[24:], h.count)
			le.PutUint64(b[32:], h.control)
			le.PutUint64(b[40:], h.controlLen)
			return g.put(b)
		}
		text := g.put([]byte("x"))
		iov := g.put(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, text), 1))
		for _, c := range []struct {
			h    messageHeader
			want abi.Errno
		}{
			{messageHeader{iov: iov, count: 1 << 60}, abi.EMSGSIZE},
			{messageHeader{iov: iov, count: 1025}, abi.EMSGSIZE},
			{messageHeader{iov: scriptBadAddr, count: 1}, abi.EFAULT},
			{messageHeader{iov: iov, count: 1, control: text, controlLen: 1 << 50}, abi.ENOBUFS},
			{messageHeader{iov: iov, count: 1, control: scriptBadAddr, controlLen: 64}, abi.EFAULT},
			{messageHeader{iov: iov, count: 1, name: text, nameLen: 1 << 31}, abi.EINVAL},
		} {
			g.fails(c.want, unix.SYS_SENDMSG, 0, header(c.h), unix.MSG_DONTWAIT)
		}
		g.fails(abi.EFAULT, unix.SYS_SENDMSG, 0, scriptBadAddr, 0)
		g.must(1, unix.SYS_SENDMSG, 0, header(messageHeader{iov: iov, count: 1}), 0)
		g.fails(abi.EFAULT, unix.SYS_RECVMSG, 1, header(messageHeader{iov: scriptBadAddr, count: 1}), 0)
		g.must(1, unix.SYS_RECVMSG, 1, header(messageHeader{iov: iov, count: 1, control: text, controlLen: 1 << 60}), 0)
	})
}

// FuzzMessageHeader: whatever a struct msghdr and what it leads to say, sendmsg and
// recvmsg return.
func FuzzMessageHeader(f *testing.F) {
	entries := append(socketCalls(), socketIOCalls()...)
	f.Add(make([]byte, sizeofMsghdr), []byte{20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, []byte{1, 0, 0, 97})
	f.Add(bytes.Repeat([]byte{1, 0, 0, 0, 0, 0, 0, 0}, 7), make([]byte, 64), []byte{2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw, control, name []byte) {
		if len(control) > 4096 || len(name) > 4096 {
			return
		}
		runScript(t, entries, func(g *guest) {
			fs, err := vfs.New(vfs.Config{})
			if err != nil {
				t.Fatal(err)
			}
			g.k.FS, g.k.Init.Cwd = fs, fs.Root()
			b := make([]byte, sizeofMsghdr)
			copy(b, raw)
			le := binary.LittleEndian
			// The lengths are the fuzzer's; addresses that lead nowhere teach nothing.
			le.PutUint64(b[0:], g.put(name))
			le.PutUint64(b[16:], g.put(append(le.AppendUint64(nil, g.alloc(64)), b[24:32]...)))
			le.PutUint64(b[32:], g.put(control))
			hdr := g.put(b)
			pair := g.alloc(8)
			for i, typ := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
				g.must(0, unix.SYS_SOCKETPAIR, unix.AF_UNIX, typ|unix.SOCK_NONBLOCK, 0, pair)
				g.call(unix.SYS_SENDMSG, uint64(2*i), hdr, unix.MSG_NOSIGNAL)
				g.call(unix.SYS_RECVMSG, uint64(2*i+1), hdr, 0)
			}
			u := uint64(g.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0))
			g.call(unix.SYS_SENDMSG, u, hdr, 0)
			g.call(unix.SYS_SENDMMSG, u, hdr, 2, 0)
			g.call(unix.SYS_RECVMMSG, u, hdr, 2, unix.MSG_DONTWAIT)
		})
	})
}
