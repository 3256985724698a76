// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/x86"
)

const pageSize = 4096

func memoryCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_MMAP, Name: "mmap", Fn: mmap, Support: Partial, Note: "no huge pages, no MAP_SYNC"},
		{Nr: unix.SYS_MUNMAP, Name: "munmap", Fn: munmap},
		{Nr: unix.SYS_MPROTECT, Name: "mprotect", Fn: mprotect},
		{Nr: unix.SYS_MREMAP, Name: "mremap", Fn: mremap, Support: Partial, Note: "MREMAP_DONTUNMAP is refused with EINVAL"},
		{Nr: unix.SYS_MADVISE, Name: "madvise", Fn: madvise, Support: Partial, Note: "MADV_DONTNEED, MADV_FREE and MADV_REMOVE drop pages, MADV_WIPEONFORK ones are empty in children and in clones of a snapshot; other advice has no effect"},
		{Nr: unix.SYS_BRK, Name: "brk", Fn: brk},
		{Nr: unix.SYS_MSYNC, Name: "msync", Fn: msync},
		{Nr: unix.SYS_MINCORE, Name: "mincore", Fn: mincore},
		{Nr: unix.SYS_MLOCK, Name: "mlock", Fn: mlock, Support: Stub, Note: "guest memory is never paged out by the guest kernel"},
		{Nr: unix.SYS_MLOCK2, Name: "mlock2", Fn: mlock2, Support: Stub, Note: "as mlock"},
		{Nr: unix.SYS_MUNLOCK, Name: "munlock", Fn: mlock, Support: Stub, Note: "as mlock"},
		{Nr: unix.SYS_MLOCKALL, Name: "mlockall", Fn: mlockall, Support: Stub, Note: "as mlock"},
		{Nr: unix.SYS_MUNLOCKALL, Name: "munlockall", Fn: succeed, Support: Stub, Note: "as mlock"},
	}
}

func succeed(*task.Thread, task.Args) (uint64, abi.Errno) { return 0, 0 }

// span checks the address and length of a range and rounds its end to a page.
func span(addr, n uint64) (end uint64, errno abi.Errno) {
	end = (addr + n + pageSize - 1) &^ (pageSize - 1)
	if addr%pageSize != 0 {
		return 0, abi.EINVAL
	}
	if end < addr || n > x86.UserEnd || end > x86.UserEnd {
		return 0, abi.ENOMEM
	}
	return end, 0
}

func mmap(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	addr, length, prot, flags, fileFD, off := a[0], a[1], a[2], a[3], int32(a[4]), a[5]
	const known = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
	kind := flags & unix.MAP_TYPE
	switch {
	case length == 0, off%pageSize != 0,
		kind != unix.MAP_PRIVATE && kind != unix.MAP_SHARED && kind != unix.MAP_SHARED_VALIDATE:
		return 0, abi.EINVAL
	case length > x86.UserEnd:
		return 0, abi.ENOMEM
	case flags&unix.MAP_ANONYMOUS == 0 && length > math.MaxInt64-min(off, math.MaxInt64):
		return 0, abi.EOVERFLOW
	case flags&unix.MAP_HUGETLB != 0: // none are reserved, as on most machines
		return 0, abi.ENOMEM
	}
	length = (length + pageSize - 1) &^ (pageSize - 1)
	m := t.P.MM
	p := mm.Prot(prot & known)
	if p&mm.Write != 0 {
		p |= mm.Read // x86 has no write-only page
	}
	v := mm.VMA{Prot: p, Stack: flags&unix.MAP_GROWSDOWN != 0}
	var shared vfs.Mapper
	if flags&unix.MAP_ANONYMOUS == 0 {
		file, errno := t.P.FDs.Get(fileFD)
		if errno != 0 {
			return 0, errno
		}
		mode := file.StatusFlags() & unix.O_ACCMODE
		mapper, ok := file.(vfs.Mapper)
		switch {
		case file.StatusFlags()&unix.O_PATH != 0:
			return 0, abi.EBADF
		case mode == unix.O_WRONLY, kind != unix.MAP_PRIVATE && p&mm.Write != 0 && mode != unix.O_RDWR:
			return 0, abi.EACCES
		case !ok:
			return 0, abi.ENODEV
		}
		v.Off = off
		if kind == unix.MAP_PRIVATE {
			v.Src = &fileSource{Mapper: mapper}
		} else {
			shared = mapper
			v.ReadOnly = mode != unix.O_RDWR
			if s, ok := file.(vfs.Sealer); ok && s.SealedWrite() != 0 {
				if p&mm.Write != 0 {
					return 0, abi.EPERM
				}
				v.ReadOnly = true
			}
		}
	} else if kind != unix.MAP_PRIVATE {
		v.Name = "/dev/zero (deleted)"
	}
	switch {
	case flags&(unix.MAP_FIXED|unix.MAP_FIXED_NOREPLACE) != 0:
		end, errno := span(addr, length)
		if errno != 0 {
			return 0, errno
		}
		if addr < mm.MinVA {
			return 0, abi.EPERM
		}
		if flags&unix.MAP_FIXED_NOREPLACE != 0 && m.Overlaps(addr, end) {
			return 0, abi.EEXIST
		}
	default:
		if addr = m.FindHole(addr, length); addr == 0 {
			return 0, abi.ENOMEM
		}
	}
	v.Start, v.End = addr, addr+length
	if src, ok := v.Src.(*fileSource); ok {
		src.MapHold()
		src.MapShare()
	} else if kind != unix.MAP_PRIVATE {
		v.Src = m.Spaces().NewObject(length)
	}
	if shared != nil {
		v.Src = sharedObject(m, shared, off+length)
		v.Name = shared.Path().String()
	}
	return addr, m.Map(v)
}

