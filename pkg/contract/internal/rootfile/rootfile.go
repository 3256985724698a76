// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package rootfile reads files of the root that a program sees. What is in a root is
// not trusted: no link is followed out of it, nothing but regular files is read, and
// those only up to a size.
package rootfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is an open root. Paths are those of the guest, absolute in the root.
type Root struct{ root *os.Root }

// Open opens the folder that is the root of a guest.
func Open(dir string) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Root{root}, nil
}

// Close closes the root.
func (r *Root) Close() error { return r.root.Close() }

// name is a guest's path as os.Root takes it.
func name(p string) string { return "." + path.Clean("/"+p) }

// Read returns a file of at most most bytes. The error matches fs.ErrNotExist when there
// is none.
func (r *Root) Read(p string, most int) ([]byte, error) {
	// A named pipe would have us wait.
	f, err := r.root.OpenFile(name(p), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return b, err
}

// IsFile says whether there is a regular file at p.
func (r *Root) IsFile(p string) bool {
	st, err := r.root.Stat(name(p))
	return err == nil && st.Mode().IsRegular()
}

// With returns the names of the first most folders in a folder that hold a file, in
// their order.
func (r *Root) With(dir, file string, most int) []string {
	f, err := r.root.Open(name(dir))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	const looked = 1000 // more than that are no functions
	entries, _ := f.ReadDir(looked)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var found []string
	for _, e := range entries {
		if len(found) < most && e.IsDir() && r.IsFile(path.Join(dir, e.Name(), file)) {
			found = append(found, e.Name())
		}
	}
	return found
}
