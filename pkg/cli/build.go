// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/cobra"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/image/build"
)

func newImageImport(s Streams) *cobra.Command {
	var f imageFlags
	var output outputFlag
	var tag string
	var add []string
	var fromHost bool
	cmd := &cobra.Command{
		Use:   "import --from-host PROGRAM... -t REF",
		Short: "Make an image of programs of this machine and the libraries that they need",
		Long: `Make an image of programs of this machine, under the paths that they have here:
with the dynamic linker and the libraries that they name, the interpreters of
scripts, and Python's standard library. The first program is the entrypoint.
What a program only opens while it runs must be named with --add.`,
		Example: "  kontain image import --from-host python3 -t localhost/python\n  kontain image import --from-host bash ls cat -t localhost/tools\n  kontain image import --from-host curl --add /etc/ssl/certs -t localhost/curl",
		Args:    someArgs("PROGRAM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !fromHost {
				return usageErrorf("image import: --from-host is the only source; give it")
			}
			if tag == "" {
				return usageErrorf("image import: no name given: -t REF, such as -t localhost/%s", filepath.Base(args[0]))
			}
			return f.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				return inWork(func(work string) error {
					made, err := build.FromHost(ctx, build.HostOptions{Programs: args, Add: add, Work: work})
					if err != nil {
						return err
					}
					return keep(ctx, store, tag, made, func(i *image.Image) error { return printImage(s.Out, output, i) })
				})
			})
		},
	}
	cmd.Flags().BoolVar(&fromHost, "from-host", false, "take programs of this machine")
	cmd.Flags().StringVarP(&tag, "tag", "t", "", "`name` of the image, such as localhost/python")
	cmd.Flags().StringArrayVar(&add, "add", nil, "further `path` of this machine to take along; may be repeated")
	f.add(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

// inWork runs f with a folder for temporary files.
func inWork(f func(work string) error) (err error) {
	work, err := os.MkdirTemp("", "kontain-build-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	return f(work)
}

// keep puts an image that was made into the cache and runs f with it.
func keep(ctx context.Context, store *image.Store, tag string, made v1.Image, f func(*image.Image) error) (err error) {
	i, err := store.Put(ctx, tag, made)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	return f(i)
}

type buildFlags struct {
	images     imageFlags
	tag        string
	kind       string
	base       string
	pull       string
	entrypoint []string
	contract   string
	env        []string
	labels     []string
	push       bool
	output     string
	quiet      bool
}

func newBuild(s Streams) *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build PATH -t REF",
		Short: "Make a container image of a function's source, without a container engine",
		Long: `Make a container image of a source. By its files a source is

  go      a main package (go.mod, *.go): built statically, on no base
  node    package.json, *.js: sources and dependencies, on --base
  python  *.py, requirements.txt: sources and dependencies, on --base
  c       a Makefile, or C files that make one program: linked statically
  folder  anything else: the files as they are, from / on

The tools are those of this machine: go, gcc and make, pip3, npm. The same source
gives the same digest with the same tools; SOURCE_DATE_EPOCH dates the files.

The image is kept in the image cache under REF, and is also sent to REF's
registry with --push, or written with --output to an OCI layout (a folder, or
oci:FOLDER) or an archive for docker load (a file *.tar, or docker-archive:FILE).`,
		Example: `  kontain build ./hello-go -t localhost/hello
  kontain build ./hello-py -t localhost/hello-py --base localhost/python --contract stdio
  kontain build ./hello-c -t registry.example/team/hello:1 --push
  kontain build ./rootfs -t localhost/root --entrypoint /bin/app --output root.tar`,
		Args: oneArg("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(args[0])
			if err != nil {
				return err
			}
			policy, err := checkPullPolicy("build", f.pull)
			if err != nil {
				return err
			}
			if o.Log = s.Err; f.quiet {
				o.Log = io.Discard
			}
			return f.images.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				return inWork(func(work string) error {
					o.Work = work
					return f.build(ctx, s, store, o, policy)
				})
			})
		},
	}
	cmd.Flags().StringVarP(&f.tag, "tag", "t", "", "`name` of the image")
	cmd.Flags().StringVar(&f.kind, "type", "", "`kind` of the source, when its files do not tell: go, c, python, node or folder")
	cmd.Flags().StringVar(&f.base, "base", "", "`image` below; Python and Node need one")
	cmd.Flags().StringVar(&f.pull, "pull", "IfNotPresent", "when the registry of --base is asked: Always, IfNotPresent or Never")
	cmd.Flags().StringArrayVar(&f.entrypoint, "entrypoint", nil, "`word` of the entrypoint; may be repeated")
	cmd.Flags().StringVar(&f.contract, "contract", "", "`contract` that the function keeps: stdio, http, lambda, openwhisk or azure; noted in the image")
	cmd.Flags().StringArrayVarP(&f.env, "env", "e", nil, "`NAME=VALUE` for the image's environment; may be repeated")
	cmd.Flags().StringArrayVar(&f.labels, "label", nil, "`NAME=VALUE` for the image's labels; may be repeated")
	cmd.Flags().BoolVar(&f.push, "push", false, "send the image to the registry of its name")
	cmd.Flags().StringVar(&f.output, "output", "", "also write the image to a `folder` (OCI layout) or a file *.tar (docker load)")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "do not show what compilers and package managers print")
	f.images.add(cmd)
	return cmd
}

