// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"kontain.dev/eventing/pkg/image"
)

// imageFlags are the flags of every command that gets images.
type imageFlags struct {
	dir      string
	size     string
	insecure []string
	ca       string
	mirrors  []string
}

var imageFlagNames = []string{"image-dir", "image-cache-size", "insecure-registry", "registry-ca", "registry-mirror"}

func (f *imageFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "image-dir", "", "`folder` of the image cache (default: $KONTAIN_IMAGE_DIR, or kontain/images in the user's caches)")
	cmd.Flags().StringVar(&f.size, "image-cache-size", "20Gi", "`size` that a pull brings the image cache back to")
	cmd.Flags().StringArrayVar(&f.insecure, "insecure-registry", nil, "`host`[:port] of a registry that may be spoken to by HTTP or without a check of its certificate; may be repeated")
	cmd.Flags().StringVar(&f.ca, "registry-ca", "", "`file` with certificates (PEM) of registries, besides those of this machine")
	cmd.Flags().StringArrayVar(&f.mirrors, "registry-mirror", nil, "`HOST=MIRROR[/PATH]`: ask MIRROR first for images of HOST; may be repeated")
}

// changed says whether any of the flags was given.
func (f *imageFlags) changed(cmd *cobra.Command) bool {
	for _, name := range imageFlagNames {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// open opens the cache; done closes it. Pulls draw a bar when s.Err is a
// terminal.
func (f *imageFlags) open(s Streams) (store *image.Store, done func(), err error) {
	size, err := resource.ParseQuantity(f.size)
	if err != nil || size.Sign() <= 0 {
		return nil, nil, usageErrorf("--image-cache-size %q: must be a quantity such as 20Gi", f.size)
	}
	o := image.Options{
		CacheSize:  size.Value(),
		Registries: image.Registries{Insecure: f.insecure, CAFile: f.ca, Mirrors: map[string]string{}},
		Warn:       func(text string) { fmt.Fprintln(s.Err, "kontain: "+text) },
	}
	for _, m := range f.mirrors {
		host, mirror, ok := strings.Cut(m, "=")
		if !ok || host == "" || mirror == "" {
			return nil, nil, usageErrorf("--registry-mirror %q: must be HOST=MIRROR", m)
		}
		o.Registries.Mirrors[host] = mirror
	}
	dir := f.dir
	if dir == "" {
		if dir, err = image.DefaultDir(); err != nil {
			return nil, nil, err
		}
	}
	bar := &progressBar{w: s.Err}
	if isTerminal(s.Err) {
		o.Progress = bar.update
	}
	store, err = image.Open(dir, o)
	if err != nil {
		return nil, nil, err
	}
	return store, func() {
		bar.clear()
		_ = store.Close() // idle connections are all it holds
	}, nil
}

// progressBar draws how far a pull is on one line of a terminal.
type progressBar struct {
	w     io.Writer
	mu    sync.Mutex
	drawn time.Time
}

func (b *progressBar) update(ref string, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if total <= 0 || time.Since(b.drawn) < 100*time.Millisecond {
		return
	}
	b.drawn = time.Now()
	const width = 24
	full := int(min(width*max(done, 0)/total, width))
	fmt.Fprintf(b.w, "\r\x1b[K%s [%s%s] %s of %s", ref, strings.Repeat("=", full), strings.Repeat(" ", width-full), quantity(done), quantity(total))
}

// clear takes the bar away.
func (b *progressBar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.drawn.IsZero() {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.drawn = time.Time{}
	}
}

// quantity writes a number of bytes for people.
func quantity(n int64) string {
	const unit = 1024
	for i, name := range []string{"B", "KiB", "MiB", "GiB"} {
		size := int64(1) << (10 * i)
		if n < size*unit || name == "GiB" {
			if i == 0 {
				return fmt.Sprintf("%d B", n)
			}
			return fmt.Sprintf("%.1f %s", float64(n)/float64(size), name)
		}
	}
	return ""
}

// checkPullPolicy reads a value of --pull.
func checkPullPolicy(command, value string) (image.Policy, error) {
	for _, p := range []image.Policy{image.Always, image.IfNotPresent, image.Never} {
		if strings.EqualFold(value, string(p)) {
			return p, nil
		}
	}
	return "", usageErrorf("%s: --pull %q: must be Always, IfNotPresent or Never", command, value)
}

func newImage(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Keep container images, and make them of programs of this machine",
		Long: `Keep container images in a cache on disk that serve, run and build share.

A reference is REGISTRY/REPOSITORY:TAG or @sha256:DIGEST (docker.io when there is
no registry), oci:FOLDER[:TAG] for an OCI layout, docker-archive:FILE[:TAG] for
an archive of docker save, or a path to either. Names of the registry localhost
are those of images that were made here.

Credentials are those of docker login (~/.docker/config.json or DOCKER_CONFIG).`,
		Example: "  kontain image pull docker.io/library/debian:12-slim\n  kontain image ls\n  kontain image import --from-host python3 -t localhost/python",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(newImagePull(s), newImageList(s), newImageInspect(s), newImageRemove(s), newImageGC(s), newImageImport(s), newImagePush(s))
	return cmd
}

// withStore runs f with the cache open, until a signal.
func (f *imageFlags) withStore(cmd *cobra.Command, s Streams, run func(context.Context, *image.Store) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	store, done, err := f.open(s)
	if err != nil {
		return err
	}
	defer done()
	return run(ctx, store)
}

// imageReport is the JSON form of an image that was pulled or made.
type imageReport struct {
	Ref      string       `json:"ref"`
	Digest   string       `json:"digest"`
	Manifest string       `json:"manifest"`
	Root     string       `json:"root"`
	Config   image.Config `json:"config"`
}

func printImage(w io.Writer, form outputFlag, i *image.Image) error {
	if form == outputJSON {
		return printJSON(w, imageReport{i.Ref, i.Digest, i.Manifest, i.Root, i.Config})
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n", i.Ref, i.Digest)
	return err
}

func newImagePull(s Streams) *cobra.Command {
	var f imageFlags
	var policy string
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "pull REF...",
		Short:   "Fetch images into the cache",
		Example: "  kontain image pull docker.io/library/debian:12-slim\n  kontain image pull --insecure-registry 127.0.0.1:5000 127.0.0.1:5000/team/app:1\n  kontain image pull oci:./layout:app",
		Args:    someArgs("REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := checkPullPolicy("image pull", policy)
			if err != nil {
				return err
			}
			return f.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				for _, ref := range args {
					i, err := store.Get(ctx, image.Request{Ref: ref, Policy: p})
					if err != nil {
						return err
					}
					if err := printImage(s.Out, output, i); err != nil {
						return err
					}
					if err := i.Close(); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&policy, "pull", "Always", "when the registry is asked: Always, IfNotPresent or Never")
	f.add(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

// someArgs asks for one argument or more, called name.
func someArgs(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return usageErrorf("%s needs a %s (see %s --help)", cmd.CommandPath(), name, cmd.CommandPath())
	}
}

func newImageList(s Streams) *cobra.Command {
	var f imageFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images of the cache, the last used first",
		Example: "  kontain image ls\n  kontain image ls --output json | jq -r '.[].refs[]'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				list, err := store.List(ctx)
				if err != nil {
					return err
				}
				if output == outputJSON {
					if list == nil {
						list = []image.Info{}
					}
					return printJSON(s.Out, list)
				}
				t := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
				fmt.Fprintln(t, "IMAGE\tDIGEST\tSIZE\tUNPACKED\tUSED")
				for _, i := range list {
					refs := i.Refs
					if len(refs) == 0 {
						refs = []string{"<none>"}
					}
					for _, ref := range refs {
						used := i.Used.Local().Format(time.DateTime)
						if i.InUse {
							used = "now"
						}
						fmt.Fprintf(t, "%s\t%.19s\t%s\t%s\t%s\n", ref, i.Manifest, quantity(i.Blobs), quantity(i.Unpacked), used)
					}
				}
				return t.Flush()
			})
		},
	}
	f.add(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

func newImageInspect(s Streams) *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use:     "inspect REF|DIGEST",
		Short:   "Show what is known of an image of the cache, as JSON",
		Example: "  kontain image inspect docker.io/library/debian:12-slim\n  kontain image inspect sha256:1f0a7e | jq .config",
		Args:    oneArg("REF or DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				info, err := store.Inspect(ctx, args[0])
				if err != nil {
					return err
				}
				return printJSON(s.Out, info)
			})
		},
	}
	f.add(cmd)
	return cmd
}

