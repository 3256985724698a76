// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package strace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// kind shows an argument.
type kind struct {
	show func(c *call, i int) string
	// out: it is shown after the call, which gave it back.
	out bool
	// when tells whether the call has the argument at all; nil: always.
	when func(c *call) bool
}

var le = binary.LittleEndian

// The constructors of kinds.

// number shows a value by itself.
func number(show func(v uint64) string) kind {
	return kind{show: func(c *call, i int) string { return show(c.args[i]) }}
}

// set shows a 32-bit set of flags, value one of several values.
func set(names []flag) kind {
	return number(func(v uint64) string { return flagText(v&0xffffffff, names) })
}

func value(names []flag) kind {
	return number(func(v uint64) string { return valueText(v&0xffffffff, names) })
}

// in shows a structure that the program gives, out one that it gets.
func in(n int, show func(b []byte) string) kind {
	return kind{show: func(c *call, i int) string { return c.structure(c.args[i], n, show) }}
}

func out(n int, show func(b []byte) string) kind {
	k := in(n, show)
	k.out = true
	return k
}

func decimal(v uint64) string { return strconv.FormatInt(int64(int32(uint32(v))), 10) }
func hex(v uint64) string     { return fmt.Sprintf("%#x", v) }

// createsFile: open has a mode when it may make a file; its flags are argument i.
func createsFile(i int) func(c *call) bool {
	return func(c *call) bool {
		f := c.args[i]
		return f&unix.O_CREAT != 0 || f&unix.O_TMPFILE == unix.O_TMPFILE
	}
}

var (
	kindsOnce   sync.Once
	kindsByName map[string]kind
)

// kinds returns the kinds by name. They are made when somebody looks on, which most
// processes never need, and not with the variable because what shows a call looks into
// it.
func kinds() map[string]kind {
	kindsOnce.Do(func() { kindsByName = makeKinds() })
	return kindsByName
}

