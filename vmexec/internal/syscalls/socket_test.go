// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// TestDial connects from outside to a program that serves a port: it echoes what it
// gets until the end of data, on one connection after the other.
func TestDial(t *testing.T) {
	const port = 8080
	ends := make(chan struct{})
	var client chan error
	entries := append(socketCalls(), append(socketIOCalls(), append(readwriteCalls(), descriptorCalls()...)...)...)
	out := runScript(t, entries, func(g *guest) {
		k := g.k
		k.SetExternal(true)
		addr := g.put(net.Addr{Family: unix.AF_INET, Port: port}.Encode())
		l := uint64(g.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0))
		g.must(0, unix.SYS_BIND, l, addr, 16)
		if k.Net.Listening(port) {
			t.Error("the port is served before listen(2)")
		}
		if _, err := k.Net.Dial(port); !errors.Is(err, net.ErrRefused) {
			t.Errorf("dial before listen(2): %v", err)
		}
		g.must(0, unix.SYS_LISTEN, l, 4)
		if !k.Net.Listening(port) || k.Net.Listening(port+1) {
			t.Error("the port is not served after listen(2), or another one is")
		}
		client = make(chan error, 1)
		go func() { client <- talk(k, port, ends) }()
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
		// The fourth client is left waiting: the end of the run frees it.
		c := uint64(g.call(unix.SYS_ACCEPT, l, 0, 0))
		g.must(1, unix.SYS_READ, c, buf, size)
	})
	close(ends)
	if out.Ending != task.Exited {
		t.Errorf("the program ended by %v", out.Ending)
	}
	if err := <-client; err != nil {
		t.Error(err)
	}
}

// talk is the host's side of TestDial.
func talk(k *task.Kernel, port uint16, ends <-chan struct{}) error {
	dial := func() (*net.Conn, error) {
		type dialed struct {
			c   *net.Conn
			err error
		}
		done := make(chan dialed, 1)
		k.Post(func() {
			s, err := k.Net.Dial(port)
			if err != nil {
				done <- dialed{nil, err}
				return
			}
			done <- dialed{net.NewConn(s, k.Post, ends), nil}
		})
		d := <-done
		return d.c, d.err
	}
	for _, size := range []int{0, 5, 4 << 20} {
		c, err := dial()
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
	c, err := dial()
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		return errors.New("a read of a VM that has ended gave no error")
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
