// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"encoding/binary"
	"maps"
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// Sizes of buffers in bytes, as Linux has them by default: net.core.rmem_default and
// its like, and for a TCP connection what the send buffer of a loopback connection
// grows to.
const (
	bufDefault  = 212992
	bufMax      = 212992 // of SO_SNDBUF and SO_RCVBUF, which double it
	tcpSend     = 16384
	tcpSendMost = 2626560
	tcpReceive  = 131072
	minSndBuf   = 4608
	minRcvBuf   = 2304
)

// options is what setsockopt(2) sets.
type options struct {
	sndBuf, rcvBuf     int32
	sndFixed           bool // SO_SNDBUF was set
	rcvLowat           int32
	rcvTimeo, sndTimeo int64 // nanoseconds; 0: for ever
	linger             bool
	lingerTime         int32 // seconds
	values             map[option]int32
	congestion         string // "": the default
}

// option names an option.
type option struct{ level, name int }

func (o *options) init(s *Socket) {
	o.sndBuf, o.rcvBuf, o.rcvLowat = bufDefault, bufDefault, 1
	if s.tcp() {
		o.sndBuf, o.rcvBuf = tcpSend, tcpReceive
	}
}

func (o *options) clone() options {
	n := *o
	n.values = maps.Clone(o.values)
	return n
}

// established lets the send buffer of a connection grow.
func (o *options) established() {
	if !o.sndFixed {
		o.sndBuf = tcpSendMost
	}
}

// flag reports whether a boolean option is on.
func (s *Socket) flag(level, name int) bool { return s.opts.values[option{level, name}] != 0 }

// RecvTimeout and SendTimeout are SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds; -1 for
// no limit.
func (s *Socket) RecvTimeout() int64 { return limitOf(s.opts.rcvTimeo) }

// SendTimeout is what RecvTimeout is for sending.
func (s *Socket) SendTimeout() int64 { return limitOf(s.opts.sndTimeo) }

func limitOf(ns int64) int64 {
	if ns == 0 {
		return -1
	}
	return ns
}

// PassCred reports whether messages are received with the sender's credentials.
func (s *Socket) PassCred() bool { return s.unix() && s.flag(unix.SOL_SOCKET, unix.SO_PASSCRED) }

// value returns an option that is a number: what was set, or its default.
func (s *Socket) value(opt option) int32 {
	if v, ok := s.opts.values[opt]; ok {
		return v
	}
	return intOptions[opt].def
}

// Ancillary adds what the socket's options want to be told of a datagram of AF_INET or
// AF_INET6, in Linux's order: its destination, and of its header the hop limit and the
// class. See ip(7), ipv6(7).
func (s *Socket) Ancillary(w *ControlWriter, r *Received) {
	if !s.udp() {
		return
	}
	if s.domain == unix.AF_INET6 && s.flag(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO) {
		w.Add(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, packetInfo6(r.To))
	}
	if r.To.is4() { // on a socket of either family
		if s.flag(unix.IPPROTO_IP, unix.IP_PKTINFO) {
			w.Add(unix.IPPROTO_IP, unix.IP_PKTINFO, packetInfo4(r.To))
		}
		if s.flag(unix.IPPROTO_IP, unix.IP_RECVTTL) {
			w.Add(unix.IPPROTO_IP, unix.IP_TTL, int32Bytes(int32(r.Hops)))
		}
		if s.flag(unix.IPPROTO_IP, unix.IP_RECVTOS) {
			w.Add(unix.IPPROTO_IP, unix.IP_TOS, []byte{r.Class})
		}
		return
	}
	if s.flag(unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT) {
		w.Add(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, int32Bytes(int32(r.Hops)))
	}
	if s.flag(unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS) {
		w.Add(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int32Bytes(int32(r.Class)))
	}
}

// family restricts an option to sockets.
type family uint8

const (
	anySocket family = iota
	tcpOnly
	inetOnly
	inet6Only
	unixOnly
)

// intOption describes an option that is one number.
type intOption struct {
	of       family
	boolean  bool
	low, top int32 // of a number
	def      int32
	fixed    bool // cannot be set (ENOPROTOOPT)
}

const big = math.MaxInt32

// Options that golang.org/x/sys/unix does not have.
const (
	soBusyPoll       = 46
	soIncomingNAPI   = 56
	ipBindNoPort     = 24
	ipLocalPortRange = 51
	tcpNotSentLowat  = 25
	tcpThinLinear    = 16
	tcpThinDupack    = 17
)

