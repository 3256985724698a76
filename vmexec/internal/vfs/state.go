// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

// layer is a time in the life of a tree: from its start, or from a freeze, to
// the next freeze. A file or name that was made in the present layer of an FS is
// its own and changed in place; an older one belongs to an image, and a change
// goes to a copy of its state.
type layer struct{ below *layer }

// holds reports whether l is x or came after it.
func (l *layer) holds(x *layer) bool {
	for ; l != nil; l = l.below {
		if l == x {
			return true
		}
	}
	return false
}

// st returns the state of an inode to be read. A later mut of the same inode may
// move it.
func (fs *FS) st(in *inode) *inodeState {
	if in.owner == fs.layer {
		return &in.first
	}
	if s := fs.inodes[in]; s != nil {
		return s
	}
	return fs.base.st(in)
}

// mut returns the state of an inode to be changed.
func (fs *FS) mut(in *inode) *inodeState {
	if in.owner == fs.layer {
		return &in.first
	}
	if s := fs.inodes[in]; s != nil {
		return s
	}
	b := fs.base.st(in)
	s := *b
	s.content.over(&b.content)
	s.entries.over(&b.entries)
	if fs.inodes == nil {
		fs.inodes = map[*inode]*inodeState{}
	}
	fs.inodes[in] = &s
	return &s
}

// name returns the state of a name to be read.
func (fs *FS) name(d *dentry) *dentryState {
	if d.owner == fs.layer {
		return &d.first
	}
	if s := fs.names[d]; s != nil {
		return s
	}
	return fs.base.name(d)
}

// mutName returns the state of a name to be changed.
func (fs *FS) mutName(d *dentry) *dentryState {
	if d.owner == fs.layer {
		return &d.first
	}
	if s := fs.names[d]; s != nil {
		return s
	}
	s := *fs.base.name(d)
	if fs.names == nil {
		fs.names = map[*dentry]*dentryState{}
	}
	fs.names[d] = &s
	return &s
}

// linked finds the inode of a lower file that has several names.
func (fs *FS) linked(id lowerID) *inode {
	if in, ok := fs.links[id]; ok || fs.base == nil {
		return in
	}
	return fs.base.links[id]
}

// setLinked changes what linked finds; nil for nothing.
func (fs *FS) setLinked(id lowerID, in *inode) {
	if fs.links == nil {
		fs.links = map[lowerID]*inode{}
	}
	fs.links[id] = in
}

// entries are the names of a directory that are known so far: those of the image
// under it, changed by those here.
type entries struct {
	own    map[string]*dentry // nil: the image's name is gone
	hidden map[string]bool    // names of the lower directory that are gone or replaced
	base   *entries           // of an image, without a base of its own; nil for none
	n      int                // names there are
}

// over makes e, a copy of the image's b, a change of b.
func (e *entries) over(b *entries) {
	if b.own != nil || b.hidden != nil {
		e.own, e.hidden, e.base = nil, nil, b
	}
}

func (e *entries) get(name string) *dentry {
	if d, ok := e.own[name]; ok || e.base == nil {
		return d
	}
	return e.base.own[name]
}

// put adds a name that is free.
func (e *entries) put(name string, d *dentry) {
	if e.own == nil {
		e.own = map[string]*dentry{}
	}
	e.own[name] = d
	e.n++
}

// remove takes away a name that is there.
func (e *entries) remove(name string) {
	e.n--
	if e.base != nil && e.base.own[name] != nil {
		if e.own == nil {
			e.own = map[string]*dentry{}
		}
		e.own[name] = nil
		return
	}
	delete(e.own, name)
}

func (e *entries) isHidden(name string) bool {
	return e.hidden[name] || e.base != nil && e.base.hidden[name]
}

func (e *entries) hide(name string) {
	if e.hidden == nil {
		e.hidden = map[string]bool{}
	}
	e.hidden[name] = true
}

// each calls f for every name, in any order.
func (e *entries) each(f func(name string, d *dentry)) {
	for name, d := range e.own {
		if d != nil {
			f(name, d)
		}
	}
	if e.base == nil {
		return
	}
	for name, d := range e.base.own {
		if _, changed := e.own[name]; !changed {
			f(name, d)
		}
	}
}

// flatten makes e stand without its base.
func (e *entries) flatten() {
	if e.base == nil {
		return
	}
	own := make(map[string]*dentry, e.n)
	e.each(func(name string, d *dentry) { own[name] = d })
	for name := range e.base.hidden {
		e.hide(name)
	}
	e.own, e.base = own, nil
}