// sharedObject returns the memory that a new shared mapping of a file shows. A device
// that can be mapped is /dev/zero: each mapping has memory of its own, of size bytes.
func sharedObject(m *mm.MM, f vfs.Mapper, size uint64) *mm.Object {
	s, ok := f.(vfs.Sharer)
	if !ok {
		return m.Spaces().NewObject(size)
	}
	if p, ok := s.Shared().(*mm.Object); ok {
		if !m.Maps(p) {
			p.MapShare()
		}
		return p
	}
	s.MapHold()
	return m.Spaces().NewFileObject(&sharedFile{s})
}

// sharedFile is the file behind an mm.Object.
type sharedFile struct{ vfs.Sharer }

// Attach implements mm.File.
func (f *sharedFile) Attach(o *mm.Object) {
	if o == nil {
		f.Share(nil)
	} else {
		f.Share(o)
	}
}

// Take implements mm.File.
func (f *sharedFile) Take(n uint64, dst []byte) abi.Errno { return f.TakePage(n, dst) }

// Stale implements mm.File.
func (f *sharedFile) Stale(n uint64, page []byte) bool { return f.StalePage(n, page) }

// Put implements mm.File.
func (f *sharedFile) Put(n uint64, page []byte) { f.PutPage(n, page) }

// Punch implements mm.File.
func (f *sharedFile) Punch(off, end int64) abi.Errno { return f.PunchHole(off, end) }

// MapShare implements mm.Source.
func (*sharedFile) MapShare() {}

// fileSource is a file behind one private mapping. It outlives the descriptor.
type fileSource struct {
	vfs.Mapper
	holders int // address spaces
}

// MapShare implements mm.Source.
func (s *fileSource) MapShare() { s.holders++ }

// MapDrop lets go of the file when the last address space does, however many
// pieces the mapping was cut into.
func (s *fileSource) MapDrop() {
	s.holders--
	if s.holders == 0 {
		s.Mapper.MapDrop()
	}
}

// CloneSource returns the source of a file mapping for a clone of the VM, whose
// file tree is fs.
func CloneSource(old mm.Source, fs *vfs.FS) mm.Source {
	if f, ok := old.(*sharedFile); ok {
		if s, ok := fs.CloneMapper(f.Sharer).(vfs.Sharer); ok {
			return &sharedFile{s}
		}
		return noFile{}
	}
	s, ok := old.(*fileSource)
	if !ok {
		return old
	}
	m := fs.CloneMapper(s.Mapper)
	if m == nil {
		return noFile{}
	}
	return &fileSource{Mapper: m, holders: s.holders}
}

// noFile stands for a file that could not be carried over: its pages that were
// not read before are past its end.
type noFile struct{}

func (noFile) MapRead(int64, []byte) (int, abi.Errno) { return 0, abi.EIO }
func (noFile) MapSize() int64                         { return 0 }
func (noFile) MapShare()                              {}
func (noFile) MapDrop()                               {}

func munmap(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	end, errno := span(a[0], a[1])
	if errno != 0 || a[1] == 0 {
		return 0, abi.EINVAL
	}
	return 0, t.P.MM.Unmap(a[0], end)
}

