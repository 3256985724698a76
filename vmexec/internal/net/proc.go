// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// ProcFiles are the names of the files that Proc shows; see proc_pid_net(5).
var ProcFiles = []string{"dev", "if_inet6", "netlink", "raw", "raw6", "route", "tcp", "tcp6", "udp", "udp6", "unix"}

// Proc returns the text of a file of /proc/net.
func (st *Stack) Proc(name string) []byte {
	switch name {
	case "dev":
		return fmt.Appendf(nil, "Inter-|   Receive                                                |  Transmit\n"+
			" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"+
			"%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n", loopName, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	case "if_inet6":
		return fmt.Appendf(nil, "%x %02x %02x %02x %02x %8s\n", loopIP6[:], loopIndex, 128, 0x10, unix.IFA_F_PERMANENT, loopName)
	case "route":
		return fmt.Appendf(nil, "%-127s\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT")
	case "tcp", "raw", "udp":
		return st.inetTable(st.table(name), unix.AF_INET)
	case "tcp6", "raw6", "udp6":
		return st.inetTable(st.table(name[:3]), unix.AF_INET6)
	case "unix":
		return st.unixTable()
	case "netlink":
		return []byte("sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n")
	}
	return nil
}

func (st *Stack) table(name string) map[uint16][]*Socket {
	switch name {
	case "tcp":
		return st.tcp
	case "udp":
		return st.udp
	}
	return nil
}

func (st *Stack) inetTable(table map[uint16][]*Socket, domain int) []byte {
	var b bytes.Buffer
	b.WriteString("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n")
	n := 0
	for _, port := range slices.Sorted(maps.Keys(table)) {
		for _, s := range table[port] {
			if s.domain != domain {
				continue
			}
			state, queued := byte(tcpClose), s.in.n
			switch {
			case s.tcp():
				state = s.tcpState()
				if s.state == listening {
					queued = len(s.pending)
				}
			case s.remote.port != 0:
				state = tcpEstablished
			}
			fmt.Fprintf(&b, "%4d: %s %s %02X %08X:%08X 00:00000000 00000000 %5d %8d %d 1 0000000000000000\n",
				n, s.hex(s.local), s.hex(s.remote), state, 0, queued, 0, 0, s.Ino)
			n++
		}
	}
	return b.Bytes()
}

// hex is an endpoint as /proc/net shows it: words in the machine's order.
func (s *Socket) hex(e endpoint) string {
	var b []byte
	ip := e.ip[:]
	if s.domain == unix.AF_INET {
		ip = ip[12:]
	}
	for ; len(ip) > 0; ip = ip[4:] {
		b = fmt.Appendf(b, "%08X", binary.LittleEndian.Uint32(ip))
	}
	return fmt.Sprintf("%s:%04X", b, e.port)
}

// unixTable lists the sockets with a name.
func (st *Stack) unixTable() []byte {
	var list []*Socket
	for _, s := range st.abstract {
		list = append(list, s)
	}
	for _, s := range st.named {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Socket) int { return cmp.Compare(a.Ino, b.Ino) })
	var b bytes.Buffer
	b.WriteString("Num       RefCount Protocol Flags    Type St Inode Path\n")
	for _, s := range list {
		flags, state := 0, 1
		if s.state == listening {
			flags = 0x10000 // __SO_ACCEPTCON
		} else if s.state == connected {
			state = 3
		}
		fmt.Fprintf(&b, "%016x: %08X %08X %08X %04X %02X %5d %s\n", 0, 2, 0, flags, s.typ, state, s.Ino, s.LocalAddr())
	}
	return b.Bytes()
}
