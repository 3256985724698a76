// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package openwhisk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// maxCode is the most bytes of an action's code, as in OpenWhisk:
// https://github.com/apache/openwhisk/blob/master/docs/reference.md#system-limits
const maxCode = 48 << 20

// code is the file of an action's code. A nil one is that of an action whose program
// holds it.
type code struct {
	root, path string
	sum        string
}

// openCode looks at the code at path, which is one of the guest.
func openCode(root, path string) (*code, error) {
	if path == "" {
		return nil, nil
	}
	if root == "" {
		return nil, fmt.Errorf("the action's code, %s, is a path in the root of the program, which has none; set root or image", path)
	}
	c := &code{root: root, path: path}
	b, err := c.read()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	c.sum = hex.EncodeToString(sum[:])
	return c, nil
}

// read returns the code. A link that leads out of the root is not followed.
func (c *code) read() ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	b, err := c.readAll()
	if err != nil {
		return nil, fmt.Errorf("the action's code, %s, cannot be read in %s: %w", c.path, c.root, err)
	}
	return b, nil
}

func (c *code) readAll() ([]byte, error) {
	root, err := os.OpenRoot(c.root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	// A named pipe would have us wait.
	f, err := root.OpenFile("."+path.Clean("/"+c.path), os.O_RDONLY|unix.O_NONBLOCK, 0)
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
	b, err := io.ReadAll(io.LimitReader(f, maxCode+1))
	if err == nil && len(b) > maxCode {
		err = fmt.Errorf("it has more than %d bytes", maxCode)
	}
	return b, err
}

// digest stands for the code.
func (c *code) digest() string {
	if c == nil {
		return ""
	}
	return c.sum
}
