// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/task"
)

// socketIOCalls are the calls that move data through sockets.
func socketIOCalls() []Entry {
	const missing = "MSG_OOB and MSG_FASTOPEN are EOPNOTSUPP, and MSG_MORE on datagrams"
	return []Entry{
		{Nr: unix.SYS_SENDTO, Name: "sendto", Fn: sysSendto, Support: Partial, Note: missing},
		{Nr: unix.SYS_SENDMSG, Name: "sendmsg", Fn: sysSendmsg, Support: Partial, Note: missing},
		{Nr: unix.SYS_SENDMMSG, Name: "sendmmsg", Fn: sysSendmmsg, Support: Partial, Note: missing},
		{Nr: unix.SYS_RECVFROM, Name: "recvfrom", Fn: sysRecvfrom, Support: Partial, Note: "MSG_OOB is EINVAL"},
		{Nr: unix.SYS_RECVMSG, Name: "recvmsg", Fn: sysRecvmsg, Support: Partial, Note: "MSG_OOB is EINVAL"},
		{Nr: unix.SYS_RECVMMSG, Name: "recvmmsg", Fn: sysRecvmmsg, Support: Partial, Note: "MSG_OOB is EINVAL"},
	}
}

// maxVector is UIO_MAXIOV: the most buffers of a message, and messages of a call.
const maxVector = 1024

// maxMessage is longer than every message that a socket takes.
const maxMessage = 1 << 20

// sendOn sends all bytes on a blocking stream, as Linux does, and else what there is
// room for, or a message.
func sendOn(t *task.Thread, s *net.Socket, src fd.Buffers, m *net.Message, nonblock, signal bool) (uint64, abi.Errno) {
	done, _ := t.State.(written)
	for {
		if done > 0 {
			m.Rights = nil // they went with the first bytes
		}
		n, q, errno := s.Send(src.Skip(int(done)), m)
		done += written(n)
		switch errno {
		case abi.OK:
			if s.Stream() && n > 0 && int(done) < src.Len() {
				continue
			}
			return uint64(done), abi.OK
		case abi.EAGAIN:
			if errno = waitSocket(t, s, q, s.SendTimeout(), nonblock); errno == abi.EBLOCK {
				t.State = done
				return 0, errno
			}
		case abi.EPIPE:
			if done == 0 && signal && s.Signals() {
				_ = t.Signal(int(unix.SIGPIPE), task.SigInfo{})
			}
		}
		if done > 0 {
			return uint64(done), abi.OK
		}
		return 0, errno
	}
}

// sendFlags checks the flags of a call that sends.
func sendFlags(s *net.Socket, flags uint32) abi.Errno {
	if flags&(unix.MSG_OOB|unix.MSG_FASTOPEN) != 0 || flags&unix.MSG_MORE != 0 && !s.Stream() && s.Domain() != unix.AF_UNIX {
		return abi.EOPNOTSUPP
	}
	return abi.OK
}

// sendBuffer sends one buffer.
func sendBuffer(t *task.Thread, s *net.Socket, addr, n uint64, m *net.Message, flags uint32) (uint64, abi.Errno) {
	if !s.Stream() && n > maxMessage {
		return 0, abi.EMSGSIZE
	}
	src, errno := buffer(t, addr, n, false)
	if errno == abi.OK && !s.Stream() && uint64(src.Len()) < n {
		errno = abi.EFAULT
	}
	if errno != abi.OK {
		return partial(t, errno)
	}
	return sendOn(t, s, src, m, flags&unix.MSG_DONTWAIT != 0, flags&unix.MSG_NOSIGNAL == 0)
}

// destination reads where a message is to go; nil for a null address.
func destination(t *task.Thread, s *net.Socket, addr, size uint64) (*net.Addr, abi.Errno) {
	if addr == 0 || uint32(size) == 0 {
		return nil, abi.OK
	}
	raw, errno := copyInAddr(t, addr, size)
	if errno != abi.OK {
		return nil, errno
	}
	if !s.Addressed() && (s.Domain() != unix.AF_UNIX || !s.Stream()) {
		return nil, abi.OK // TCP and seqpacket do not look at it
	}
	to, errno := net.DecodeAddr(s.Domain(), raw)
	if errno == abi.OK && !s.Stream() {
		errno = resolve(t, s, &to)
	}
	return &to, errno
}