// lockWait is how long a command waits for pulls of other processes.
const lockWait = 30 * time.Second

func newImageRemove(s Streams) *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use:     "rm REF|DIGEST...",
		Aliases: []string{"remove"},
		Short:   "Remove names from the cache, and images with their last name",
		Example: "  kontain image rm docker.io/library/debian:12-slim\n  kontain image rm sha256:1f0a7e",
		Args:    someArgs("REF or DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				ctx, cancel := context.WithTimeoutCause(ctx, lockWait, fmt.Errorf("it took longer than %v", lockWait))
				defer cancel()
				for _, ref := range args {
					if err := store.Remove(ctx, ref); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.add(cmd)
	return cmd
}

func newImageGC(s Streams) *cobra.Command {
	var f imageFlags
	var output outputFlag
	var unused time.Duration
	var all bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what is left over and what was not used for long",
		Long: `Remove what interrupted pulls left, images that no name leads to, images that
were not used for --unused-for, and then those that were not used for longest
until the cache has --image-cache-size. Images in use stay, and so do those that
were made here (kontain build, kontain image import), which rm removes.`,
		Example: "  kontain image gc\n  kontain image gc --image-cache-size 5Gi\n  kontain image gc --unused-for 720h --output json\n  kontain image gc --all",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if unused < 0 {
				return usageErrorf("image gc: --unused-for %s: must not be negative", unused)
			}
			return f.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				ctx, cancel := context.WithTimeoutCause(ctx, lockWait, fmt.Errorf("it took longer than %v", lockWait))
				defer cancel()
				size := resource.MustParse(f.size) // open has checked it
				bytes := size.Value()
				if all {
					bytes = 0
				}
				got, err := store.GC(ctx, bytes, unused)
				if err != nil {
					return err
				}
				if output == outputJSON {
					return printJSON(s.Out, got)
				}
				_, err = fmt.Fprintf(s.Out, "removed %d images, %s; %d images are left, %s\n", len(got.Removed), quantity(got.Freed), got.Left.Images, quantity(got.Left.Bytes))
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&unused, "unused-for", 0, "also remove images that were not used for this `time`, such as 720h")
	cmd.Flags().BoolVar(&all, "all", false, "remove every image that is not in use and can be pulled again")
	f.add(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

func newImagePush(s Streams) *cobra.Command {
	var f imageFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "push REF [TO]",
		Short:   "Send an image of the cache to a registry",
		Example: "  kontain image push registry.example/team/app:1\n  kontain image push localhost/python registry.example/base/python:3.11",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := args[len(args)-1]
			return f.withStore(cmd, s, func(ctx context.Context, store *image.Store) error {
				i, err := store.Get(ctx, image.Request{Ref: args[0], Policy: image.Never})
				if err != nil {
					return err
				}
				defer i.Close() //nolint:errcheck // The lock is gone with the process at the latest.
				digest, err := store.Push(ctx, i, to)
				if err != nil {
					return err
				}
				if output == outputJSON {
					return printJSON(s.Out, map[string]string{"ref": to, "digest": digest})
				}
				_, err = fmt.Fprintf(s.Out, "%s\n%s\n", to, digest)
				return err
			})
		},
	}
	f.add(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}
