// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// FIFO is an open named pipe; see fifo(7).
type FIFO struct {
	handle
	r *fd.PipeReader // nil when it is only written
	w *fd.PipeWriter // nil when it is only read

	waits bool   // for the other side to be opened
	seen  uint64 // how often it had been opened before
}

// system is what the pipes of the VM count with.
func (fs *FS) system() *fd.System {
	if fs.proc != nil {
		pid, _ := fs.proc.Self()
		if p := fs.proc.Process(pid); p != nil {
			return p.Table().System()
		}
	}
	return &fd.System{}
}

// openFIFO opens an end of a named pipe. Errors: ENXIO for one to write that must
// not wait and has no reader.
func (fs *FS) openFIFO(d *dentry, flags int) (fd.File, abi.Errno) {
	p := fs.fifos[d.inode]
	mode := flags & unix.O_ACCMODE
	if mode == unix.O_WRONLY && flags&unix.O_NONBLOCK != 0 {
		if p == nil {
			return nil, abi.ENXIO
		}
		if n, _ := p.Readers(); n == 0 {
			return nil, abi.ENXIO
		}
	}
	if p == nil {
		p = fd.NewFIFO(fs.system())
		fs.setFIFO(d.inode, p)
	}
	f := &FIFO{handle: newHandle(fs, d, flags)}
	switch mode {
	case unix.O_RDONLY:
		f.r = p.OpenReader()
		n, ever := p.Writers()
		if f.waits, f.seen = n == 0 && flags&unix.O_NONBLOCK == 0, ever; f.waits {
			f.r.Waits(true)
		}
	case unix.O_WRONLY:
		f.w = p.OpenWriter()
		n, ever := p.Readers()
		if f.waits, f.seen = n == 0, ever; f.waits {
			f.w.Waits(true)
		}
	default:
		f.r, f.w = p.OpenReader(), p.OpenWriter()
	}
	return f, 0
}

func (fs *FS) setFIFO(in *inode, p *fd.Pipe) {
	if fs.fifos == nil {
		fs.fifos = map[*inode]*fd.Pipe{}
	}
	fs.fifos[in] = p
}

func (f *FIFO) pipe() *fd.Pipe {
	if f.r != nil {
		return f.r.Pipe()
	}
	return f.w.Pipe()
}

// Opened reports whether the open is over: somebody has opened the other side.
func (f *FIFO) Opened() bool {
	if !f.waits {
		return true
	}
	var ever uint64
	if f.r != nil {
		_, ever = f.pipe().Writers()
	} else {
		_, ever = f.pipe().Readers()
	}
	if ever == f.seen {
		return false
	}
	f.settle()
	return true
}

func (f *FIFO) settle() {
	if !f.waits {
		return
	}
	f.waits = false
	if f.r != nil {
		f.r.Waits(false)
	} else {
		f.w.Waits(false)
	}
}

// Ends implements fd.PipeEnds.
func (f *FIFO) Ends() (*fd.PipeReader, *fd.PipeWriter) { return f.r, f.w }

// Read is that of fd.PipeReader; EBADF for an end that is only written.
func (f *FIFO) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	if f.r == nil {
		return 0, abi.EBADF
	}
	return f.r.Read(dst, off)
}

// Write is that of fd.PipeWriter; EBADF for an end that is only read.
func (f *FIFO) Write(src fd.Buffers, off int64) (int, abi.Errno) {
	if f.w == nil {
		return 0, abi.EBADF
	}
	n, errno := f.w.Write(src, off)
	if n > 0 {
		f.fs.touch(f.d.inode)
	}
	return n, errno
}

// Lseek fails with ESPIPE.
func (*FIFO) Lseek(int64, int) (int64, abi.Errno) { return 0, abi.ESPIPE }

// Readiness is that of the ends.
func (f *FIFO) Readiness() fd.Events {
	var ev fd.Events
	if f.r != nil {
		ev |= f.r.Readiness()
	}
	if f.w != nil {
		ev |= f.w.Readiness()
	}
	return ev
}

// Queue is woken by every change of the pipe.
func (f *FIFO) Queue() *waitq.Queue {
	if f.r != nil {
		return f.r.Queue()
	}
	return f.w.Queue()
}

// Available implements fd.Sizer.
func (f *FIFO) Available() int {
	if f.r != nil {
		return f.r.Available()
	}
	return f.w.Available()
}

// PipeSize is that of fd.PipeReader.
func (f *FIFO) PipeSize() int {
	if f.r != nil {
		return f.r.PipeSize()
	}
	return f.w.PipeSize()
}

// SetPipeSize is that of fd.PipeReader.
func (f *FIFO) SetPipeSize(n int) (int, abi.Errno) {
	if f.r != nil {
		return f.r.SetPipeSize(n)
	}
	return f.w.SetPipeSize(n)
}

// Release closes the end. What is in the pipe is gone with the last one.
func (f *FIFO) Release() {
	f.settle()
	p := f.pipe()
	if f.r != nil {
		f.r.Release()
	}
	if f.w != nil {
		f.w.Release()
	}
	if p.Unused() {
		delete(f.fs.fifos, f.d.inode)
	}
	f.handle.Release()
}

// Abandon implements task.Abandoner, for an open that waits.
func (f *FIFO) Abandon() { f.Release() }

// CloneFile implements fd.Cloner.
func (f *FIFO) CloneFile(c *fd.CloneContext) fd.File {
	h, ok := f.in(c)
	if !ok || f.waits {
		return nil
	}
	n := &FIFO{handle: h}
	if f.r != nil {
		n.r, _ = f.r.CloneFile(c).(*fd.PipeReader)
	}
	if f.w != nil {
		n.w, _ = f.w.CloneFile(c).(*fd.PipeWriter)
	}
	h.fs.setFIFO(h.d.inode, n.pipe())
	return n
}