// intOptions are kept and given back; those that mean something on a loopback
// network where nothing is lost and nobody fails are looked at elsewhere.
var intOptions = map[option]intOption{
	{unix.SOL_SOCKET, unix.SO_DEBUG}:     {boolean: true},
	{unix.SOL_SOCKET, unix.SO_REUSEADDR}: {boolean: true},
	{unix.SOL_SOCKET, unix.SO_REUSEPORT}: {boolean: true},
	{unix.SOL_SOCKET, unix.SO_DONTROUTE}: {boolean: true},
	{unix.SOL_SOCKET, unix.SO_BROADCAST}: {boolean: true},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE}: {boolean: true},
	{unix.SOL_SOCKET, unix.SO_OOBINLINE}: {boolean: true},
	{unix.SOL_SOCKET, unix.SO_NO_CHECK}:  {boolean: true},
	{unix.SOL_SOCKET, unix.SO_PASSCRED}:  {boolean: true, of: unixOnly},
	{unix.SOL_SOCKET, unix.SO_PRIORITY}:  {top: 6},
	{unix.SOL_SOCKET, unix.SO_RXQ_OVFL}:  {boolean: true},
	{unix.SOL_SOCKET, soBusyPoll}:        {top: 0},

	{unix.IPPROTO_TCP, unix.TCP_NODELAY}:          {of: tcpOnly, boolean: true},
	{unix.IPPROTO_TCP, unix.TCP_CORK}:             {of: tcpOnly, boolean: true},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}:         {of: tcpOnly, low: 1, top: 32767, def: 7200},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}:        {of: tcpOnly, low: 1, top: 32767, def: 75},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}:          {of: tcpOnly, low: 1, top: 127, def: 9},
	{unix.IPPROTO_TCP, unix.TCP_SYNCNT}:           {of: tcpOnly, low: 1, top: 127, def: 6},
	{unix.IPPROTO_TCP, unix.TCP_LINGER2}:          {of: tcpOnly, low: math.MinInt32, top: big, def: 60},
	{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT}:     {of: tcpOnly, top: big},
	{unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP}:     {of: tcpOnly, top: big},
	{unix.IPPROTO_TCP, unix.TCP_QUICKACK}:         {of: tcpOnly, boolean: true, def: 1},
	{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}:     {of: tcpOnly, top: big},
	{unix.IPPROTO_TCP, unix.TCP_MAXSEG}:           {of: tcpOnly, low: 88, top: 32767, def: 536},
	{unix.IPPROTO_TCP, tcpNotSentLowat}:           {of: tcpOnly, low: math.MinInt32, top: big, def: -1},
	{unix.IPPROTO_TCP, tcpThinLinear}:             {of: tcpOnly, boolean: true},
	{unix.IPPROTO_TCP, tcpThinDupack}:             {of: tcpOnly, boolean: true},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN}:         {of: tcpOnly, top: big},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT}: {of: tcpOnly, top: 0}, // there is none
	{unix.IPPROTO_TCP, unix.TCP_TIMESTAMP}:        {of: tcpOnly, fixed: true},

	{unix.IPPROTO_IP, unix.IP_TOS}:             {of: inetOnly, low: math.MinInt32, top: big},
	{unix.IPPROTO_IP, unix.IP_TTL}:             {of: inetOnly, low: 1, top: 255, def: 64},
	{unix.IPPROTO_IP, unix.IP_RECVERR}:         {of: inetOnly, boolean: true},
	{unix.IPPROTO_IP, unix.IP_PKTINFO}:         {of: inetOnly, boolean: true},
	{unix.IPPROTO_IP, unix.IP_RECVTTL}:         {of: inetOnly, boolean: true},
	{unix.IPPROTO_IP, unix.IP_RECVTOS}:         {of: inetOnly, boolean: true},
	{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}:    {of: inetOnly, top: 5, def: 1},
	{unix.IPPROTO_IP, unix.IP_FREEBIND}:        {of: inetOnly, boolean: true},
	{unix.IPPROTO_IP, ipBindNoPort}:            {of: inetOnly, boolean: true},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL}:   {of: inetOnly, top: 255, def: 1},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP}:  {of: inetOnly, boolean: true, def: 1},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_ALL}:   {of: inetOnly, boolean: true, def: 1},
	{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}:      {of: inet6Only, boolean: true},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVERR}:     {of: inet6Only, boolean: true},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO}: {of: inet6Only, boolean: true},
	{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:      {of: inet6Only, low: -1, top: 255},

	{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT}: {of: inet6Only, boolean: true},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS}:   {of: inet6Only, boolean: true},

	{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}:   {of: inet6Only, low: -1, top: 255, def: 64},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS}: {of: inet6Only, low: -1, top: 255, def: 1},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP}: {of: inet6Only, boolean: true, def: 1},
	{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER}:   {of: inet6Only, top: 5, def: 1},
}

