// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Name is the file name of the worker program.
const Name = "kontain-worker"

// Find returns the absolute path of the worker program: path where it is given,
// otherwise the one beside the program that runs. The error says what to do.
func Find(path string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find %s: %w", Name, err)
		}
		path = filepath.Join(filepath.Dir(self), Name)
	}
	// Without a slash it would be looked for in PATH, where anyone's could be.
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", Name, err)
	}
	if _, err := exec.LookPath(abs); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("there is no %s, which runs the machines in processes of their own; `make` builds it beside kontain, --worker PATH names another place, and --worker off does without", abs)
		}
		return "", fmt.Errorf("find %s: %w", Name, err)
	}
	return abs, nil
}