// options checks the flags.
func (f *buildFlags) options(path string) (build.Options, error) {
	o := build.Options{Path: path, Kind: build.Kind(f.kind), Entrypoint: f.entrypoint, Contract: f.contract, Labels: map[string]string{}}
	if f.tag == "" {
		return o, usageErrorf("build: no name given: -t REF, such as -t localhost/%s", strings.ToLower(filepath.Base(path)))
	}
	if o.Kind != "" && !slices.Contains(build.Kinds, o.Kind) {
		return o, usageErrorf("build: --type %q: must be go, c, python, node or folder", f.kind)
	}
	contracts := []v1alpha1.ContractType{
		v1alpha1.ContractStdio, v1alpha1.ContractHTTP, v1alpha1.ContractLambda, v1alpha1.ContractOpenWhisk, v1alpha1.ContractAzure, "",
	}
	if !slices.Contains(contracts, v1alpha1.ContractType(f.contract)) {
		return o, usageErrorf("build: --contract %q: must be stdio, http, lambda, openwhisk or azure", f.contract)
	}
	var err error
	if o.Env, err = userEnv(nil, f.env); err != nil {
		return o, err
	}
	for _, l := range f.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return o, usageErrorf("build: --label %q: must be NAME=VALUE", l)
		}
		o.Labels[name] = value
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		n, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || n < 0 {
			return o, usageErrorf("build: SOURCE_DATE_EPOCH %q: must be seconds since 1970", epoch)
		}
		o.Time = time.Unix(n, 0)
	}
	return o, nil
}

func (f *buildFlags) build(ctx context.Context, s Streams, store *image.Store, o build.Options, policy image.Policy) error {
	if f.base != "" {
		base, err := store.Get(ctx, image.Request{Ref: f.base, Policy: policy})
		if err != nil {
			return fmt.Errorf("base: %w", err)
		}
		defer base.Close() //nolint:errcheck // The lock is gone with the process at the latest.
		if o.Base, err = store.Stored(base); err != nil {
			return fmt.Errorf("base: %w", err)
		}
		o.BaseRoot = base.Root
	}
	made, err := build.Image(ctx, o)
	if err != nil {
		return err
	}
	return keep(ctx, store, f.tag, made, func(i *image.Image) error {
		if f.output != "" {
			stored, err := store.Stored(i)
			if err == nil {
				err = writeImage(f.output, f.tag, stored)
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", f.output, err)
			}
		}
		if f.push {
			if _, err := store.Push(ctx, i, f.tag); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(s.Out, "%s\n%s\n", i.Ref, i.Digest)
		return err
	})
}

// writeImage writes an image to an OCI layout, which may have others, or to an
// archive.
func writeImage(to, tag string, i v1.Image) error {
	if file, ok := strings.CutPrefix(to, "docker-archive:"); ok || strings.HasSuffix(to, ".tar") {
		n, err := name.NewTag(tag)
		if err != nil {
			return err
		}
		temp := file + ".partial"
		if err := tarball.WriteToFile(temp, n, i); err != nil {
			return errors.Join(err, os.Remove(temp))
		}
		return os.Rename(temp, file)
	}
	dir := strings.TrimPrefix(to, "oci:")
	l, err := layout.FromPath(dir)
	if errors.Is(err, os.ErrNotExist) {
		l, err = layout.Write(dir, empty.Index)
	}
	if err != nil {
		return err
	}
	const annotation = "org.opencontainers.image.ref.name"
	same := func(d v1.Descriptor) bool { return d.Annotations[annotation] == tag }
	return l.ReplaceImage(i, same, layout.WithAnnotations(map[string]string{annotation: tag}))
}