// applies reports whether the socket has the option.
func (o *intOption) applies(s *Socket) bool {
	switch o.of {
	case tcpOnly:
		return s.tcp()
	case inetOnly:
		return s.inet()
	case inet6Only:
		return s.domain == unix.AF_INET6
	case unixOnly:
		return s.unix() || s.domain == unix.AF_NETLINK
	case anySocket:
	}
	return true
}

// MaxOption is the most bytes of an option's value that are looked at.
const MaxOption = 256

// SetOption sets an option, as setsockopt(2). Errors: ENOPROTOOPT for one that the
// socket does not have, EINVAL, EPERM, EDOM, EISCONN.
func (s *Socket) SetOption(level, name int, raw []byte) abi.Errno {
	if level == unix.SOL_SOCKET {
		if errno, ok := s.setGeneral(name, raw); ok {
			return errno
		}
	}
	if level == unix.IPPROTO_TCP && name == unix.TCP_CONGESTION && s.tcp() {
		return s.setCongestion(raw)
	}
	if level == unix.SOL_NETLINK && s.domain == unix.AF_NETLINK {
		return s.setNetlink(name, raw)
	}
	o, ok := intOptions[option{level, name}]
	switch {
	case !s.inet() && level != unix.SOL_SOCKET:
		return abi.EOPNOTSUPP
	case !ok || o.fixed:
		return abi.ENOPROTOOPT
	case !o.applies(s) && o.of == unixOnly:
		return abi.EOPNOTSUPP
	case !o.applies(s):
		return abi.ENOPROTOOPT
	}
	v, errno := number(level, raw)
	if errno != abi.OK {
		return errno
	}
	if o.boolean {
		v = min(max(v, -v), 1)
		if v < 0 { // the least number has no opposite
			v = 1
		}
	}
	return s.setNumber(option{level, name}, &o, v)
}

// number reads the value of an option. IP and IPv6 take a byte for a small one.
func number(level int, raw []byte) (int32, abi.Errno) {
	switch {
	case len(raw) >= 4:
		return int32(binary.LittleEndian.Uint32(raw)), abi.OK
	case level == unix.IPPROTO_IP && len(raw) >= 1:
		return int32(raw[0]), abi.OK
	}
	return 0, abi.EINVAL
}

func (s *Socket) setNumber(opt option, o *intOption, v int32) abi.Errno {
	switch opt {
	case option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}:
		if s.bound {
			return abi.EINVAL
		}
	case option{unix.SOL_SOCKET, unix.SO_DEBUG}:
		if v != 0 {
			return abi.EACCES
		}
	case option{unix.SOL_SOCKET, unix.SO_PRIORITY}:
		if v < 0 || v > o.top {
			return abi.EPERM
		}
	case option{unix.IPPROTO_IP, unix.IP_TTL}, option{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}, option{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS}, option{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL}:
		if v == -1 {
			v = o.def
		}
	case option{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:
		if v == -1 {
			v = 0
		}
		if s.stream() && v >= 0 {
			v &^= 3
		}
	case option{unix.IPPROTO_IP, unix.IP_TOS}:
		v &= 0xff
		if s.stream() { // the congestion bits are TCP's own
			v &^= 3
		}
	case option{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT}:
		v = deferred(v)
	case option{unix.IPPROTO_TCP, unix.TCP_LINGER2}:
		switch {
		case v < 0:
			v = -1
		case v > 120:
			v = 120
		case v == 0:
			v = o.def
		}
	}
	if !o.boolean && (v < o.low || v > o.top) && opt != (option{unix.IPPROTO_TCP, unix.TCP_LINGER2}) {
		return abi.EINVAL
	}
	if s.opts.values == nil {
		s.opts.values = map[option]int32{}
	}
	s.opts.values[opt] = v
	return abi.OK
}

// deferred is how Linux keeps TCP_DEFER_ACCEPT: as a number of retransmissions,
// which it gives back as the seconds that these take.
func deferred(seconds int32) int32 {
	if seconds <= 0 {
		return 0
	}
	n, wait, step := 1, int32(1), int32(1)
	for wait < seconds && n < 255 {
		n++
		step = min(step*2, 120)
		wait += step
	}
	return wait
}

