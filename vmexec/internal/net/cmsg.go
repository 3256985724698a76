// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// MaxRights is the most descriptors in one message (SCM_MAX_FD).
const MaxRights = 253

// sizeofCmsg is the size of struct cmsghdr.
const sizeofCmsg = 16

// Control is what ancillary data asks for; see cmsg(3).
type Control struct {
	FDs  []int32 // SCM_RIGHTS
	Cred *Cred   // SCM_CREDENTIALS
	Header
}

// Header is what ancillary data puts into the IP header of one datagram, instead of what
// the socket's options say: of IPv4's messages when it goes by IPv4, else of IPv6's. As
// on Linux the others are not looked at.
type Header struct {
	V4, V6 headerFields
}

// headerFields is what the messages for one version of IP say.
type headerFields struct {
	hops, class field
	wrong       bool // there is one that is malformed, or not known
}

// field is a field of a header that may be set.
type field struct {
	value uint8
	set   bool
}

// cmsgAlign rounds up to the alignment of control messages.
func cmsgAlign(n int) int { return (n + 7) &^ 7 }

// DecodeControl reads the ancillary data of a message on a socket of the domain.
// Errors: EINVAL for what is malformed, or too many descriptors.
func DecodeControl(domain int, raw []byte) (Control, abi.Errno) {
	var c Control
	for len(raw) >= sizeofCmsg {
		size := binary.LittleEndian.Uint64(raw)
		level, typ := int(int32(binary.LittleEndian.Uint32(raw[8:]))), int(int32(binary.LittleEndian.Uint32(raw[12:])))
		if size < sizeofCmsg || size > uint64(len(raw)) {
			return Control{}, abi.EINVAL
		}
		data := raw[sizeofCmsg:size]
		if errno := c.take(domain, level, typ, data); errno != abi.OK {
			return Control{}, errno
		}
		raw = raw[min(cmsgAlign(int(size)), len(raw)):]
	}
	return c, abi.OK
}

func (c *Control) take(domain, level, typ int, data []byte) abi.Errno {
	if level != unix.SOL_SOCKET {
		if domain == unix.AF_UNIX || domain == unix.AF_NETLINK {
			return abi.OK // for nobody
		}
		c.inet(level, typ, data)
		return abi.OK
	}
	if domain != unix.AF_UNIX && domain != unix.AF_NETLINK {
		switch typ {
		case unix.SCM_RIGHTS, unix.SCM_CREDENTIALS:
			return abi.OK // as on Linux, only AF_UNIX looks at them
		}
		return abi.EINVAL
	}
	switch typ {
	case unix.SCM_RIGHTS:
		if domain != unix.AF_UNIX {
			return abi.EINVAL
		}
		n := len(data) / 4
		if n > MaxRights || len(c.FDs)+n > MaxRights {
			return abi.EINVAL
		}
		for i := range n {
			c.FDs = append(c.FDs, int32(binary.LittleEndian.Uint32(data[4*i:])))
		}
	case unix.SCM_CREDENTIALS:
		if len(data) != 12 {
			return abi.EINVAL
		}
		le := binary.LittleEndian
		c.Cred = &Cred{PID: int32(le.Uint32(data)), UID: le.Uint32(data[4:]), GID: le.Uint32(data[8:])}
	default:
		return abi.EINVAL
	}
	return abi.OK
}

// inet takes a message for IPv4 or IPv6. The source address and interface are not looked
// at: there is one interface.
func (c *Control) inet(level, typ int, data []byte) {
	ok := true
	switch (option{level, typ}) {
	case option{unix.IPPROTO_IP, unix.IP_PKTINFO}, option{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
	case option{unix.IPPROTO_IP, unix.IP_TTL}:
		ok = c.V4.hops.take(data, 1)
	case option{unix.IPPROTO_IP, unix.IP_TOS}:
		if len(data) == 1 {
			c.V4.class = field{data[0], true}
		} else {
			ok = c.V4.class.take(data, 0)
		}
	case option{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}:
		ok = c.V6.hops.take(data, -1)
	case option{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:
		ok = c.V6.class.take(data, -1)
	default:
		ok = false
	}
	switch {
	case ok:
	case level == unix.IPPROTO_IP:
		c.V4.wrong = true
	case level == unix.IPPROTO_IPV6:
		c.V6.wrong = true
	}
}

// take reads a number of least to 255; -1 stands for what the socket's option says. It
// reports false for what is no such number.
func (f *field) take(data []byte, least int32) bool {
	if len(data) != 4 {
		return false
	}
	v := int32(binary.LittleEndian.Uint32(data))
	if v < least || v > 255 {
		return false
	}
	*f = field{uint8(v), v >= 0}
	return true
}

// AppendCred appends struct ucred.
func AppendCred(b []byte, c Cred) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(c.PID))
	b = binary.LittleEndian.AppendUint32(b, c.UID)
	return binary.LittleEndian.AppendUint32(b, c.GID)
}

// ControlWriter builds the ancillary data of a received message in a place of room
// bytes.
type ControlWriter struct {
	Bytes []byte
	Room  int
	// Cut: something did not fit (MSG_CTRUNC).
	Cut bool
}

// Fit returns how many units of size bytes fit as the data of one more message.
func (w *ControlWriter) Fit(size int) int {
	return max(0, w.Room-len(w.Bytes)-sizeofCmsg) / size
}

// Add appends a control message, cut off where the room ends.
func (w *ControlWriter) Add(level, typ int, data []byte) {
	left := w.Room - len(w.Bytes)
	if left < sizeofCmsg {
		w.Cut = true
		return
	}
	if n := left - sizeofCmsg; n < len(data) {
		w.Cut = true
		data = data[:n]
	}
	le := binary.LittleEndian
	w.Bytes = le.AppendUint64(w.Bytes, uint64(sizeofCmsg+len(data)))
	w.Bytes = le.AppendUint32(w.Bytes, uint32(level))
	w.Bytes = le.AppendUint32(w.Bytes, uint32(typ))
	w.Bytes = append(w.Bytes, data...)
	if pad := cmsgAlign(len(data)) - len(data); pad > 0 {
		w.Bytes = append(w.Bytes, make([]byte, min(pad, w.Room-len(w.Bytes)))...)
	}
}

// packetInfo4 is struct in_pktinfo of a datagram sent to ip.
func packetInfo4(ip IP) []byte {
	b := int32Bytes(loopIndex)
	b = append(b, ip[12:]...)
	return append(b, ip[12:]...)
}

// packetInfo6 is struct in6_pktinfo of a datagram sent to ip.
func packetInfo6(ip IP) []byte {
	return append(append([]byte(nil), ip[:]...), int32Bytes(loopIndex)...)
}
