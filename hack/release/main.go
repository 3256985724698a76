// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command release makes what is installed in a cluster: an image for each component,
// without a container engine, and one manifest that names them by digest.
//
//	go run ./hack/release --output bin/release [--push registry.example.com/kontain]
//
// Without --push the images are archives of docker save with the names that config/
// has, for `ctr images import` and `kind load image-archive`, and the manifest names
// them so. The same source and toolchain give the same digests.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	prefix = "kontain.dev/eventing/" // of the images in config/
	tag    = ":devel"
	user   = "65532:65532"
	binDir = "usr/local/bin/"
)

// component is an image: its name in config/ and the programs in it, the first of
// which it starts.
type component struct {
	name     string
	programs [][2]string // name in the image, package
}

var components = []component{
	{"controller", [][2]string{{"controller", "./cmd/controller"}}},
	{"webhook", [][2]string{{"webhook", "./cmd/webhook"}}},
	{"receiver", [][2]string{{"receiver", "./cmd/receiver"}, {"kontain-worker", "./cmd/worker"}}},
	{"source", [][2]string{{"source", "./cmd/source"}, {"kontain-worker", "./cmd/worker"}}},
}

func main() {
	output := flag.String("output", "bin/release", "`folder` for the manifest and the archives")
	push := flag.String("push", "", "`REGISTRY/PATH` to push the images to; without it they are archives")
	version := flag.String("version", "devel", "`version` of the release")
	insecure := flag.Bool("insecure", false, "push by HTTP")
	flag.Parse()
	if err := run(*output, *push, *version, *insecure); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(output, push, version string, insecure bool) error {
	if err := os.MkdirAll(output, 0o755); err != nil { //nolint:gosec // Everybody may read a release.
		return err
	}
	images := map[string]string{} // name in config/ to that in the manifest
	for _, c := range components {
		img, err := build(c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		local := prefix + c.name + tag
		if push == "" {
			ref, err := name.NewTag(local)
			if err != nil {
				return err
			}
			file := filepath.Join(output, c.name+".tar")
			if err := tarball.WriteToFile(file, ref, img); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			images[local] = local
			fmt.Println(file)
			continue
		}
		if images[local], err = publish(img, push+"/"+c.name+":"+version, insecure); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Println(images[local])
	}
	text, err := manifest(version, images)
	if err != nil {
		return err
	}
	file := filepath.Join(output, "kontain-eventing.yaml")
	fmt.Println(file)
	return os.WriteFile(file, text, 0o644) //nolint:gosec // Everybody may read a release.
}

// publish pushes an image and returns its reference by digest.
func publish(img v1.Image, to string, insecure bool) (string, error) {
	var options []name.Option
	if insecure {
		options = append(options, name.Insecure)
	}
	ref, err := name.NewTag(to, options...)
	if err != nil {
		return "", err
	}
	if err := remote.Write(ref, img, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return ref.Context().Name() + "@" + digest.String(), nil
}

// build makes the image of a component, of its programs alone: no shell, no
// libraries, no user but a number.
func build(c component) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "kontain-release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // Of a folder for temporary files.
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, p := range c.programs {
		file := filepath.Join(dir, p[0])
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", file, p[1])
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build %s: %w", p[1], err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		// Neither times nor owners of this machine: the digest is that of the content.
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: binDir + p[0], Mode: 0o755, Size: int64(len(data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, content)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config.User = user
	config.Config.Entrypoint = []string{"/" + binDir + c.programs[0][0]}
	config.Config.Env = []string{"PATH=/" + strings.TrimSuffix(binDir, "/")}
	return mutate.ConfigFile(img, config)
}

// manifest returns the files of config/ as one, with the images and the version of
// the release.
func manifest(version string, images map[string]string) ([]byte, error) {
	files, err := filepath.Glob("config/[0-9]*.yaml")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no manifests in config/; run from the top of the repository")
	}
	slices.Sort(files)
	var all bytes.Buffer
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text := strings.ReplaceAll(string(data), "app.kubernetes.io/version: devel", "app.kubernetes.io/version: "+version)
		for local, ref := range images {
			text = strings.ReplaceAll(text, local, ref)
		}
		if !strings.HasPrefix(text, "---") && all.Len() > 0 {
			all.WriteString("---\n")
		}
		all.WriteString(text)
	}
	return all.Bytes(), nil
}
