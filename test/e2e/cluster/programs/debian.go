// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// debian are the packages of a node that is no Go module of the cluster's own: a container
// runtime, the plugins that connect pods, and nft, which kube-proxy runs; with the libraries
// that they need, besides the C library.
var debian = []string{
	"containerd", "runc", "libseccomp2", "containernetworking-plugins",
	"nftables", "libnftables1", "libnftnl11", "libmnl0", "libxtables12", "libgmp10", "libjansson4",
	"libedit2", "libbsd0", "libmd0", "libtinfo6",
}

// Debian downloads the packages by apt-get, of the release that the machine has, unpacks
// them into a folder of cache unless they are there, and returns the folder. Nothing is
// installed.
func Debian(ctx context.Context, cache string, out io.Writer) (string, error) {
	key := sha256.Sum256([]byte(strings.Join(debian, " ")))
	root := filepath.Join(cache, "debian-"+hex.EncodeToString(key[:])[:16])
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	fmt.Fprintln(out, "cluster: downloading containerd and nftables (once)")
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // Programs, no secrets.
		return "", err
	}
	work, err := os.MkdirTemp(cache, "debian-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)                      //nolint:errcheck // Of what is left of the download.
	if err := os.Chmod(work, 0o755); err != nil { //nolint:gosec // Programs, no secrets.
		return "", err
	}
	unpacked := filepath.Join(work, "root")
	if err := command(ctx, work, "apt-get", append([]string{"download", "-q"}, debian...)...); err != nil {
		return "", fmt.Errorf("%w: Debian's packages (apt-get update may help): %w", ErrMissing, err)
	}
	files, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if err := command(ctx, work, "dpkg-deb", "-x", file, unpacked); err != nil {
			return "", err
		}
	}
	return root, os.Rename(unpacked, root)
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, bytes.TrimSpace(out))
	}
	return nil
}

// Release runs make release: this repository's images, as archives, and its manifest.
func Release(ctx context.Context, root, output string) error {
	_, err := golang(ctx, root, "run", "./hack/release", "--output", output)
	return err
}

// Root is the folder of the module that the working directory is in.
func Root(ctx context.Context) (string, error) {
	return golang(ctx, ".", "list", "-m", "-f", "{{.Dir}}")
}

// Build builds one package of the module in dir.
func Build(ctx context.Context, dir, pkg, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // Programs, no secrets.
		return err
	}
	return build(ctx, dir, pkg, target, "-s -w")
}