func makeKinds() map[string]kind {
	return map[string]kind{
		"int":  number(decimal),
		"long": number(func(v uint64) string { return strconv.FormatInt(int64(v), 10) }),
		"size": number(func(v uint64) string { return strconv.FormatUint(v, 10) }),
		"hex":  number(hex),
		"ptr":  number(pointer),
		"mode": number(octal),
		"dirfd": number(func(v uint64) string {
			if int32(uint32(v)) == unix.AT_FDCWD {
				return "AT_FDCWD"
			}
			return decimal(v)
		}),
		"sig":     number(signalName),
		"path":    {show: func(c *call, i int) string { return c.str(c.args[i], maxPath) }},
		"str":     {show: func(c *call, i int) string { return c.str(c.args[i], maxString) }},
		"argv":    {show: func(c *call, i int) string { return c.strs(c.args[i]) }},
		"buf":     {show: func(c *call, i int) string { return c.buffer(c.args[i], c.args[i+1]) }},
		"outbuf":  {out: true, show: func(c *call, i int) string { return c.buffer(c.args[i], c.ret) }},
		"outpath": {out: true, show: func(c *call, i int) string { return c.buffer(c.args[i], max(c.ret, 1)-1) }}, // getcwd counts the zero
		"iov":     {show: func(c *call, i int) string { return c.iovec(c.args[i], c.args[i+1], ^uint64(0)) }},
		"outiov":  {out: true, show: func(c *call, i int) string { return c.iovec(c.args[i], c.args[i+1], c.ret) }},

		"oflags":      number(openFlags),
		"omode1":      {show: showMode, when: createsFile(1)},
		"omode2":      {show: showMode, when: createsFile(2)},
		"openhow":     in(24, openHow),
		"prot":        set(memoryProt),
		"mapflags":    set(mapFlags),
		"mremapflags": set(mremapFlags),
		"mremapaddr":  {show: func(c *call, i int) string { return pointer(c.args[i]) }, when: func(c *call) bool { return c.args[3]&(unix.MREMAP_FIXED|unix.MREMAP_DONTUNMAP) != 0 }},
		"msyncflags":  set(msyncFlags),
		"advice":      value(advice),
		"atflags":     set(atFlags),
		"accessflags": set(accessAtFlags),
		"access":      set(accessModes),
		"rename":      set(renameFlags),
		"statxmask":   set(statxMask),
		"falloc":      set(fallocModes),
		"flock":       set(flockOps),
		"whence":      value(whences),
		"pipeflags":   set(pipeFlags),
		"epollflags":  set(epollFlags),
		"epollop":     value(epollOps),
		"eventfd":     set(eventfdFlags),
		"timerfd":     set(timerfdFlags),
		"timerflags":  set(timerFlags),
		"memfd":       set(memfdFlags),
		"grnd":        set(randomFlags),
		"closerange":  set(closeRanges),
		"splice":      set(spliceFlags),
		"wait":        set(waitOptions),
		"fcntl":       value(fcntlCmds),
		"fcntlarg":    {show: fcntlArg, when: fcntlHasArg},
		"ioctl":       value(ioctls),
		"prctl":       value(prctls),
		"prctlarg":    {show: prctlArg},
		"arch":        value(archCodes),
		"cloneflags":  number(cloneText),
		"clone3":      {show: clone3},
		"futexop":     number(futexOp),
		"futexarg":    {show: futexTimeout, when: futexHas("timeout")},
		"futexaddr":   {show: func(c *call, i int) string { return pointer(c.args[i]) }, when: futexHas("addr")},
		"futexval3":   {show: func(c *call, i int) string { return hex(c.args[i] & 0xffffffff) }, when: futexHas("val3")},

		"sighow":     value(sigHows),
		"sigset":     in(8, sigsetText),
		"outsigset":  out(8, sigsetText),
		"action":     in(32, action),
		"outaction":  out(32, action),
		"siginfo":    in(24, siginfo),
		"outsiginfo": out(24, siginfo),
		"stack":      in(24, stack),
		"outstack":   out(24, stack),

		"clock":      number(func(v uint64) string { return clockName(v) }),
		"ts":         in(16, timespec),
		"outts":      out(16, timespec),
		"tv":         in(16, timeval),
		"outtv":      out(16, timeval),
		"tss":        {show: func(c *call, i int) string { return c.array(c.args[i], 2, 16, timespec) }},
		"tvs":        {show: func(c *call, i int) string { return c.array(c.args[i], 2, 16, timeval) }},
		"itimer":     value(itimers),
		"itval":      in(32, interval("it_interval=", "it_value=", timeval)),
		"outitval":   out(32, interval("it_interval=", "it_value=", timeval)),
		"itspec":     in(32, interval("it_interval=", "it_value=", timespec)),
		"outitspec":  out(32, interval("it_interval=", "it_value=", timespec)),
		"sigevent":   in(16, sigevent),
		"outint":     out(4, func(b []byte) string { return "[" + decimal(uint64(le.Uint32(b))) + "]" }),
		"outlong":    out(8, func(b []byte) string { return "[" + strconv.FormatUint(le.Uint64(b), 10) + "]" }),
		"outptr":     out(8, func(b []byte) string { return "[" + hex(le.Uint64(b)) + "]" }),
		"pair":       out(8, func(b []byte) string { return fmt.Sprintf("[%d, %d]", int32(le.Uint32(b)), int32(le.Uint32(b[4:]))) }),
		"offset":     in(8, func(b []byte) string { return "[" + strconv.FormatInt(int64(le.Uint64(b)), 10) + "]" }),
		"rlimit":     value(rlimits),
		"rlim":       in(16, rlimit),
		"outrlim":    out(16, rlimit),
		"who":        number(func(v uint64) string { return valueText(v&0xffffffff, rusageWho) }),
		"rusage":     out(16*2, interval("ru_utime=", "ru_stime=", timeval)),
		"wstatus":    out(4, waitStatus),
		"idtype":     value(idTypes),
		"policy":     value(policies),
		"schedparam": in(4, func(b []byte) string { return "[" + decimal(uint64(le.Uint32(b))) + "]" }),
		"membarrier": value(membarriers),

		"stat":   out(144, stat),
		"statx":  out(256, statx),
		"statfs": out(64, statfs),
		"dents":  {out: true, show: func(c *call, i int) string { return pointer(c.args[i]) + dirEntries(c, i) }},
		"uname": out(3*65, func(b []byte) string {
			return fmt.Sprintf("{sysname=%s, nodename=%s, release=%s, ...}", cString(b[:65]), cString(b[65:130]), cString(b[130:]))
		}),
		"sysinfo": out(48, func(b []byte) string {
			return fmt.Sprintf("{uptime=%d, totalram=%d, freeram=%d, ...}", le.Uint64(b), le.Uint64(b[32:]), le.Uint64(b[40:]))
		}),

		"pollfds":  {show: pollFDs},
		"epevent":  in(12, epollEvent),
		"epevents": {out: true, show: func(c *call, i int) string { return c.array(c.args[i], c.ret, 12, epollEvent) }},
		"fdset":    {show: fdSet},

		"family":   value(families),
		"socktype": number(socketType),
		"acceptfl": set(socketFlags),
		"protocol": value(protocols),
		"shutdown": value(shutdowns),
		"level":    value(levels),
		"sockopt":  {show: socketOption},
		"msgflags": set(msgFlags),
		"optval":   {show: func(c *call, i int) string { return c.option(c.args[i], c.args[i+1]) }},
		"outoptval": {out: true, show: func(c *call, i int) string {
			n, _ := c.u32(c.args[i+1])
			return c.option(c.args[i], uint64(n))
		}},
		"sockaddr": {show: func(c *call, i int) string { return c.address(c.args[i], c.args[i+1]) }},
		"outsockaddr": {out: true, show: func(c *call, i int) string {
			n, _ := c.u32(c.args[i+1])
			return c.address(c.args[i], uint64(n))
		}},
		"msghdr":     {show: func(c *call, i int) string { return c.message(c.args[i], ^uint64(0)) }},
		"outmsghdr":  {out: true, show: func(c *call, i int) string { return c.message(c.args[i], c.ret) }},
		"inotify":    set(inotifyMask),
		"inotifyfl":  set(pipeFlags),
		"signalfdfl": set(pipeFlags),
	}
}