func sysSendto(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return partial(t, errno)
	}
	if errno := userRange(a[1], a[2]); errno != abi.OK {
		return partial(t, errno)
	}
	to, errno := destination(t, s, a[4], a[5])
	if errno != abi.OK {
		return partial(t, errno)
	}
	if errno := sendFlags(s, uint32(a[3])); errno != abi.OK {
		return 0, errno
	}
	return sendBuffer(t, s, a[1], a[2], &net.Message{To: to, Cred: credOf(t)}, uint32(a[3]))
}

// messageHeader is struct msghdr.
type messageHeader struct {
	name, iov, count, control, controlLen uint64
	nameLen, flags                        uint32
}

// Places in struct msghdr and struct mmsghdr.
const (
	sizeofMsghdr  = 56
	sizeofMmsghdr = 64
	msgNameLen    = 8
	msgControlLen = 40
	msgFlags      = 48
	mmsgLen       = 56
)

func decodeMessageHeader(b *[sizeofMsghdr]byte) messageHeader {
	le := binary.LittleEndian
	return messageHeader{
		name: le.Uint64(b[0:]), nameLen: le.Uint32(b[msgNameLen:]), iov: le.Uint64(b[16:]), count: le.Uint64(b[24:]),
		control: le.Uint64(b[32:]), controlLen: le.Uint64(b[msgControlLen:]), flags: le.Uint32(b[msgFlags:]),
	}
}

// copyInHeader reads a struct msghdr. Errors: EFAULT; EINVAL for a negative length of
// the name; EMSGSIZE for too many buffers.
func copyInHeader(t *task.Thread, addr uint64) (messageHeader, abi.Errno) {
	var raw [sizeofMsghdr]byte
	if errno := t.CopyIn(addr, raw[:]); errno != abi.OK {
		return messageHeader{}, errno
	}
	h := decodeMessageHeader(&raw)
	if h.name == 0 {
		h.nameLen = 0
	}
	switch {
	case int32(h.nameLen) < 0:
		return h, abi.EINVAL
	case h.count > maxVector:
		return h, abi.EMSGSIZE
	}
	h.nameLen = min(h.nameLen, net.MaxAddr)
	return h, abi.OK
}

// maxControl is net.core.optmem_max.
const maxControl = 131072

// control reads the ancillary data of a message that is sent.
func control(t *task.Thread, s *net.Socket, h *messageHeader, m *net.Message) abi.Errno {
	if h.control == 0 || h.controlLen == 0 {
		return abi.OK
	}
	if h.controlLen > maxControl {
		return abi.ENOBUFS
	}
	raw := make([]byte, h.controlLen)
	if errno := t.CopyIn(h.control, raw); errno != abi.OK {
		return errno
	}
	c, errno := net.DecodeControl(s.Domain(), raw)
	if errno != abi.OK {
		return errno
	}
	if c.Cred != nil {
		// Nobody may lie: the program has no capabilities.
		if own := t.K.FS.Cred(); !t.P.Is(int(c.Cred.PID)) || c.Cred.UID != own.UID || c.Cred.GID != own.GID {
			return abi.EPERM
		}
		m.Cred.PID = c.Cred.PID
	}
	m.Limit, m.Header = t.P.FDs.Limit(), c.Header
	for _, n := range c.FDs {
		d, errno := t.P.FDs.Description(n)
		if errno != abi.OK {
			return errno
		}
		m.Rights = append(m.Rights, d)
	}
	return abi.OK
}

func sysSendmsg(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return sendMessage(t, a[0], a[1], uint32(a[2]))
}

func sendMessage(t *task.Thread, sock, addr uint64, flags uint32) (uint64, abi.Errno) {
	s, errno := socketOf(t, sock)
	if errno != abi.OK {
		return partial(t, errno)
	}
	h, errno := copyInHeader(t, addr)
	if errno != abi.OK {
		return partial(t, errno)
	}
	m := net.Message{Cred: credOf(t)}
	if m.To, errno = destination(t, s, h.name, uint64(h.nameLen)); errno != abi.OK {
		return partial(t, errno)
	}
	if errno := sendFlags(s, flags); errno != abi.OK {
		return 0, errno
	}
	n, errno := vectorLength(t, &h)
	if errno == abi.OK && !s.Stream() && n > maxMessage {
		errno = abi.EMSGSIZE
	}
	if errno != abi.OK {
		return partial(t, errno)
	}
	src, errno := t.Iovec(h.iov, int(h.count), task.MaxIO, false)
	if errno == abi.OK && !s.Stream() && uint64(src.Len()) < n {
		errno = abi.EFAULT
	}
	if errno == abi.OK {
		errno = control(t, s, &h, &m)
	}
	if errno != abi.OK {
		return partial(t, errno)
	}
	return sendOn(t, s, src, &m, flags&unix.MSG_DONTWAIT != 0, flags&unix.MSG_NOSIGNAL == 0)
}

