// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package openwhisk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"kontain.dev/eventing/pkg/contract/internal/rootfile"
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
	root, err := rootfile.Open(c.root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return root.Read(c.path, maxCode)
}

// digest stands for the code.
func (c *code) digest() string {
	if c == nil {
		return ""
	}
	return c.sum
}