func showMode(c *call, i int) string { return octal(c.args[i]) }

func clockName(v uint64) string {
	if int32(uint32(v)) < 0 {
		return decimal(v)
	}
	return valueText(v&0xffffffff, clocks)
}

// The structures; each gets exactly the bytes that its kind asks for.

func timespec(b []byte) string {
	return fmt.Sprintf("{tv_sec=%d, tv_nsec=%d}", int64(le.Uint64(b)), int64(le.Uint64(b[8:])))
}

func timeval(b []byte) string {
	return fmt.Sprintf("{tv_sec=%d, tv_usec=%d}", int64(le.Uint64(b)), int64(le.Uint64(b[8:])))
}

func interval(first, second string, show func([]byte) string) func([]byte) string {
	return func(b []byte) string { return "{" + first + show(b[:16]) + ", " + second + show(b[16:]) + "}" }
}

func openHow(b []byte) string {
	return fmt.Sprintf("{flags=%s, mode=%s, resolve=%#x}", openFlags(le.Uint64(b)), octal(le.Uint64(b[8:])), le.Uint64(b[16:]))
}

func sigsetText(b []byte) string { return signalSet(le.Uint64(b)) }

func action(b []byte) string {
	handler := hex(le.Uint64(b))
	switch le.Uint64(b) {
	case 0:
		handler = "SIG_DFL"
	case 1:
		handler = "SIG_IGN"
	}
	return fmt.Sprintf("{sa_handler=%s, sa_mask=%s, sa_flags=%s}", handler, signalSet(le.Uint64(b[24:])), flagText(le.Uint64(b[8:]), saFlags))
}

