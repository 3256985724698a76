// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package podflags has the flags that are the same for all programs of a cluster which run
// virtual machines: where images and snapshots are kept, which registries are asked and
// how, and what worker processes may have.
package podflags

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"k8s.io/apimachinery/pkg/api/resource"

	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/pkg/worker/cell"
)

// Flags are how a program is run.
type Flags struct {
	// Memory is the most that all machines may have together; 0 is not said.
	Memory Quantity

	worker, jail, cgroup    string
	imageDir, snapshotDir   string
	imageSize, snapshotSize Quantity
	insecure                list
	registryCA              string
	mirrors                 list
}

// Add adds the flags to fs.
func (f *Flags) Add(fs *flag.FlagSet) {
	fs.StringVar(&f.worker, "worker", "", "`path` of kontain-worker (default: the one beside this program)")
	fs.StringVar(&f.jail, "jail", "auto", "`level` of the jail of worker processes: 1, 2 (nothing is run without it), or auto: 2 where it is to be had")
	fs.StringVar(&f.cgroup, "cgroup", "", "`folder` of a cgroup for the jail of level 2 (default: the one of this process)")
	f.imageSize, f.snapshotSize = 10<<30, 5<<30 // what an emptyDir of 20 GiB holds
	fs.Var(&f.Memory, "memory", "most `memory` that all machines may have together (default: four fifths of what this process may use)")
	fs.StringVar(&f.imageDir, "image-dir", "", "`folder` of the image cache (default: $KONTAIN_IMAGE_DIR)")
	fs.Var(&f.imageSize, "image-cache-size", "`size` that a pull brings the image cache back to")
	fs.StringVar(&f.snapshotDir, "snapshot-dir", "", "`folder` for snapshots (default: $"+snapshots.DirVariable+")")
	fs.Var(&f.snapshotSize, "snapshot-cache-size", "most `bytes` of disk for snapshots")
	fs.Var(&f.insecure, "insecure-registry", "`host`[:port] of a registry that may be spoken to by HTTP or without a check of its certificate; may be repeated")
	fs.StringVar(&f.registryCA, "registry-ca", "", "`file` with certificates (PEM) of registries, besides those of this machine")
	fs.Var(&f.mirrors, "registry-mirror", "`HOST=MIRROR[/PATH]`: ask MIRROR first for images of HOST; may be repeated")
}

// Check refuses what makes no sense together.
func (f *Flags) Check() error {
	switch f.jail {
	case "auto", "1", "2":
	default:
		return fmt.Errorf("-jail %q: must be 1, 2 or auto", f.jail)
	}
	if f.cgroup != "" && f.jail == "1" {
		return errors.New("-cgroup: cgroups are a part of the jail of level 2")
	}
	for _, m := range f.mirrors {
		if host, mirror, ok := strings.Cut(m, "="); !ok || host == "" || mirror == "" {
			return fmt.Errorf("-registry-mirror %q: must be HOST=MIRROR", m)
		}
	}
	return nil
}

// Stores opens the caches of images and snapshots. keychain has the credentials of
// registries; nil: those of docker's configuration. c is what the administrator says of
// them. Without a folder for snapshots the second is nil.
func (f *Flags) Stores(keychain authn.Keychain, c *install.Config, log *slog.Logger) (*image.Store, *snapshots.Store, error) {
	o := image.Options{
		CacheSize: int64(f.imageSize),
		Registries: image.Registries{
			Insecure: append(slices.Clone(c.InsecureRegistries), f.insecure...),
			CAFile:   f.registryCA, CA: []byte(c.RegistryCA), Mirrors: map[string]string{}, Keychain: keychain,
		},
		Warn: func(text string) { log.Warn(text) },
	}
	maps.Copy(o.Registries.Mirrors, c.RegistryMirrors)
	for _, m := range f.mirrors {
		host, mirror, _ := strings.Cut(m, "=")
		o.Registries.Mirrors[host] = mirror
	}
	dir, err := f.imageDir, error(nil)
	if dir == "" {
		if dir, err = image.DefaultDir(); err != nil {
			return nil, nil, err
		}
	}
	images, err := image.Open(dir, o)
	if err != nil {
		return nil, nil, err
	}
	dir = f.snapshotDir
	if dir == "" {
		dir, err = snapshots.DefaultDir()
	}
	var kept *snapshots.Store
	if err == nil {
		kept, err = snapshots.Open(dir, int64(f.snapshotSize))
	}
	if err != nil {
		log.Warn("snapshots are kept in memory only: programs are started again after a restart", "reason", err)
	}
	return images, kept, nil
}

// Workers finds the worker program and makes what its jail needs; done frees it.
func (f *Flags) Workers(log *slog.Logger) (path string, jail server.Jail, done func() error, err error) {
	done = func() error { return nil }
	if path, err = worker.Find(f.worker); err != nil {
		return "", jail, done, err
	}
	if f.jail == "1" {
		return path, jail, done, nil
	}
	jail.Required = f.jail == "2" || f.cgroup != ""
	cells, err := cell.Open(cell.Config{Worker: path, Cgroup: f.cgroup})
	if err != nil {
		jail.NoCells = err
		log.Info("worker processes are not jailed on level 2", "reason", err)
		return path, jail, done, nil
	}
	jail.Cells = cells
	log.Info("worker processes are jailed", "level", 2, "cgroup", cells.Group(), "noCgroup", cells.NoCgroup)
	return path, jail, cells.Close, nil
}

// Quantity is a flag such as 512Ki or 4Gi.
type Quantity int64

func (q *Quantity) String() string {
	if q == nil || *q == 0 {
		return ""
	}
	return resource.NewQuantity(int64(*q), resource.BinarySI).String()
}

// Set reads the value.
func (q *Quantity) Set(s string) error {
	parsed, err := resource.ParseQuantity(s)
	if err == nil && parsed.Value() <= 0 {
		err = errors.New("must be more than 0")
	}
	*q = Quantity(parsed.Value())
	return err
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

// Set adds a value.
func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}