// vectorLength returns the bytes of a message's buffers. EINVAL for a length out of
// bounds.
func vectorLength(t *task.Thread, h *messageHeader) (uint64, abi.Errno) {
	raw := make([]byte, 16*h.count)
	if errno := t.CopyIn(h.iov, raw); errno != abi.OK {
		return 0, errno
	}
	n := uint64(0)
	for ; len(raw) > 0; raw = raw[16:] {
		size := binary.LittleEndian.Uint64(raw[8:])
		if int64(size) < 0 {
			return 0, abi.EINVAL
		}
		n = min(n+size, task.MaxIO)
	}
	return n, abi.OK
}

// several is what sendmmsg and recvmmsg keep while they wait: the messages that are
// done, and what the one that waits keeps.
type several struct {
	done     int
	inner    any
	deadline int64 // of recvmmsg's timeout; 0: none
}

// Progress implements task.Progress: what waits keeps nothing but counts.
func (several) Progress() {}

// each makes the calls for up to count messages of an array; last says that a message
// was the last one.
func each(t *task.Thread, addr, count uint64, deadline int64, one func(i int, hdr uint64) (n uint64, last bool, errno abi.Errno)) (uint64, abi.Errno) {
	st, _ := t.State.(several)
	t.State = st.inner
	n := int(min(uint64(uint32(count)), maxVector))
	for i := st.done; i < n; i++ {
		hdr := addr + uint64(i)*sizeofMmsghdr
		got, last, errno := one(i, hdr)
		if errno == abi.EBLOCK {
			t.State = several{i, t.State, deadline}
			return 0, errno
		}
		t.State = nil
		if errno == abi.OK {
			errno = t.CopyOutU32(hdr+mmsgLen, uint32(got))
		}
		switch {
		case errno != abi.OK && i > 0:
			return uint64(i), abi.OK
		case errno != abi.OK:
			return 0, errno
		case last:
			return uint64(i + 1), abi.OK
		}
	}
	return uint64(n), abi.OK
}

func sysSendmmsg(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if _, errno := socketOf(t, a[0]); errno != abi.OK {
		return 0, errno
	}
	return each(t, a[1], a[2], 0, func(_ int, hdr uint64) (uint64, bool, abi.Errno) {
		n, errno := sendMessage(t, a[0], hdr, uint32(a[3]))
		return n, false, errno
	})
}

// received is how much of a read with MSG_WAITALL is done when it has to wait.
type received int

// Progress implements task.Progress.
func (received) Progress() {}