func siginfo(b []byte) string {
	return fmt.Sprintf("{si_signo=%s, si_code=%s, si_pid=%d, si_uid=%d}", signalName(uint64(le.Uint32(b))), codeName(int32(le.Uint32(b[8:]))), int32(le.Uint32(b[16:])), le.Uint32(b[20:]))
}

func stack(b []byte) string {
	return fmt.Sprintf("{ss_sp=%s, ss_flags=%s, ss_size=%d}", pointer(le.Uint64(b)), flagText(uint64(le.Uint32(b[8:])), ssFlags), le.Uint64(b[16:]))
}

func sigevent(b []byte) string {
	return fmt.Sprintf("{sigev_value=%#x, sigev_signo=%s, sigev_notify=%d}", le.Uint64(b), signalName(uint64(le.Uint32(b[8:]))), int32(le.Uint32(b[12:])))
}

func rlimit(b []byte) string {
	text := func(v uint64) string {
		if v == unix.RLIM_INFINITY {
			return "RLIM64_INFINITY"
		}
		return strconv.FormatUint(v, 10)
	}
	return "{rlim_cur=" + text(le.Uint64(b)) + ", rlim_max=" + text(le.Uint64(b[8:])) + "}"
}

func waitStatus(b []byte) string {
	s := unix.WaitStatus(le.Uint32(b))
	switch {
	case s.Exited():
		return fmt.Sprintf("[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", s.ExitStatus())
	case s.Signaled():
		return fmt.Sprintf("[{WIFSIGNALED(s) && WTERMSIG(s) == %s}]", signalName(uint64(s.Signal())))
	case s.Stopped():
		return fmt.Sprintf("[{WIFSTOPPED(s) && WSTOPSIG(s) == %s}]", signalName(uint64(s.StopSignal())))
	}
	return fmt.Sprintf("[%#x]", uint32(s))
}

// fileMode shows st_mode.
func fileMode(m uint32) string {
	types := []flag{{unix.S_IFREG, "S_IFREG"}, {unix.S_IFDIR, "S_IFDIR"}, {unix.S_IFLNK, "S_IFLNK"}, {unix.S_IFIFO, "S_IFIFO"}, {unix.S_IFSOCK, "S_IFSOCK"}, {unix.S_IFCHR, "S_IFCHR"}, {unix.S_IFBLK, "S_IFBLK"}}
	return valueText(uint64(m&unix.S_IFMT), types) + "|" + octal(uint64(m&^unix.S_IFMT))
}

func stat(b []byte) string {
	return fmt.Sprintf("{st_mode=%s, st_size=%d, ...}", fileMode(le.Uint32(b[24:])), int64(le.Uint64(b[48:])))
}

func statx(b []byte) string {
	return fmt.Sprintf("{stx_mask=%s, stx_mode=%s, stx_size=%d, ...}", flagText(uint64(le.Uint32(b)), statxMask), fileMode(uint32(le.Uint16(b[28:]))), le.Uint64(b[40:]))
}

func statfs(b []byte) string {
	return fmt.Sprintf("{f_type=%#x, f_bsize=%d, f_blocks=%d, f_bfree=%d, ...}", le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]))
}

// cString shows the bytes before the first zero.
func cString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return quote([]byte(s))
}

// dirEntries counts what getdents64 gave back.
func dirEntries(c *call, i int) string {
	b := c.bytes(c.args[i], int(min(c.ret, 1<<16)))
	n := 0
	for len(b) >= 19 {
		size := int(le.Uint16(b[16:]))
		if size < 19 || size > len(b) {
			return ""
		}
		n, b = n+1, b[size:]
	}
	return fmt.Sprintf(" /* %d entries */", n)
}

// Calls whose arguments depend on each other.

