// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package strace

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// memory is what is read of a guest.
type memory interface {
	// CopyIn copies guest memory to dst. Errors: EFAULT.
	CopyIn(addr uint64, dst []byte) abi.Errno
}

// call is one system call while it is made.
type call struct {
	name  string
	args  task.Args
	mem   memory
	words []string // how each argument is shown
	next  int      // the first that head left to tail
	text  string
	begun bool // text was written, without the end of its line

	ret   uint64
	errno abi.Errno
	done  bool // ret and errno hold
}

func newCall(mem memory, nr uint64, a task.Args) *call {
	c := &call{args: a, mem: mem}
	name, ok := abi.SyscallNames[int(min(nr, task.Calls))]
	if !ok {
		c.name, c.words = fmt.Sprintf("syscall_%#x", nr), unknown
		return c
	}
	c.name = name
	if c.words, ok = signatures()[name]; !ok {
		c.words = unknown
	}
	return c
}

// unknown shows the arguments of a call without a signature.
var unknown = []string{"hex", "hex", "hex", "hex", "hex", "hex"}

// head shows the name and the arguments up to the first that the call gives back.
func (c *call) head() string {
	var b strings.Builder
	b.WriteString(c.name + "(")
	for ; c.next < len(c.words); c.next++ {
		k := kinds()[c.words[c.next]]
		if k.out {
			break
		}
		if k.when != nil && !k.when(c) {
			c.next = len(c.words)
			break
		}
		if c.next > 0 {
			b.WriteString(", ")
		}
		b.WriteString(k.show(c, c.next))
	}
	return b.String()
}

// tail shows the other arguments and the result.
func (c *call) tail(ret uint64, errno abi.Errno) string {
	c.ret, c.errno, c.done = ret, errno, true
	var b strings.Builder
	for i := c.next; i < len(c.words); i++ {
		k := kinds()[c.words[i]]
		if k.when != nil && !k.when(c) {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if k.out && errno != 0 {
			b.WriteString(pointer(c.args[i])) // nothing was given back
		} else {
			b.WriteString(k.show(c, i))
		}
	}
	b.WriteString(") = ")
	switch errno {
	case abi.OK:
		b.WriteString(c.result())
	case abi.ENORETURN:
		if strings.HasPrefix(c.name, "execve") {
			b.WriteString("0")
		} else {
			b.WriteString("?")
		}
	case abi.ERESTARTSYS:
		b.WriteString("? ERESTARTSYS (To be restarted if SA_RESTART is set)")
	case abi.ERESTARTNOINTR:
		b.WriteString("? ERESTARTNOINTR (To be restarted)")
	case abi.ERESTARTNOHAND:
		b.WriteString("? ERESTARTNOHAND (To be restarted if no handler)")
	default:
		b.WriteString(errnoText(errno))
	}
	return b.String()
}

// result shows what a call that went well returned.
func (c *call) result() string {
	switch c.name {
	case "mmap", "mremap", "brk", "shmat":
		return fmt.Sprintf("%#x", c.ret)
	case "fcntl":
		if c.args[1] == 1 { // F_GETFD
			return flagText(c.ret, fdFlags)
		}
		if c.args[1] == 3 { // F_GETFL
			return openFlags(c.ret)
		}
	case "umask":
		return octal(c.ret)
	case "poll", "ppoll":
		return strconv.FormatInt(int64(c.ret), 10) + c.ready()
	}
	return strconv.FormatInt(int64(c.ret), 10)
}

// bytes reads n bytes of the guest, or nil.
func (c *call) bytes(addr uint64, n int) []byte {
	b := make([]byte, n)
	if addr == 0 || c.mem.CopyIn(addr, b) != 0 {
		return nil
	}
	return b
}

func (c *call) u32(addr uint64) (uint32, bool) {
	b := c.bytes(addr, 4)
	if b == nil {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b), true
}

// structure shows n bytes at an address by a function, or the address when they
// cannot be read.
func (c *call) structure(addr uint64, n int, show func(b []byte) string) string {
	if b := c.bytes(addr, n); b != nil {
		return show(b)
	}
	return pointer(addr)
}

// array shows elements of a size, as many as maxElements.
func (c *call) array(addr, count uint64, size int, show func(b []byte) string) string {
	if addr == 0 {
		return "NULL"
	}
	var parts []string
	for i := range min(count, maxElements) {
		b := c.bytes(addr+i*uint64(size), size)
		if b == nil {
			if i == 0 {
				return pointer(addr)
			}
			parts = append(parts, "??")
			break
		}
		parts = append(parts, show(b))
	}
	if count > maxElements {
		parts = append(parts, "...")
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// buffer shows n bytes as a string.
func (c *call) buffer(addr, n uint64) string {
	if n == 0 {
		return `""`
	}
	b := c.bytes(addr, int(min(n, maxString)))
	if b == nil {
		return pointer(addr)
	}
	s := quote(b)
	if n > maxString {
		s += "..."
	}
	return s
}

// str shows a zero-terminated string of at most limit bytes.
func (c *call) str(addr uint64, limit int) string {
	if addr == 0 {
		return "NULL"
	}
	var s []byte
	for len(s) < limit {
		// Never beyond the page: the next may not be there.
		b := c.bytes(addr, min(limit-len(s), int(4096-addr%4096), 256))
		if b == nil {
			if len(s) == 0 {
				return pointer(addr)
			}
			return quote(s) + "..."
		}
		for i, x := range b {
			if x == 0 {
				return quote(append(s, b[:i]...))
			}
		}
		s = append(s, b...)
		addr += uint64(len(b))
	}
	return quote(s) + "..."
}

// strs shows an array of strings that a zero ends, as of execve(2).
func (c *call) strs(addr uint64) string {
	if addr == 0 {
		return "NULL"
	}
	var parts []string
	for i := uint64(0); ; i++ {
		b := c.bytes(addr+8*i, 8)
		if b == nil {
			if i == 0 {
				return pointer(addr)
			}
			parts = append(parts, "??")
			break
		}
		p := binary.LittleEndian.Uint64(b)
		if p == 0 {
			break
		}
		if i == maxElements {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, c.str(p, maxString))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// quote shows bytes between quotation marks, as C does; every one in ASCII.
func quote(b []byte) string {
	var s strings.Builder
	s.WriteByte('"')
	for i, x := range b {
		switch x {
		case '"', '\\':
			s.WriteByte('\\')
			s.WriteByte(x)
		case '\n':
			s.WriteString(`\n`)
		case '\t':
			s.WriteString(`\t`)
		case '\r':
			s.WriteString(`\r`)
		case '\v':
			s.WriteString(`\v`)
		case '\f':
			s.WriteString(`\f`)
		default:
			switch {
			case x >= 0x20 && x < 0x7f:
				s.WriteByte(x)
			case i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '7':
				fmt.Fprintf(&s, `\%03o`, x)
			default:
				fmt.Fprintf(&s, `\%o`, x)
			}
		}
	}
	s.WriteByte('"')
	return s.String()
}

func pointer(v uint64) string {
	if v == 0 {
		return "NULL"
	}
	return fmt.Sprintf("%#x", v)
}

func octal(v uint64) string {
	if v &= 0xffffffff; v != 0 {
		return "0" + strconv.FormatUint(v, 8)
	}
	return "0"
}
