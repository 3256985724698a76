// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import "kontain.dev/eventing/vmexec/internal/fd"

// Open files are carried over to a clone by fd.CloneContext, whose Owner must be
// the clone's *FS. A copy is as good as the file it was made of: the image counts
// the holds and the writers of both. Files that were opened after the freeze cannot be copied.

var _ = []fd.Cloner{(*file)(nil), (*dirFile)(nil), (*textFile)(nil), (*pathFile)(nil), (*device)(nil), (*zeroDevice)(nil), (*FIFO)(nil)}

// knows reports whether d is in the tree of fs: its own, or the image's.
func (fs *FS) knows(d *dentry) bool { return fs.layer.holds(d.owner) && fs.layer.holds(d.inode.owner) }

// ClonePath returns the same place in fs, which is a clone of an image, when p was
// found before the image was made. The zero Path otherwise.
func (fs *FS) ClonePath(p Path) Path {
	if p.d == nil || !fs.knows(p.d) {
		return Path{}
	}
	return Path{fs, p.d}
}

// CloneMapper returns the file behind a mapping for a clone fs, also one whose
// descriptors are all closed. A mapping's hold is in the image. Nil when m was not
// opened before the image was made.
func (fs *FS) CloneMapper(m Mapper) Mapper {
	switch m := m.(type) {
	case *file:
		if h, ok := m.to(fs); ok {
			return &file{handle: h}
		}
	case *zeroDevice:
		if h, ok := m.to(fs); ok {
			return &zeroDevice{device{h}}
		}
	}
	return nil
}

// in returns a copy of the handle for the clone of c; false when there can be none.
func (h *handle) in(c *fd.CloneContext) (handle, bool) {
	fs, ok := c.Owner.(*FS)
	if !ok {
		return handle{}, false
	}
	return h.to(fs)
}

func (h *handle) to(fs *FS) (handle, bool) {
	// A file without a place would need its description, which may be gone.
	if !fs.knows(h.d) || h.d.inode.anon != nil {
		return handle{}, false
	}
	n := *h
	n.fs = fs
	return n, true
}

// CloneFile implements fd.Cloner.
func (f *file) CloneFile(c *fd.CloneContext) fd.File {
	if h, ok := f.in(c); ok {
		return &file{h, f.writer}
	}
	return nil
}

// CloneFile implements fd.Cloner. The copy goes on in the same listing.
func (f *dirFile) CloneFile(c *fd.CloneContext) fd.File {
	if h, ok := f.in(c); ok {
		return &dirFile{handle: h, entries: f.entries, charged: f.charged, read: f.read}
	}
	return nil
}

// CloneFile implements fd.Cloner. The copy has the text until it is read from the
// start again, which gives the clone's.
func (f *textFile) CloneFile(c *fd.CloneContext) fd.File {
	if h, ok := f.in(c); ok {
		return &textFile{handle: h, text: f.text, charged: f.charged}
	}
	return nil
}

// CloneFile implements fd.Cloner.
func (f *pathFile) CloneFile(c *fd.CloneContext) fd.File {
	if h, ok := f.in(c); ok {
		return &pathFile{h}
	}
	return nil
}

// CloneFile implements fd.Cloner. A copy of /dev/urandom reads from the clone's
// own source.
func (f *device) CloneFile(c *fd.CloneContext) fd.File {
	if h, ok := f.in(c); ok {
		return &device{h}
	}
	return nil
}

// CloneFile implements fd.Cloner.
func (f *zeroDevice) CloneFile(c *fd.CloneContext) fd.File {
	if h, ok := f.in(c); ok {
		return &zeroDevice{device{h}}
	}
	return nil
}
