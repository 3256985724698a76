// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Memory is a Lower made of entries that the monitor adds. Adding must be over
// before the first FS uses it; then it may be shared.
type Memory struct {
	root *memNode
	last uint64 // last inode number
	time int64
}

type memNode struct {
	ino      uint64
	mode     uint32
	children map[string]*memNode
	data     io.ReaderAt
	size     int64
	target   string
}

// NewMemory returns a root with nothing in it. All of its files bear the time
// given, in ns since 1970.
func NewMemory(time int64) *Memory {
	return &Memory{root: &memNode{ino: 1, mode: unix.S_IFDIR | 0o755, children: map[string]*memNode{}}, last: 1, time: time}
}

// AddFile adds a regular file. The path is absolute or relative to the root;
// missing directories are made with mode 0755. The reader must serve size bytes
// for as long as any FS uses the root, and be safe for concurrent use.
func (m *Memory) AddFile(path string, mode uint32, data io.ReaderAt, size int64) error {
	if size < 0 {
		return fmt.Errorf("vfs: add %s: size %d is negative", path, size)
	}
	return m.add(path, &memNode{mode: unix.S_IFREG | mode&permMask, data: data, size: size})
}

// AddBytes adds a regular file with the given contents.
func (m *Memory) AddBytes(path string, mode uint32, data []byte) error {
	return m.AddFile(path, mode, bytes.NewReader(data), int64(len(data)))
}

// AddDir adds a directory.
func (m *Memory) AddDir(path string, mode uint32) error {
	return m.add(path, &memNode{mode: unix.S_IFDIR | mode&permMask, children: map[string]*memNode{}})
}

// AddSymlink adds a symbolic link.
func (m *Memory) AddSymlink(path, target string) error {
	if target == "" || len(target) >= PathMax {
		return fmt.Errorf("vfs: add %s: a symbolic link's target has 1 to %d bytes, not %d", path, PathMax-1, len(target))
	}
	return m.add(path, &memNode{mode: unix.S_IFLNK | 0o777, target: target})
}

func (m *Memory) add(path string, n *memNode) error {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(parts) == 0 || len(path) >= PathMax {
		return fmt.Errorf("vfs: add %q: not a path below the root", path)
	}
	cur := m.root
	for i, name := range parts {
		if !validName(name) {
			return fmt.Errorf("vfs: add %q: component %q is not a file name", path, name)
		}
		if cur.children == nil {
			return fmt.Errorf("vfs: add %q: /%s is not a directory", path, strings.Join(parts[:i], "/"))
		}
		next := cur.children[name]
		if i == len(parts)-1 {
			if next != nil {
				return fmt.Errorf("vfs: add %q: it is there already", path)
			}
			next = n
		} else if next == nil {
			next = &memNode{mode: unix.S_IFDIR | 0o755, children: map[string]*memNode{}}
		}
		if next.ino == 0 {
			m.last++
			next.ino = m.last
			cur.children[name] = next
		}
		cur = next
	}
	return nil
}

func (m *Memory) find(path string) (*memNode, abi.Errno) {
	n := m.root
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if n.children == nil {
			return nil, abi.ENOTDIR
		}
		if n = n.children[name]; n == nil {
			return nil, abi.ENOENT
		}
	}
	return n, 0
}

// Stat implements Lower.
func (m *Memory) Stat(path string) (LowerStat, abi.Errno) {
	n, errno := m.find(path)
	if errno != 0 {
		return LowerStat{}, errno
	}
	st := LowerStat{Ino: n.ino, Mode: n.mode, Nlink: 1, Size: n.size, Blocks: blocksOf(n.size), Atime: m.time, Mtime: m.time, Ctime: m.time}
	if n.children != nil {
		st.Nlink = 2
		for _, c := range n.children {
			if c.children != nil {
				st.Nlink++
			}
		}
	}
	return st, 0
}

// Readlink implements Lower.
func (m *Memory) Readlink(path string) (string, abi.Errno) {
	n, errno := m.find(path)
	if errno != 0 {
		return "", errno
	}
	if n.target == "" {
		return "", abi.EINVAL
	}
	return n.target, 0
}

// ReadDir implements Lower.
func (m *Memory) ReadDir(path string) ([]LowerEntry, abi.Errno) {
	n, errno := m.find(path)
	if errno != 0 {
		return nil, errno
	}
	if n.children == nil {
		return nil, abi.ENOTDIR
	}
	out := make([]LowerEntry, 0, len(n.children))
	for name, c := range n.children {
		out = append(out, LowerEntry{Name: name, Ino: c.ino, Type: c.mode & unix.S_IFMT})
	}
	return out, 0
}

// Open implements Lower.
func (m *Memory) Open(path string, want LowerStat) (LowerFile, abi.Errno) {
	n, errno := m.find(path)
	if errno != 0 {
		return nil, errno
	}
	if n.data == nil || n.ino != want.Ino {
		return nil, abi.EIO
	}
	return memFile{n.data, n.size}, 0
}

type memFile struct {
	io.ReaderAt
	size int64
}

func (f memFile) Size() int64 { return f.size }
func (memFile) Close() error  { return nil }
