// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Config is what an image says about how it is run.
type Config struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"` // NAME=value
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"`  // name or number, or either with :GROUP
	Ports      []string `json:"ports,omitempty"` // PORT/PROTOCOL

	Labels map[string]string `json:"labels,omitempty"`
}

// Bounds of what a configuration may hold.
const (
	maxConfigBytes   = 8 << 20
	maxManifestBytes = 4 << 20
	maxConfigStrings = 4096
	maxStringBytes   = 128<<10 - 1 // MAX_ARG_STRLEN of execve(2)
)

// parseConfig reads and checks the configuration of an image. The result's
// DiffIDs are well formed.
func parseConfig(raw []byte) (*v1.ConfigFile, Config, error) {
	if len(raw) > maxConfigBytes {
		return nil, Config{}, fmt.Errorf("it is larger than %d bytes", maxConfigBytes)
	}
	var file v1.ConfigFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, Config{}, fmt.Errorf("it is not valid: %w", err)
	}
	if !runsHere(file.OS, file.Architecture) {
		return nil, Config{}, fmt.Errorf("it is for %s/%s, and programs of linux/amd64 run here", file.OS, file.Architecture)
	}
	c := Config{
		Entrypoint: file.Config.Entrypoint, Cmd: file.Config.Cmd, Env: file.Config.Env,
		User: file.Config.User, Labels: file.Config.Labels,
	}
	for port := range file.Config.ExposedPorts {
		c.Ports = append(c.Ports, port)
	}
	sort.Strings(c.Ports)
	if n := len(c.Entrypoint) + len(c.Cmd) + len(c.Env) + len(c.Ports); n > maxConfigStrings {
		return nil, Config{}, fmt.Errorf("it holds %d arguments, variables and ports, more than %d", n, maxConfigStrings)
	}
	for _, s := range slices.Concat(c.Entrypoint, c.Cmd, c.Env, []string{file.Config.WorkingDir, file.Config.User}) {
		switch {
		case strings.ContainsRune(s, 0):
			return nil, Config{}, fmt.Errorf("%q contains a NUL byte", clip(s))
		case len(s) > maxStringBytes:
			return nil, Config{}, fmt.Errorf("the text %q is longer than %d bytes", clip(s), maxStringBytes)
		}
	}
	for _, e := range c.Env {
		if strings.IndexByte(e, '=') <= 0 {
			return nil, Config{}, fmt.Errorf("the variable %q is not NAME=value", clip(e))
		}
	}
	c.WorkingDir = path.Clean("/" + file.Config.WorkingDir)
	if len(c.WorkingDir) > maxPath {
		return nil, Config{}, fmt.Errorf("the working directory is longer than %d bytes", maxPath)
	}
	for _, d := range file.RootFS.DiffIDs {
		if err := checkHash(d); err != nil {
			return nil, Config{}, fmt.Errorf("a diff_id: %w", err)
		}
	}
	return &file, c, nil
}

// runsHere says whether a platform is linux/amd64. Images that say nothing, as
// old tools make them, are taken for it.
func runsHere(goos, arch string) bool {
	return (goos == "linux" || goos == "") && (arch == "amd64" || arch == "")
}

// checkHash refuses digests that are no SHA-256: a digest names files here.
func checkHash(h v1.Hash) error {
	if h.Algorithm != "sha256" || len(h.Hex) != 64 {
		return fmt.Errorf("the digest %q is not one of SHA-256", clip(h.String()))
	}
	for _, c := range h.Hex {
		if !strings.ContainsRune("0123456789abcdef", c) {
			return fmt.Errorf("the digest %q is not one of SHA-256", clip(h.String()))
		}
	}
	return nil
}

// clip shortens text from outside for a message.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Process is what to run in an image's root.
type Process struct {
	Path string   // of the executable, absolute in the root; links not resolved
	Args []string // argv, argv[0] as the image or the caller has it
	Env  []string // NAME=value
	Dir  string   // working directory in the root
	User User     // whose it is
}

// DefaultPath is the PATH of a program whose image and caller set none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// ErrNoCommand says that neither the image nor the caller names a program.
var ErrNoCommand = errors.New("the image has neither an entrypoint nor a cmd; write the command to run")

// NotFoundError says that an image holds no such program.
type NotFoundError struct {
	Program string
	Where   string // the paths that were looked at
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("the image has no program %s (looked for %s)", e.Program, e.Where)
}

// Unwrap makes it fs.ErrNotExist.
func (e *NotFoundError) Unwrap() error { return fs.ErrNotExist }

// Process completes the image's configuration by the rules of Kubernetes:
// command replaces the entrypoint and drops the image's cmd, args replace the
// cmd. Variables of env (NAME=value) replace those of the image. A program's
// name without a slash is looked up in PATH, one with a slash starts at the
// working directory. The error is ErrNoCommand, a *NotFoundError or a *UserError.
func (i *Image) Process(command, args, env []string) (Process, error) {
	c := i.Config
	argv := slices.Concat(c.Entrypoint, c.Cmd)
	switch {
	case len(command) > 0:
		argv = slices.Concat(command, args)
	case len(args) > 0:
		argv = slices.Concat(c.Entrypoint, args)
	}
	if len(argv) == 0 || argv[0] == "" {
		return Process{}, ErrNoCommand
	}
	root, err := openRoot(i.Root)
	if err != nil {
		return Process{}, err
	}
	defer root.close()

	p := Process{Args: argv, Dir: c.WorkingDir}
	if p.Dir == "" {
		p.Dir = "/"
	}
	var home string
	if p.User, home, err = root.user(c.User); err != nil {
		return Process{}, err
	}
	vars := map[string]int{}
	for _, kv := range slices.Concat([]string{"PATH=" + DefaultPath, "HOME=" + home}, c.Env, env) {
		name, _, _ := strings.Cut(kv, "=")
		if at, ok := vars[name]; ok {
			p.Env[at] = kv
			continue
		}
		vars[name] = len(p.Env)
		p.Env = append(p.Env, kv)
	}
	p.Path, err = root.lookUp(argv[0], p.Dir, strings.TrimPrefix(p.Env[vars["PATH"]], "PATH="))
	return p, err
}

// lookUp finds a program as execvp(3) would.
func (r *rootDir) lookUp(program, dir, list string) (string, error) {
	if strings.Contains(program, "/") {
		full := program
		if !path.IsAbs(full) {
			full = path.Join(dir, full)
		}
		if st, err := r.stat(full); err != nil || st.IsDir() {
			return "", &NotFoundError{program, full}
		}
		return full, nil
	}
	for _, d := range strings.Split(list, ":") {
		if !path.IsAbs(d) {
			d = path.Join(dir, d)
		}
		full := path.Join(d, program)
		if st, err := r.stat(full); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", &NotFoundError{program, "it in " + clip(list)}
}