func fcntlHasArg(c *call) bool {
	switch c.args[1] {
	case unix.F_GETFD, unix.F_GETFL, unix.F_GETOWN, unix.F_GETPIPE_SZ, unix.F_GET_SEALS, unix.F_GETSIG, unix.F_GETLEASE:
		return false
	}
	return true
}

func fcntlArg(c *call, i int) string {
	v := c.args[i]
	switch c.args[1] {
	case unix.F_SETFD:
		return flagText(v, fdFlags)
	case unix.F_SETFL:
		return openFlags(v)
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return c.structure(v, 32, func(b []byte) string {
			types := []flag{{0, "F_RDLCK"}, {1, "F_WRLCK"}, {2, "F_UNLCK"}}
			return fmt.Sprintf("{l_type=%s, l_whence=%s, l_start=%d, l_len=%d}", valueText(uint64(le.Uint16(b)), types),
				valueText(uint64(le.Uint16(b[2:])), whences), int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:])))
		})
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_SETPIPE_SZ:
		return decimal(v)
	}
	return hex(v)
}

func prctlArg(c *call, i int) string {
	switch c.args[0] {
	case unix.PR_SET_NAME:
		return c.str(c.args[i], 16)
	case unix.PR_SET_PDEATHSIG:
		return signalName(c.args[i])
	}
	return hex(c.args[i])
}

func cloneText(v uint64) string {
	text := flagText(v&^0xff, cloneFlags)
	if sig := v & 0xff; sig != 0 {
		text += "|" + signalName(sig)
	}
	return text
}

func clone3(c *call, i int) string {
	return c.structure(c.args[i], 64, func(b []byte) string {
		return fmt.Sprintf("{flags=%s, exit_signal=%s, stack=%s, stack_size=%#x, ...}", flagText(le.Uint64(b), cloneFlags),
			signalName(le.Uint64(b[32:])), pointer(le.Uint64(b[40:])), le.Uint64(b[48:]))
	})
}

const (
	futexPrivate  = 128
	futexRealtime = 256
)

func futexOp(v uint64) string {
	text := valueText(v&0x7f, futexOps)
	if v&futexPrivate != 0 {
		text += "_PRIVATE"
	}
	if v&futexRealtime != 0 {
		text += "|FUTEX_CLOCK_REALTIME"
	}
	return text
}

// futexHas tells which arguments an operation has; futex(2).
func futexHas(what string) func(c *call) bool {
	return func(c *call) bool {
		switch c.args[1] & 0x7f {
		case 0, 6, 13: // WAIT, LOCK_PI, LOCK_PI2
			return what == "timeout"
		case 1, 2, 7, 8: // WAKE, FD, UNLOCK_PI, TRYLOCK_PI
			return false
		case 3: // REQUEUE
			return what != "val3"
		}
		return true
	}
}

func futexTimeout(c *call, i int) string {
	switch c.args[1] & 0x7f {
	case 3, 4, 5, 12: // a second count
		return decimal(c.args[i])
	}
	return c.structure(c.args[i], 16, timespec)
}

func pollFDs(c *call, i int) string {
	return c.array(c.args[i], c.args[i+1], 8, func(b []byte) string {
		return fmt.Sprintf("{fd=%d, events=%s}", int32(le.Uint32(b)), flagText(uint64(le.Uint16(b[4:])), pollEvents))
	})
}

// ready shows which descriptors poll found.
func (c *call) ready() string {
	var parts []string
	for i := range min(c.args[1], maxElements) {
		b := c.bytes(c.args[0]+8*i, 8)
		if b == nil {
			break
		}
		if got := le.Uint16(b[6:]); got != 0 {
			parts = append(parts, fmt.Sprintf("{fd=%d, revents=%s}", int32(le.Uint32(b)), flagText(uint64(got), pollEvents)))
		}
	}
	if c.ret == 0 {
		return " (Timeout)"
	}
	return " ([" + strings.Join(parts, ", ") + "])"
}

func epollEvent(b []byte) string {
	return fmt.Sprintf("{events=%s, data=%#x}", flagText(uint64(le.Uint32(b)), epollEvents), le.Uint64(b[4:]))
}