// recvOn receives up to total bytes, or a message. at gives the place for n bytes
// from the skip-th on.
func recvOn(t *task.Thread, s *net.Socket, total uint64, at func(skip, n uint64) (fd.Buffers, abi.Errno), flags uint32) (net.Received, abi.Errno) {
	switch {
	case flags&unix.MSG_OOB != 0 && s.Domain() == unix.AF_UNIX:
		return net.Received{}, abi.EOPNOTSUPP
	case flags&unix.MSG_OOB != 0:
		return net.Received{}, abi.EINVAL
	case flags&unix.MSG_ERRQUEUE != 0 && s.Domain() != unix.AF_UNIX:
		return net.Received{}, abi.EAGAIN
	}
	total = min(total, task.MaxIO)
	done, _ := t.State.(received)
	peek := flags&unix.MSG_PEEK != 0
	// As on Linux, who peeks at a unix stream does not wait for more.
	whole := flags&unix.MSG_WAITALL != 0 && s.Stream() && !(peek && s.Domain() == unix.AF_UNIX)
	drop := flags&unix.MSG_TRUNC != 0 && s.Stream() && s.Domain() != unix.AF_UNIX && !peek
	var out net.Received
	for {
		off := 0
		if peek {
			off = int(done)
		}
		var r net.Received
		var errno abi.Errno
		if drop {
			r.N, errno = s.Drop(int(total) - int(done))
		} else {
			want := min(total-uint64(done), uint64(s.Waiting(off)))
			var dst fd.Buffers
			if want > 0 {
				dst, errno = at(uint64(done), want)
			}
			if errno == abi.OK && uint64(dst.Len()) < want && !s.Stream() {
				errno = abi.EFAULT
			}
			if errno == abi.OK {
				r, errno = s.Recv(dst, peek, off)
			}
		}
		if errno == abi.OK {
			done += received(r.N)
			full := r.Full
			rights := append(out.Rights, r.Rights...)
			out = r
			out.N, out.Rights = int(done), rights
			if s.Stream() {
				full = out.N
			}
			out.Full = full
			if whole && r.N > 0 && uint64(done) < total && len(rights) == 0 {
				continue
			}
			return out, abi.OK
		}
		if errno == abi.EAGAIN {
			nonblock := flags&unix.MSG_DONTWAIT != 0
			if s.Ended() && !nonblock && s.StatusFlags()&unix.O_NONBLOCK == 0 {
				return out, abi.OK
			}
			if errno = waitSocket(t, s, s.Queue(), s.RecvTimeout(), nonblock); errno == abi.EBLOCK {
				t.State = done
				return net.Received{}, errno
			}
		}
		if done > 0 {
			out.N, out.Full = int(done), int(done)
			return out, abi.OK
		}
		return net.Received{}, errno
	}
}

// inBuffer is the place of recvOn in one buffer.
func inBuffer(t *task.Thread, addr uint64) func(skip, n uint64) (fd.Buffers, abi.Errno) {
	return func(skip, n uint64) (fd.Buffers, abi.Errno) { return t.Buffers(addr+skip, n, true) }
}

// resultOf is what a call that received returns.
func resultOf(s *net.Socket, r *net.Received, flags uint32) uint64 {
	if flags&unix.MSG_TRUNC != 0 && !s.Stream() {
		return uint64(r.Full)
	}
	return uint64(r.N)
}

// recvInto receives into one buffer, and drops what came beside the bytes.
func recvInto(t *task.Thread, s *net.Socket, addr, n uint64, flags uint32) (uint64, abi.Errno) {
	if errno := userRange(addr, n); errno != abi.OK {
		return 0, errno
	}
	r, errno := recvOn(t, s, n, inBuffer(t, addr), flags)
	for _, d := range r.Rights {
		d.Unref()
	}
	return resultOf(s, &r, flags), errno
}

func sysRecvfrom(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, errno := socketOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	if errno := userRange(a[1], a[2]); errno != abi.OK {
		return 0, errno
	}
	r, errno := recvOn(t, s, a[2], inBuffer(t, a[1]), uint32(a[3]))
	if errno != abi.OK {
		return 0, errno
	}
	for _, d := range r.Rights {
		d.Unref()
	}
	if a[4] != 0 {
		if errno := senderOut(t, &r, a[4], a[5]); errno != abi.OK {
			return 0, errno
		}
	}
	return resultOf(s, &r, uint32(a[3])), abi.OK
}

// senderOut writes where a message came from; nothing, and a length of 0, for a
// socket without a name.
func senderOut(t *task.Thread, r *net.Received, addr, size uint64) abi.Errno {
	if r.Named {
		return copyOutAddr(t, r.From, addr, size)
	}
	n, errno := t.CopyInU32(size)
	switch {
	case errno != abi.OK:
		return errno
	case int32(n) < 0:
		return abi.EINVAL
	}
	return t.CopyOutU32(size, 0)
}

func sysRecvmsg(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return recvMessage(t, a[0], a[1], uint32(a[2]))
}

