// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

// minSweep is how many names of the lower root an FS remembers before it looks
// for some to forget: about 800 KB of charge.
const minSweep = 1024

// Tidy forgets names of the lower root that nobody uses any more, when many have
// been found: what a program that walks through a large tree is charged for stays
// bounded. A name is forgotten when it was not asked for since the last time, and
// it and its file are as in the lower root: not open, not mapped, not changed, no
// working directory. Files keep their inode numbers, so nothing shows.
//
// Preconditions: no call that has found a place, and does not hold it, is under way.
func (fs *FS) Tidy() {
	if fs != nil && len(fs.found) >= max(fs.sweepAt, minSweep) {
		fs.sweep()
	}
}

func (fs *FS) sweep() {
	pinned := map[*dentry]bool{}
	if fs.proc != nil {
		for _, pid := range fs.proc.PIDs() {
			if p := fs.proc.Process(pid); p != nil {
				pinned[p.Cwd().d] = true
			}
		}
	}
	// Backwards: what is in a directory was found after the directory.
	kept := len(fs.found)
	for i := len(fs.found) - 1; i >= 0; i-- {
		switch d := fs.found[i]; {
		case d.first.gone || !d.first.lower: // removed or moved: a name like those of the overlay
			if d.inode.owner == fs.layer {
				d.inode.names--
			}
		case !pinned[d] && d.used != fs.sweeps && fs.forgettable(d.inode):
			fs.forget(d)
		default:
			kept--
			fs.found[kept] = d
		}
	}
	n := copy(fs.found, fs.found[kept:])
	clear(fs.found[n:])
	fs.found = fs.found[:n]
	fs.sweepAt = 2 * n
	fs.sweeps++
}

// forgettable reports whether a found name of a file can be found again: the file
// is as in the lower root, or known by its number, and nobody holds it.
func (fs *FS) forgettable(in *inode) bool {
	s, ls := fs.st(in), &in.lowerStat
	switch {
	case s.holds+fs.holds[in] != 0, fs.watches[in] != nil:
		return false
	case fs.linked(in.lowerID()) == in && (in.owner != fs.layer || in.names > 1):
		return true
	case in.owner != fs.layer:
		return false
	}
	return s.mode == ls.Mode && s.nlink == ls.Nlink && s.uid == ls.UID && s.gid == ls.GID &&
		s.atime == ls.Atime && s.mtime == ls.Mtime && s.ctime == ls.Ctime &&
		s.content.n == 0 && s.content.size == ls.Size && s.content.lowerSize == ls.Size &&
		s.entries.n == 0 && len(s.entries.hidden) == 0
}

// forget takes a found name out of its directory, and gives back what it and, with
// its last name, the file were charged for.
func (fs *FS) forget(d *dentry) {
	in := d.inode
	fs.mut(d.first.parent.inode).entries.remove(d.first.name)
	fs.releaseMeta(d.cost)
	if in.owner != fs.layer {
		return
	}
	if in.names--; in.names > 0 {
		return
	}
	fs.open.close(in)
	fs.releaseMeta(in.first.meta)
	if fs.linked(in.lowerID()) == in {
		fs.setLinked(in.lowerID(), nil)
	}
}

func (in *inode) lowerID() lowerID { return lowerID{in.lowerStat.Dev, in.lowerStat.Ino} }