// fdSet shows a set of select(2).
func fdSet(c *call, i int) string {
	n := min(int32(uint32(c.args[0])), unix.FD_SETSIZE)
	if n <= 0 || c.args[i] == 0 {
		return pointer(c.args[i])
	}
	b := c.bytes(c.args[i], (int(n)+63)/64*8)
	if b == nil {
		return pointer(c.args[i])
	}
	var parts []string
	for fd := range int(n) {
		if b[fd/8]&(1<<(fd%8)) == 0 {
			continue
		}
		if len(parts) == maxElements {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, strconv.Itoa(fd))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func (c *call) iovec(addr, count, most uint64) string {
	return c.array(addr, count, 16, func(b []byte) string {
		n := le.Uint64(b[8:])
		shown := min(n, most)
		most -= shown
		return fmt.Sprintf("{iov_base=%s, iov_len=%d}", c.buffer(le.Uint64(b), shown), n)
	})
}

func socketType(v uint64) string {
	text := valueText(v&0xf, socketTypes)
	if rest := v & 0xffffffff &^ 0xf; rest != 0 {
		text += "|" + flagText(rest, socketFlags)
	}
	return text
}

func socketOption(c *call, i int) string {
	switch c.args[i-1] {
	case unix.SOL_SOCKET:
		return valueText(c.args[i]&0xffffffff, sockOptions)
	case unix.IPPROTO_TCP:
		return valueText(c.args[i]&0xffffffff, tcpOptions)
	case unix.IPPROTO_IPV6:
		return valueText(c.args[i]&0xffffffff, []flag{{unix.IPV6_V6ONLY, "IPV6_V6ONLY"}})
	}
	return decimal(c.args[i])
}

func (c *call) option(addr, n uint64) string {
	if n == 4 {
		if v, ok := c.u32(addr); ok {
			return "[" + decimal(uint64(v)) + "]"
		}
	}
	return c.buffer(addr, n)
}

// address shows a struct sockaddr of n bytes.
func (c *call) address(addr, n uint64) string {
	if n < 2 || addr == 0 {
		return pointer(addr)
	}
	b := c.bytes(addr, int(min(n, 128)))
	if b == nil {
		return pointer(addr)
	}
	family := le.Uint16(b)
	head := "{sa_family=" + valueText(uint64(family), families)
	switch {
	case family == unix.AF_UNIX:
		name := b[2:]
		if len(name) > 0 && name[0] == 0 {
			return head + ", sun_path=@" + quote(name[1:]) + "}"
		}
		return head + ", sun_path=" + cString(name) + "}"
	case family == unix.AF_INET && len(b) >= 8:
		ip := netip.AddrFrom4([4]byte(b[4:8]))
		return fmt.Sprintf("%s, sin_port=htons(%d), sin_addr=inet_addr(%q)}", head, binary.BigEndian.Uint16(b[2:]), ip)
	case family == unix.AF_INET6 && len(b) >= 24:
		ip := netip.AddrFrom16([16]byte(b[8:24]))
		return fmt.Sprintf("%s, sin6_port=htons(%d), sin6_addr=%q}", head, binary.BigEndian.Uint16(b[2:]), ip)
	}
	return head + ", sa_data=" + quote(b[2:]) + "}"
}

// message shows a struct msghdr with at most so many bytes of data.
func (c *call) message(addr, most uint64) string {
	return c.structure(addr, 56, func(b []byte) string {
		return fmt.Sprintf("{msg_name=%s, msg_iov=%s, msg_iovlen=%d, msg_controllen=%d, msg_flags=%s}",
			c.address(le.Uint64(b), uint64(le.Uint32(b[8:]))), c.iovec(le.Uint64(b[16:]), le.Uint64(b[24:]), most), le.Uint64(b[24:]),
			le.Uint64(b[40:]), flagText(uint64(le.Uint32(b[48:])), msgFlags))
	})
}