func recvMessage(t *task.Thread, sock, addr uint64, flags uint32) (uint64, abi.Errno) {
	s, errno := socketOf(t, sock)
	if errno != abi.OK {
		return 0, errno
	}
	h, errno := copyInHeader(t, addr)
	if errno != abi.OK {
		return 0, errno
	}
	n, errno := vectorLength(t, &h)
	if errno != abi.OK {
		return 0, errno
	}
	// As on Linux, all buffers are checked before the first byte is moved.
	if _, errno := t.Iovec(h.iov, int(h.count), 0, true); errno != abi.OK {
		return 0, errno
	}
	r, errno := recvOn(t, s, n, func(skip, n uint64) (fd.Buffers, abi.Errno) {
		dst, errno := t.Iovec(h.iov, int(h.count), skip+n, true)
		if errno == abi.OK && uint64(dst.Len()) <= skip {
			errno = abi.EFAULT
		}
		return dst.Skip(int(skip)), errno
	}, flags)
	if errno != abi.OK {
		return 0, errno
	}
	w := ancillary(t, s, &r, &h, flags)
	out := uint32(0)
	if w.Cut {
		out |= unix.MSG_CTRUNC
	}
	if r.Full > r.N {
		out |= unix.MSG_TRUNC
	}
	out |= flags & unix.MSG_CMSG_CLOEXEC
	if errno := headerOut(t, &r, &h, addr, w.Bytes, out); errno != abi.OK {
		return 0, errno
	}
	return resultOf(s, &r, flags), abi.OK
}

// headerOut writes what recvmsg(2) gives back in and by the struct msghdr.
func headerOut(t *task.Thread, r *net.Received, h *messageHeader, addr uint64, control []byte, flags uint32) abi.Errno {
	if h.name != 0 {
		var from []byte
		if r.Named {
			from = r.From.Encode()
		}
		if errno := t.CopyOut(h.name, from[:min(len(from), int(h.nameLen))]); errno != abi.OK {
			return errno
		}
		if errno := t.CopyOutU32(addr+msgNameLen, uint32(len(from))); errno != abi.OK {
			return errno
		}
	}
	if len(control) > 0 {
		if errno := t.CopyOut(h.control, control); errno != abi.OK {
			return errno
		}
	}
	if errno := t.CopyOutU64(addr+msgControlLen, uint64(len(control))); errno != abi.OK {
		return errno
	}
	return t.CopyOutU32(addr+msgFlags, flags)
}

// ancillary makes the control messages of a message: credentials, descriptors, which
// it installs, and what the header of a datagram says.
func ancillary(t *task.Thread, s *net.Socket, r *net.Received, h *messageHeader, flags uint32) *net.ControlWriter {
	w := &net.ControlWriter{}
	if h.control != 0 {
		w.Room = int(min(h.controlLen, maxControl))
	}
	if s.PassCred() {
		cred := r.Cred
		if !r.HasCred {
			cred = net.Cred{UID: 65534, GID: 65534}
		}
		w.Add(unix.SOL_SOCKET, unix.SCM_CREDENTIALS, net.AppendCred(nil, cred))
	}
	s.Ancillary(w, r)
	if len(r.Rights) == 0 {
		return w
	}
	var fds []byte
	room := w.Fit(4)
	cut := false
	for i, d := range r.Rights {
		if i < room && !cut {
			n, errno := t.P.FDs.InstallDescription(d, flags&unix.MSG_CMSG_CLOEXEC != 0, 0)
			if errno == abi.OK {
				fds = binary.LittleEndian.AppendUint32(fds, uint32(n))
			} else {
				cut = true
			}
		}
		d.Unref() // the message's reference
	}
	if len(fds) > 0 {
		w.Add(unix.SOL_SOCKET, unix.SCM_RIGHTS, fds)
	}
	w.Cut = w.Cut || cut || len(r.Rights) > room
	return w
}

// sysRecvmmsg is recvmmsg(2). As on Linux its timeout is looked at only when a
// message has come.
func sysRecvmmsg(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if _, errno := socketOf(t, a[0]); errno != abi.OK {
		return 0, errno
	}
	limit, errno := copyInTimeout(t, a[4], 1)
	if errno != abi.OK {
		return 0, errno
	}
	st, _ := t.State.(several)
	deadline := st.deadline
	if deadline == 0 && limit >= 0 {
		deadline = t.K.Clock.Monotonic() + int64(min(limit, 1<<60))
	}
	flags := uint32(a[3])
	return each(t, a[1], a[2], deadline, func(i int, hdr uint64) (uint64, bool, abi.Errno) {
		f := flags &^ unix.MSG_WAITFORONE
		if i > 0 && flags&unix.MSG_WAITFORONE != 0 {
			f |= unix.MSG_DONTWAIT
		}
		n, errno := recvMessage(t, a[0], hdr, f)
		return n, errno == abi.OK && deadline != 0 && t.K.Clock.Monotonic() >= deadline, errno
	})
}
