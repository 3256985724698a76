// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Owners is a file that says whose the files of a folder are where the host's own
// owners do not, because whoever unpacked them was not allowed to give them away. It is
// JSON, made by this machine's user and read when it is first needed:
//
//	uid, gid  on the host, which stand for user and group 0
//	files     path, uid, gid and mode (permission bits) of those that differ further
type Owners struct {
	file *os.File
	once sync.Once
	uid  uint32
	gid  uint32
	of   map[string]owner
	err  error
}

type owner struct {
	Path string `json:"path"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode uint32 `json:"mode"`
}

// maxOwners bounds the file, in bytes.
const maxOwners = 256 << 20

// NewOwners takes the file over.
func NewOwners(f *os.File) *Owners { return &Owners{file: f} }

// File is the file, for NewOwners in another process.
func (o *Owners) File() *os.File { return o.file }

func (o *Owners) close() error {
	if o == nil {
		return nil
	}
	return o.file.Close()
}

func (o *Owners) read() {
	var list struct {
		UID   uint32  `json:"uid"`
		GID   uint32  `json:"gid"`
		Files []owner `json:"files"`
	}
	b, err := io.ReadAll(io.NewSectionReader(o.file, 0, maxOwners+1))
	if err == nil && len(b) > maxOwners {
		err = fmt.Errorf("it is larger than %d bytes", maxOwners)
	}
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		o.err = err
		return
	}
	o.uid, o.gid, o.of = list.UID, list.GID, make(map[string]owner, len(list.Files))
	for _, f := range list.Files {
		o.of[f.Path] = f
	}
}

// apply makes st what the file at path is shown as. It fails when the owners cannot be
// read: whose a file is then must not be guessed.
func (o *Owners) apply(path string, st *LowerStat) error {
	if o == nil {
		return nil
	}
	o.once.Do(o.read)
	if o.err != nil {
		return o.err
	}
	if st.UID == o.uid {
		st.UID = 0
	}
	if st.GID == o.gid {
		st.GID = 0
	}
	if f, ok := o.of[path]; ok {
		st.UID, st.GID = f.UID, f.GID
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			st.Mode = st.Mode&^permMask | f.Mode&permMask
		}
	}
	return nil
}
