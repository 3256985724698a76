// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
)

// User is whose a program is, by numbers.
type User struct {
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary ones
}

// UserError says that an image does not know the user or group that it asks for.
type UserError struct {
	User   string // as the configuration has it
	Reason string
}

func (e *UserError) Error() string {
	return fmt.Sprintf("the image is to run as user %q, but %s", clip(e.User), e.Reason)
}

// Bounds of the files that name users and groups.
const (
	maxUserFile = 1 << 20
	maxGroups   = 65536 // NGROUPS_MAX of limits.h
)

// user finds the user of a configuration (USER of a Dockerfile) in the image's
// /etc/passwd and /etc/group, and its home directory, as container engines do: names
// must be there and numbers need not, a user without a group has the one of
// /etc/passwd, or 0, and the further groups of its name; one with a group has that
// alone. https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties
func (r *rootDir) user(text string) (u User, home string, err error) {
	fail := func(format string, args ...any) (User, string, error) {
		return User{}, "", &UserError{text, fmt.Sprintf(format, args...)}
	}
	home = "/"
	name, group, hasGroup := strings.Cut(text, ":")
	if name == "" {
		name = "0"
	}
	passwd, err := r.lines("/etc/passwd")
	if err != nil {
		return fail("%v", err)
	}
	number, isNumber := id(name)
	known := "" // its name, once that is known
	for f := range fields(passwd, 6) {
		uid, ok := id(f[2])
		if !ok || f[0] != name && (!isNumber || uid != number) {
			continue
		}
		gid, ok := id(f[3])
		if !ok {
			return fail("its group in /etc/passwd is %q", clip(f[3]))
		}
		known, u.UID, u.GID = f[0], uid, gid
		if path.IsAbs(f[5]) {
			home = f[5]
		}
		break
	}
	if known == "" {
		if !isNumber {
			return fail("its /etc/passwd has no %s; give the number instead", clip(name))
		}
		u.UID = number
	}
	if !hasGroup && known == "" {
		return u, home, nil
	}
	groups, err := r.lines("/etc/group")
	if err != nil {
		return fail("%v", err)
	}
	if hasGroup && group != "" {
		gid, isNumber := id(group)
		for f := range fields(groups, 4) {
			if n, ok := id(f[2]); ok && (f[0] == group || isNumber && n == gid) {
				u.GID = n
				return u, home, nil
			}
		}
		if !isNumber {
			return fail("its /etc/group has no %s; give the number instead", clip(group))
		}
		u.GID = gid
		return u, home, nil
	}
	for f := range fields(groups, 4) {
		if gid, ok := id(f[2]); ok && slices.Contains(strings.Split(f[3], ","), known) {
			if len(u.Groups) == maxGroups {
				return fail("it is in more than %d groups", maxGroups)
			}
			u.Groups = append(u.Groups, gid)
		}
	}
	return u, home, nil
}

// id reads the number of a user or group. That of -1 stands for none; see setuid(2).
func id(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}

// lines reads a file of the image, which may be absent.
func (r *rootDir) lines(name string) ([]byte, error) {
	b, err := r.readFile(name, maxUserFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// fields returns the lines of a file in the form of passwd(5) that have at least n fields.
func fields(file []byte, n int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for line := range bytes.Lines(file) {
			f := strings.Split(strings.TrimRight(string(line), "\r\n"), ":")
			if len(f) >= n && !yield(f) {
				return
			}
		}
	}
}
