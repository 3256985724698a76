// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// mempolicyCalls are the calls about the nodes of memory, of which there is one.
func mempolicyCalls() []Entry {
	const one = "one node of memory: policies are checked and kept, without effect"
	return []Entry{
		{Nr: unix.SYS_GET_MEMPOLICY, Name: "get_mempolicy", Fn: getMempolicy, Support: Full, Note: one},
		{Nr: unix.SYS_MBIND, Name: "mbind", Fn: mbind, Support: Partial, Note: "one node of memory: checked, and not kept"},
		{Nr: unix.SYS_SET_MEMPOLICY, Name: "set_mempolicy", Fn: setMempolicy, Support: Full, Note: one},
	}
}

// Modes and flags of set_mempolicy(2), get_mempolicy(2) and mbind(2).
const (
	mpolDefault    = 0
	mpolPreferred  = 1
	mpolBind       = 2
	mpolInterleave = 3
	mpolLocal      = 4

	mpolNode    = 1 << 0
	mpolAddr    = 1 << 1
	mpolAllowed = 1 << 2

	mbindFlags = 1<<0 | 1<<1 | 1<<2 // MPOL_MF_STRICT, MOVE, MOVE_ALL
	mbindAll   = 1 << 2

	// maxNodes bounds the bits of a set of nodes, as a page of them does.
	maxNodes = pageSize * 8
)

// nodes reads a set of n-1 nodes. Errors: EINVAL for a node that there is not, EFAULT.
func nodes(t *task.Thread, addr, n uint64) (uint64, abi.Errno) {
	n-- // so it is: the last bit does not count
	if n == 0 || n == ^uint64(0) || addr == 0 {
		return 0, abi.OK
	}
	if n > maxNodes {
		return 0, abi.EINVAL
	}
	b := make([]byte, (n+63)/64*8)
	if errno := t.CopyIn(addr, b); errno != 0 {
		return 0, errno
	}
	if rest := n % 64; rest != 0 { // bits beyond do not count
		last := b[len(b)-8:]
		binary.LittleEndian.PutUint64(last, binary.LittleEndian.Uint64(last)&(1<<rest-1))
	}
	for i, x := range b {
		if x&^1 != 0 || x != 0 && i > 0 {
			return 0, abi.EINVAL
		}
	}
	return uint64(b[0]), abi.OK
}

// policy reads a policy: a mode and its nodes. Errors: EINVAL, EFAULT.
func policy(t *task.Thread, mode int32, addr, n uint64) (uint64, abi.Errno) {
	set, errno := nodes(t, addr, n)
	if errno != 0 {
		return 0, errno
	}
	switch mode {
	case mpolDefault, mpolLocal:
		return 0, check(set == 0)
	case mpolPreferred:
		return set, abi.OK
	case mpolBind, mpolInterleave:
		return set, check(set != 0)
	}
	return 0, abi.EINVAL
}

func setMempolicy(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	mode := int32(a[0])
	set, errno := policy(t, mode, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	if mode == mpolPreferred && set == 0 {
		mode = mpolLocal
	}
	t.Attr.MemoryMode, t.Attr.MemoryNodes = mode, set
	return 0, abi.OK
}

// mbind is mbind(2). Errors: EINVAL, EFAULT for a hole in the range, EPERM for pages of
// others.
func mbind(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	start, n := a[0], (a[1]+pageSize-1)&^(pageSize-1)
	switch {
	case a[5]&^mbindFlags != 0, start%pageSize != 0, start+n < start:
		return 0, abi.EINVAL
	case a[5]&mbindAll != 0:
		return 0, abi.EPERM
	}
	if _, errno := policy(t, int32(a[2]), a[3], a[4]); errno != 0 {
		return 0, errno
	}
	if n != 0 && !t.P.MM.Covered(start, start+n) {
		return 0, abi.EFAULT
	}
	return 0, abi.OK
}

// getMempolicy is get_mempolicy(2): the caller's policy, that of an address, or the
// nodes that there are. Errors: EINVAL, EFAULT.
func getMempolicy(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	mode, set := t.Attr.MemoryMode, t.Attr.MemoryNodes
	flags := a[4]
	switch {
	case flags&^(mpolNode|mpolAddr|mpolAllowed) != 0, a[1] != 0 && a[2] < 1:
		return 0, abi.EINVAL
	case flags&mpolAllowed != 0:
		if flags&^mpolAllowed != 0 {
			return 0, abi.EINVAL
		}
		mode, set = 0, 1
	case flags&mpolAddr != 0:
		if at := a[3] &^ (pageSize - 1); a[3] >= userEnd || !t.P.MM.Covered(at, at+pageSize) {
			return 0, abi.EFAULT
		}
		if flags&mpolNode != 0 {
			mode = 0 // the number of the node
		}
	case a[3] != 0:
		return 0, abi.EINVAL
	case flags&mpolNode != 0:
		if mode != mpolInterleave {
			return 0, abi.EINVAL
		}
		mode = 0
	}
	if a[0] != 0 {
		if errno := t.CopyOutU32(a[0], uint32(mode)); errno != 0 {
			return 0, errno
		}
	}
	if a[1] == 0 {
		return 0, abi.OK
	}
	b := make([]byte, min((a[2]-1+63)/64*8, maxNodes/8))
	if len(b) > 0 {
		binary.LittleEndian.PutUint64(b, set)
	}
	return 0, t.CopyOut(a[1], b)
}