func mprotect(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const known = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
	end, errno := span(a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	if a[2]&^known != 0 { // PROT_GROWSDOWN needs a stack that grows
		return 0, abi.EINVAL
	}
	if end == a[0] {
		return 0, 0
	}
	p := mm.Prot(a[2])
	if p&mm.Write != 0 {
		p |= mm.Read
	}
	return 0, t.P.MM.Protect(a[0], end, p)
}

func mremap(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	old, oldLen, newLen, flags, dst := a[0], a[1], a[2], a[3], a[4]
	const mayMove, fixed = unix.MREMAP_MAYMOVE, unix.MREMAP_FIXED
	oldEnd, errno := span(old, oldLen)
	if errno != 0 || newLen == 0 || newLen > x86.UserEnd || flags&^(mayMove|fixed) != 0 || flags&(mayMove|fixed) == fixed {
		return 0, abi.EINVAL
	}
	oldLen = oldEnd - old
	newLen = (newLen + pageSize - 1) &^ (pageSize - 1)
	if flags&fixed == 0 {
		dst = 0
	} else {
		dstEnd, errno := span(dst, newLen)
		if errno != 0 || dst < mm.MinVA || dst < oldEnd && old < dstEnd && oldLen != 0 {
			return 0, abi.EINVAL
		}
	}
	if oldLen == 0 {
		return t.P.MM.Duplicate(old, newLen, dst, flags&mayMove != 0)
	}
	return t.P.MM.Remap(old, oldLen, newLen, dst, flags&mayMove != 0)
}

func madvise(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	end, errno := span(a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	m := t.P.MM
	switch int32(a[2]) {
	case unix.MADV_DONTNEED:
		return 0, m.Discard(a[0], end)
	case unix.MADV_FREE:
		if m.HasFile(a[0], end) { // what is before the file is not dropped either
			return 0, abi.EINVAL
		}
		return 0, m.Discard(a[0], end)
	case unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE:
		return 0, m.Populate(a[0], end, int32(a[2]) == unix.MADV_POPULATE_WRITE)
	case unix.MADV_REMOVE:
		return 0, m.Remove(a[0], end)
	case unix.MADV_WIPEONFORK, unix.MADV_KEEPONFORK:
		return 0, m.SetWipe(a[0], end, int32(a[2]) == unix.MADV_WIPEONFORK)
	case unix.MADV_DONTFORK, unix.MADV_DOFORK:
		return 0, m.SetNoFork(a[0], end, int32(a[2]) == unix.MADV_DONTFORK)
	case unix.MADV_NORMAL, unix.MADV_RANDOM, unix.MADV_SEQUENTIAL, unix.MADV_WILLNEED,
		unix.MADV_MERGEABLE, unix.MADV_UNMERGEABLE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_DONTDUMP, unix.MADV_DODUMP,
		unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_COLLAPSE:
		if !m.Covered(a[0], end) {
			return 0, abi.ENOMEM
		}
		return 0, 0
	}
	return 0, abi.EINVAL
}

func brk(t *task.Thread, a task.Args) (uint64, abi.Errno) { return t.P.MM.Brk(a[0]), 0 }

func msync(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	end, errno := span(a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	if a[2]&^(unix.MS_ASYNC|unix.MS_INVALIDATE|unix.MS_SYNC) != 0 || a[2]&unix.MS_ASYNC != 0 && a[2]&unix.MS_SYNC != 0 {
		return 0, abi.EINVAL
	}
	m := t.P.MM
	if !m.Covered(a[0], end) {
		return 0, abi.ENOMEM
	}
	// A shared mapping is the file; only the time of the change is still to be set.
	if a[2]&unix.MS_SYNC != 0 {
		m.VMAs(func(v *mm.VMA) {
			if o := v.Shared(); o != nil && v.Prot&mm.Write != 0 && v.Start < end && a[0] < v.End {
				if f, ok := o.File().(*sharedFile); ok {
					f.Written()
				}
			}
		})
	}
	return 0, 0
}

func mincore(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	end, errno := span(a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	if n := (end - a[0]) / pageSize; a[2] > userEnd-n {
		return 0, abi.EFAULT
	}
	if !t.P.MM.Covered(a[0], end) {
		return 0, abi.ENOMEM
	}
	// In steps, so that a huge reservation needs no huge buffer.
	const step = 1 << 30
	for at := a[0]; at < end; at += step {
		vec := make([]byte, (min(end, at+step)-at)/pageSize)
		for i, in := range t.P.MM.Resident(at, min(end, at+step)) {
			if in {
				vec[i] = 1
			}
		}
		if errno := t.CopyOut(a[2]+(at-a[0])/pageSize, vec); errno != 0 {
			return 0, errno
		}
	}
	return 0, 0
}

// mlock2 is mlock2(2). Its one flag changes when pages are taken, not whether.
func mlock2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int32(a[2])&^unix.MLOCK_ONFAULT != 0 {
		return 0, abi.EINVAL
	}
	return mlock(t, a)
}

func mlockall(_ *task.Thread, a task.Args) (uint64, abi.Errno) {
	const known = unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT
	flags := int32(a[0])
	return 0, check(flags != 0 && flags != unix.MCL_ONFAULT && flags&^known == 0)
}

func mlock(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	start := a[0] &^ (pageSize - 1)
	end, errno := span(start, a[1]+a[0]-start)
	if errno != 0 {
		return 0, errno
	}
	if !t.P.MM.Covered(start, end) {
		return 0, abi.ENOMEM
	}
	return 0, 0
}

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk: sources of mappings, and the
// progress of calls.
func SnapshotTypes() []any {
	return []any{cpuSleep(0), (*fileSource)(nil), (*sharedFile)(nil), noFile{}, received(0), (*sharedFile)(nil), several{}, written(0)}
}
