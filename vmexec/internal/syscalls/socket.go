// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// socketCalls are the calls that make, name and connect sockets; what moves data is
// in socket_io.go.
func socketCalls() []Entry {
	const options = "SOL_SOCKET, IP, IPv6 and TCP options that mean something on a loopback network; no socket filters, time stamps, multicast groups or sockmaps (ENOPROTOOPT)"
	return []Entry{
		{Nr: unix.SYS_SOCKET, Name: "socket", Fn: sysSocket, Support: Partial, Note: "AF_UNIX; AF_INET and AF_INET6 stream and datagram, on a loopback network of the VM's own; AF_NETLINK with NETLINK_ROUTE"},
		{Nr: unix.SYS_SOCKETPAIR, Name: "socketpair", Fn: sysSocketpair, Support: Full},
		{Nr: unix.SYS_BIND, Name: "bind", Fn: sysBind, Support: Full},
		{Nr: unix.SYS_LISTEN, Name: "listen", Fn: sysListen, Support: Full},
		{Nr: unix.SYS_ACCEPT, Name: "accept", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return accept(t, a, 0)
		}},
		{Nr: unix.SYS_ACCEPT4, Name: "accept4", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return accept(t, a, uint32(a[3]))
		}},
		{Nr: unix.SYS_CONNECT, Name: "connect", Fn: sysConnect, Support: Full, Note: "an address that is not the VM's is ENETUNREACH; for TCP the host is asked where programs may reach the network outside"},
		{Nr: unix.SYS_GETSOCKNAME, Name: "getsockname", Fn: sysGetsockname, Support: Full},
		{Nr: unix.SYS_GETPEERNAME, Name: "getpeername", Fn: sysGetpeername, Support: Full},
		{Nr: unix.SYS_SHUTDOWN, Name: "shutdown", Fn: sysShutdown, Support: Full},
		{Nr: unix.SYS_SETSOCKOPT, Name: "setsockopt", Fn: sysSetsockopt, Support: Partial, Note: options},
		{Nr: unix.SYS_GETSOCKOPT, Name: "getsockopt", Fn: sysGetsockopt, Support: Partial, Note: options},
	}
}

// socketOf returns the socket of a descriptor: EBADF when it is not open, ENOTSOCK
// when it is something else.
func socketOf(t *task.Thread, arg uint64) (*net.Socket, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(arg))
	if errno != abi.OK {
		return nil, errno
	}
	s, ok := f.(*net.Socket)
	switch {
	case ok:
		return s, abi.OK
	case f.StatusFlags()&unix.O_PATH != 0:
		return nil, abi.EBADF
	}
	return nil, abi.ENOTSOCK
}

// credOf is what the kernel vouches for of the caller.
func credOf(t *task.Thread) net.Cred {
	c := t.K.FS.Cred()
	return net.Cred{PID: int32(t.P.PID), UID: c.UID, GID: c.GID}
}

// socketType takes the flags off a type: EINVAL for unknown ones.
func socketType(arg uint64) (typ, flags int, errno abi.Errno) {
	flags = int(int32(arg)) &^ 0xf
	if flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
		return 0, 0, abi.EINVAL
	}
	return int(int32(arg)) & 0xf, flags, abi.OK
}

func sysSocket(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	typ, flags, errno := socketType(a[1])
	if errno != abi.OK {
		return 0, errno
	}
	s, errno := t.K.Net.New(int(int32(a[0])), typ, int(int32(a[2])), flags, credOf(t))
	if errno != abi.OK {
		return 0, errno
	}
	return install(t, s, flags) // SOCK_CLOEXEC is O_CLOEXEC
}

func sysSocketpair(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	typ, flags, errno := socketType(a[1])
	if errno != abi.OK {
		return 0, errno
	}
	x, y, errno := t.K.Net.Pair(int(int32(a[0])), typ, int(int32(a[2])), flags, credOf(t))
	if errno != abi.OK {
		return 0, errno
	}
	fds := t.P.FDs
	m, errno := install(t, x, flags)
	if errno != abi.OK {
		y.Release()
		return 0, errno
	}
	n, errno := install(t, y, flags)
	if errno != abi.OK {
		fds.Close(int32(m))
		return 0, errno
	}
	var out [8]byte
	binary.LittleEndian.PutUint32(out[0:], uint32(m))
	binary.LittleEndian.PutUint32(out[4:], uint32(n))
	if errno := t.CopyOut(a[3], out[:]); errno != abi.OK {
		fds.Close(int32(m))
		fds.Close(int32(n))
		return 0, errno
	}
	return 0, abi.OK
}

// copyInAddr reads the bytes of an address.
func copyInAddr(t *task.Thread, addr, size uint64) ([]byte, abi.Errno) {
	if n := int32(size); n < 0 || n > net.MaxAddr {
		return nil, abi.EINVAL
	}
	raw := make([]byte, uint32(size))
	return raw, t.CopyIn(addr, raw)
}