// setGeneral serves those of SOL_SOCKET that are no plain numbers; ok is false for
// the others.
func (s *Socket) setGeneral(name int, raw []byte) (errno abi.Errno, ok bool) {
	switch name {
	case unix.SO_LINGER:
		if len(raw) < 8 {
			return abi.EINVAL, true
		}
		s.opts.linger = binary.LittleEndian.Uint32(raw) != 0
		if s.opts.linger {
			s.opts.lingerTime = int32(binary.LittleEndian.Uint32(raw[4:]))
		}
		return abi.OK, true
	case unix.SO_RCVTIMEO, unix.SO_SNDTIMEO:
		return s.setTimeout(name, raw), true
	case unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE, unix.SO_RCVLOWAT:
	case unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_ERROR, unix.SO_ACCEPTCONN, unix.SO_PEERCRED, unix.SO_SNDLOWAT:
		return abi.ENOPROTOOPT, true
	case unix.SO_MARK:
		return abi.EPERM, true
	default:
		return abi.OK, false
	}
	v, errno := number(unix.SOL_SOCKET, raw)
	if errno != abi.OK {
		return errno, true
	}
	switch name {
	case unix.SO_SNDBUF:
		v = min(max(v, 0), bufMax)
		if int32(binary.LittleEndian.Uint32(raw)) < 0 {
			v = bufMax
		}
		s.opts.sndBuf, s.opts.sndFixed = max(2*v, minSndBuf), true
		s.wake(fd.Out)
	case unix.SO_RCVBUF:
		if v < 0 {
			v = bufMax
		}
		s.opts.rcvBuf = max(2*min(v, bufMax), minRcvBuf)
	case unix.SO_RCVLOWAT:
		switch {
		case v < 0:
			v = big
		case v == 0:
			v = 1
		}
		s.opts.rcvLowat = min(v, s.opts.rcvBuf/2+s.opts.rcvBuf/4)
		s.wake(fd.In)
	default: // the forced ones
		return abi.EPERM, true
	}
	return abi.OK, true
}

func (s *Socket) setTimeout(name int, raw []byte) abi.Errno {
	if len(raw) < 16 {
		return abi.EINVAL
	}
	sec, usec := int64(binary.LittleEndian.Uint64(raw)), int64(binary.LittleEndian.Uint64(raw[8:]))
	if usec < 0 || usec >= 1_000_000 {
		return abi.EDOM
	}
	ns := int64(0)
	switch {
	case sec < 0:
		ns = 1 // over at once
	case sec < math.MaxInt64/1_000_000_000:
		ns = sec*1_000_000_000 + usec*1000
	}
	if name == unix.SO_RCVTIMEO {
		s.opts.rcvTimeo = ns
	} else {
		s.opts.sndTimeo = ns
	}
	return abi.OK
}

// Congestion control algorithms by name; on a loopback there is nothing to control.
var congestions = map[string]bool{"reno": true, "cubic": true}

const defaultCongestion = "cubic"

func (s *Socket) setCongestion(raw []byte) abi.Errno {
	if len(raw) == 0 {
		return abi.EINVAL
	}
	name := raw[:min(len(raw), 15)]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	if !congestions[string(name)] {
		return abi.ENOENT
	}
	s.opts.congestion = string(name)
	return abi.OK
}

// GetOption returns the value of an option, as getsockopt(2). Errors: ENOPROTOOPT,
// EOPNOTSUPP.
func (s *Socket) GetOption(level, name int) ([]byte, abi.Errno) {
	if level == unix.SOL_SOCKET {
		if b := s.general(name); b != nil {
			return b, abi.OK
		}
	}
	switch {
	case level == unix.SOL_NETLINK && s.domain == unix.AF_NETLINK:
		return s.getNetlink(name)
	case !s.hasLevel(level):
		return nil, abi.EOPNOTSUPP
	case level == unix.IPPROTO_TCP && s.tcp():
		switch name {
		case unix.TCP_INFO:
			return s.info(), abi.OK
		case unix.TCP_CONGESTION:
			var b [16]byte
			copy(b[:], defaultCongestion)
			if s.opts.congestion != "" {
				b = [16]byte{}
				copy(b[:], s.opts.congestion)
			}
			return b[:], abi.OK
		}
	case level == unix.IPPROTO_IP && name == unix.IP_MTU && s.inet(), level == unix.IPPROTO_IPV6 && name == unix.IPV6_MTU && s.domain == unix.AF_INET6:
		if s.remote.port == 0 {
			return nil, abi.ENOTCONN
		}
		return int32Bytes(mtu), abi.OK
	}
	opt := option{level, name}
	o, ok := intOptions[opt]
	if !ok || !o.applies(s) && o.of != unixOnly {
		return nil, abi.ENOPROTOOPT
	}
	v, set := s.opts.values[opt]
	if !set {
		v = o.def
		if opt == (option{unix.IPPROTO_TCP, unix.TCP_MAXSEG}) && s.state == connected {
			v = segment
		}
	}
	return int32Bytes(v), abi.OK
}

