// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"io"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Lower is a read-only root file system. Paths are relative to the root, with
// single slashes and no "." or ".."; "" is the root itself. Components are never
// followed as symbolic links: the FS resolves those itself.
//
// Preconditions: safe for concurrent use.
type Lower interface {
	// Stat describes a file without following a symbolic link. ENOENT when there
	// is none, or none of a kind that is shown.
	Stat(path string) (LowerStat, abi.Errno)
	// Readlink returns the target of a symbolic link.
	Readlink(path string) (string, abi.Errno)
	// ReadDir lists a directory in any order, without "." and "..".
	ReadDir(path string) ([]LowerEntry, abi.Errno)
	// Open opens a regular file. EIO when it is no longer the one that Stat described.
	Open(path string, want LowerStat) (LowerFile, abi.Errno)
}

// LowerFile is an open regular file of a Lower.
type LowerFile interface {
	io.ReaderAt
	// Size is the file's length in bytes.
	Size() int64
	io.Closer
}

// LowerStat describes a file of a Lower.
type LowerStat struct {
	Dev    uint64 // small number of the file system it is on; 0 is the root's
	Ino    uint64
	Mode   uint32 // type and permission bits; regular file, directory or symbolic link
	Nlink  uint32
	UID    uint32
	GID    uint32
	Size   int64
	Blocks int64 // of 512 bytes
	Atime  int64 // ns since 1970
	Mtime  int64
	Ctime  int64
}

// LowerEntry is one name in a directory of a Lower.
type LowerEntry struct {
	Name string
	Ino  uint64
	Type uint32 // unix.S_IFREG, S_IFDIR or S_IFLNK
}