// copyOutAddr writes an address where the program has room for *size bytes, and its
// whole length to size. EINVAL for a negative length. A null address is not asked for.
func copyOutAddr(t *task.Thread, a net.Addr, addr, size uint64) abi.Errno {
	if addr == 0 {
		return abi.OK
	}
	n, errno := t.CopyInU32(size)
	if errno != abi.OK {
		return errno
	}
	if int32(n) < 0 {
		return abi.EINVAL
	}
	raw := a.Encode()
	if errno := t.CopyOut(addr, raw[:min(int(n), len(raw))]); errno != abi.OK {
		return errno
	}
	return t.CopyOutU32(size, uint32(len(raw)))
}

// resolve finds the socket that a unix address in the file system leads to.
func resolve(t *task.Thread, s *net.Socket, a *net.Addr) abi.Errno {
	if s.Domain() != unix.AF_UNIX || a.Family != unix.AF_UNIX || a.Path == "" || a.Path[0] == 0 {
		return abi.OK
	}
	p, errno := t.K.FS.Resolve(t.P.Cwd, a.Path, 0)
	if errno != abi.OK {
		return errno
	}
	if errno := t.K.FS.MayWrite(p); errno != abi.OK {
		return errno
	}
	key, ok := p.Socket().(net.Key)
	if !ok {
		return abi.ECONNREFUSED
	}
	a.Key = key
	return abi.OK
}

func sysBind(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	raw, errno := copyInAddr(t, a[1], a[2])
	if errno != abi.OK {
		return 0, errno
	}
	if len(raw) < net.MinLen(s.Domain()) {
		return 0, abi.EINVAL
	}
	addr, errno := net.DecodeAddr(s.Domain(), raw)
	if errno != abi.OK {
		return 0, errno
	}
	if s.Domain() != unix.AF_UNIX || addr.Family != unix.AF_UNIX || addr.Path == "" || addr.Path[0] == 0 {
		return 0, s.Bind(addr)
	}
	// As on Linux the file comes first, also for a socket that has a name.
	if _, errno := t.K.FS.Resolve(t.P.Cwd, addr.Path, vfs.NoFollow); errno == abi.OK {
		return 0, abi.EADDRINUSE
	}
	return 0, s.BindPath(addr.Path, func(k net.Key) abi.Errno {
		_, errno := t.K.FS.Bind(t.P.Cwd, addr.Path, masked(t, 0o777), k)
		return errno
	})
}

func sysListen(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	return 0, s.Listen(int(int32(a[1])), credOf(t))
}

// waitSocket waits for a queue of a socket, up to limit nanoseconds (SO_RCVTIMEO and
// its like; negative for ever) from the first time that the call was made. It returns
// EAGAIN when the socket is a non-blocking one or the time is over.
func waitSocket(t *task.Thread, s *net.Socket, q *waitq.Queue, limit int64, nonblock bool) abi.Errno {
	switch {
	case nonblock || s.StatusFlags()&unix.O_NONBLOCK != 0 || t.Woken() == task.WakeTimeout:
		return abi.EAGAIN
	case signalDue(t) && limit >= 0: // as on Linux, a wait with a limit is not made again
		return abi.EINTR
	case signalDue(t):
		return abi.ERESTARTSYS
	}
	return t.Block(t.Deadline(limit), q)
}

func accept(t *task.Thread, a task.Args, flags uint32) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.EBADF && flags&^uint32(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
		errno = abi.EINVAL
	}
	if errno != abi.OK {
		return 0, errno
	}
	// A connection must not be lost for want of a descriptor: as on Linux that is
	// looked at first.
	if !t.P.FDs.HasRoom() {
		return 0, abi.EMFILE
	}
	c, errno := s.Accept(int(flags))
	if errno == abi.EAGAIN {
		if s.AcceptEnded() && s.StatusFlags()&unix.O_NONBLOCK == 0 {
			return 0, abi.EINVAL
		}
		return 0, waitSocket(t, s, s.Queue(), s.RecvTimeout(), false)
	}
	if errno != abi.OK {
		return 0, errno
	}
	if a[1] != 0 {
		peer, errno := c.PeerAddr()
		if errno != abi.OK && s.Domain() != unix.AF_UNIX {
			c.Release()
			return 0, abi.ECONNABORTED
		}
		if errno = copyOutAddr(t, peer, a[1], a[2]); errno != abi.OK {
			c.Release()
			return 0, errno
		}
	}
	return install(t, c, int(flags))
}

// maxConnect is how long a connection attempt goes on that is not answered, in
// nanoseconds: six repetitions, as tcp(7) says of tcp_syn_retries.
const maxConnect = 127 * second