// hasLevel reports whether the socket has options of a level at all.
func (s *Socket) hasLevel(level int) bool {
	switch level {
	case unix.SOL_SOCKET:
		return true
	case unix.IPPROTO_IP:
		return s.inet()
	case unix.IPPROTO_IPV6:
		return s.domain == unix.AF_INET6
	case unix.IPPROTO_TCP:
		return s.tcp()
	case unix.IPPROTO_UDP:
		return s.udp()
	}
	return s.domain == unix.AF_INET6 // which calls it an unknown option
}

// Sizes on the loopback interface in bytes.
const (
	mtu     = 65536
	segment = 32741 // as Linux has it, where half a window is the most
)

func int32Bytes(v int32) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

func boolBytes(v bool) []byte {
	if v {
		return int32Bytes(1)
	}
	return int32Bytes(0)
}

// general returns those of SOL_SOCKET that are no plain numbers; nil for the others.
func (s *Socket) general(name int) []byte {
	switch name {
	case unix.SO_TYPE:
		return int32Bytes(int32(s.typ))
	case unix.SO_DOMAIN:
		return int32Bytes(int32(s.domain))
	case unix.SO_PROTOCOL:
		return int32Bytes(int32(s.proto))
	case unix.SO_ERROR:
		return int32Bytes(int32(s.takeErr()))
	case unix.SO_ACCEPTCONN:
		return boolBytes(s.state == listening)
	case unix.SO_SNDBUF:
		return int32Bytes(s.opts.sndBuf)
	case unix.SO_RCVBUF:
		return int32Bytes(s.opts.rcvBuf)
	case unix.SO_RCVLOWAT:
		return int32Bytes(s.opts.rcvLowat)
	case unix.SO_SNDLOWAT:
		return int32Bytes(1)
	case unix.SO_MARK:
		return int32Bytes(0)
	case unix.SO_LINGER:
		return append(boolBytes(s.opts.linger), int32Bytes(s.opts.lingerTime)...)
	case unix.SO_RCVTIMEO:
		return timevalBytes(s.opts.rcvTimeo)
	case unix.SO_SNDTIMEO:
		return timevalBytes(s.opts.sndTimeo)
	case unix.SO_PEERCRED:
		c := s.peerCreds
		if !s.unix() || c == (Cred{}) {
			c = Cred{UID: math.MaxUint32, GID: math.MaxUint32}
		}
		return AppendCred(nil, c)
	}
	return nil
}

func timevalBytes(ns int64) []byte { return abi.AppendTimeval(nil, ns) }

// sizeofInfo is the size of struct tcp_info up to tcpi_total_retrans, which Linux has
// had since 2.6.
const sizeofInfo = 104

// info is struct tcp_info: the state, and what is constant on a loopback.
func (s *Socket) info() []byte {
	b := make([]byte, sizeofInfo)
	b[0] = s.tcpState()
	le := binary.LittleEndian
	le.PutUint32(b[8:], 200_000) // tcpi_rto, µs
	le.PutUint32(b[16:], segment)
	le.PutUint32(b[20:], 536)
	le.PutUint32(b[60:], mtu) // tcpi_pmtu
	le.PutUint32(b[68:], 10)  // tcpi_rtt, µs
	le.PutUint32(b[72:], 5)
	le.PutUint32(b[76:], math.MaxInt32) // tcpi_snd_ssthresh
	le.PutUint32(b[80:], 10)
	le.PutUint32(b[84:], segment)
	le.PutUint32(b[88:], 3)
	if s.state == listening {
		le.PutUint32(b[24:], uint32(len(s.pending))) // tcpi_unacked
		le.PutUint32(b[28:], uint32(s.backlog))      // tcpi_sacked
	}
	return b
}

// TCP states; see include/net/tcp_states.h of Linux.
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpFinWait2    = 5
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpListen      = 10
)

func (s *Socket) tcpState() byte {
	switch s.state {
	case listening:
		return tcpListen
	case connecting:
		return tcpSynSent
	case connected:
		switch {
		case s.finished:
			return tcpCloseWait
		case s.ended:
			return tcpFinWait2
		}
		return tcpEstablished
	case idle, closed:
	}
	return tcpClose
}