func sysConnect(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	raw, errno := copyInAddr(t, a[1], a[2])
	if errno != abi.OK {
		return 0, errno
	}
	addr, errno := net.DecodeAddr(s.Domain(), raw)
	if errno != abi.OK {
		return 0, errno
	}
	if errno := resolve(t, s, &addr); errno != abi.OK {
		return 0, errno
	}
	q, errno := s.Connect(addr, s.StatusFlags()&unix.O_NONBLOCK != 0, credOf(t))
	if q == nil {
		return 0, errno
	}
	limit := s.SendTimeout()
	late := errno // EINPROGRESS or EAGAIN
	if s.Domain() != unix.AF_UNIX && limit < 0 {
		limit, late = maxConnect, abi.ETIMEDOUT
	}
	switch {
	case t.Woken() == task.WakeTimeout:
		if late == abi.ETIMEDOUT {
			s.GiveUp()
		}
		return 0, late
	case signalDue(t) && s.SendTimeout() >= 0:
		return 0, abi.EINTR
	case signalDue(t):
		return 0, abi.ERESTARTSYS
	}
	return 0, t.Block(t.Deadline(limit), q)
}

func sysGetsockname(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	return 0, nameOut(t, s.LocalAddr(), a)
}

func sysGetpeername(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	peer, errno := s.PeerAddr()
	if errno != abi.OK {
		return 0, errno
	}
	return 0, nameOut(t, peer, a)
}

// nameOut is copyOutAddr for calls that must have a place for the address.
func nameOut(t *task.Thread, addr net.Addr, a task.Args) abi.Errno {
	n, errno := t.CopyInU32(a[2])
	switch {
	case errno != abi.OK:
		return errno
	case int32(n) < 0:
		return abi.EINVAL
	case a[1] == 0 && n > 0:
		return abi.EFAULT
	case a[1] == 0:
		return t.CopyOutU32(a[2], uint32(len(addr.Encode())))
	}
	return copyOutAddr(t, addr, a[1], a[2])
}

func sysShutdown(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	return 0, s.Shutdown(int(int32(a[1])))
}

func sysSetsockopt(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	if int32(a[4]) < 0 {
		return 0, abi.EINVAL
	}
	raw := make([]byte, min(uint32(a[4]), net.MaxOption))
	if errno := t.CopyIn(a[3], raw); errno != abi.OK {
		return 0, errno
	}
	return 0, s.SetOption(int(int32(a[1])), int(int32(a[2])), raw)
}

func sysGetsockopt(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	size, errno := t.CopyInU32(a[4])
	if errno != abi.OK {
		return 0, errno
	}
	if int32(size) < 0 {
		return 0, abi.EINVAL
	}
	v, errno := s.GetOption(int(int32(a[1])), int(int32(a[2])))
	if errno != abi.OK {
		return 0, errno
	}
	v = v[:min(len(v), int(size))]
	if errno := t.CopyOut(a[3], v); errno != abi.OK {
		return 0, errno
	}
	return 0, t.CopyOutU32(a[4], uint32(len(v)))
}

// socketIoctl serves the commands that only sockets have; known is false for others.
func socketIoctl(t *task.Thread, s *net.Socket, cmd uint32, arg uint64) (errno abi.Errno, known bool) {
	switch cmd {
	case fioNread:
		if s.Listens() {
			return abi.EINVAL, true
		}
		return abi.OK, false
	case unix.SIOCOUTQ:
		if s.Listens() {
			return abi.EINVAL, true
		}
		return t.CopyOutU32(arg, uint32(s.Unsent())), true
	case unix.SIOCGIFCONF:
		return interfaceList(t, arg), true
	}
	var req [net.SizeofIfreq]byte
	if _, known := net.Interface(cmd, &req); !known {
		return abi.OK, false
	}
	if errno := t.CopyIn(arg, req[:]); errno != abi.OK {
		return errno, true
	}
	if errno, _ := net.Interface(cmd, &req); errno != abi.OK {
		return errno, true
	}
	return t.CopyOut(arg, req[:]), true
}

// interfaceList is SIOCGIFCONF of netdevice(7): arg is the address of a struct ifconf.
func interfaceList(t *task.Thread, arg uint64) abi.Errno {
	var conf [16]byte
	if errno := t.CopyIn(arg, conf[:]); errno != abi.OK {
		return errno
	}
	room, dst := int32(binary.LittleEndian.Uint32(conf[:])), binary.LittleEndian.Uint64(conf[8:])
	list := net.Interfaces()
	if dst != 0 {
		if room < 0 {
			return abi.EINVAL
		}
		list = list[:min(len(list), int(room)/net.SizeofIfreq*net.SizeofIfreq)]
		if errno := t.CopyOut(dst, list); errno != abi.OK {
			return errno
		}
	}
	return t.CopyOutU32(arg, uint32(len(list)))
}
