// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/server/cluster"
	"kontain.dev/eventing/pkg/sinkstatus"
	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/pkg/worker/cell"
)

// Defaults that differ from those on a laptop: the parts of a cluster notice only after a
// while that a pod is to have no more events.
const (
	defaultQuietPeriod  = 10 * time.Second
	defaultDrainTimeout = 75 * time.Second
)

// flags are how the receiver is run. What it is told of the cluster is in variables.
type flags struct {
	listen, listenTLS, listenStatus string
	metrics                         string
	quietPeriod, drainTimeout       time.Duration
	startTime                       time.Duration
	worker, jail, cgroup            string
	memory, maxBody                 quantity
	imageDir, snapshotDir           string
	imageSize, snapshotSize         quantity
	insecure                        list
	registryCA                      string
	mirrors                         list
}

func (f *flags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.listen, "listen", fmt.Sprintf(":%d", install.HTTPPort), "`address` for events")
	fs.StringVar(&f.listenTLS, "listen-tls", fmt.Sprintf(":%d", install.HTTPSPort), "`address` for events over TLS")
	fs.StringVar(&f.listenStatus, "listen-status", fmt.Sprintf(":%d", sinkstatus.Port), "`address` for probes and for what the controller asks")
	fs.StringVar(&f.metrics, "metrics-address", fmt.Sprintf(":%d", install.MetricsPort), "`address` to answer Prometheus on, at /metrics")
	fs.DurationVar(&f.quietPeriod, "drain-quiet-period", defaultQuietPeriod, "`time` without events before a drain closes the listeners")
	fs.DurationVar(&f.drainTimeout, "drain-timeout", defaultDrainTimeout, "longest `time` of a drain; the pod's grace period must be longer")
	fs.DurationVar(&f.startTime, "start-time", cluster.DefaultStartTime, "longest `time` to wait for the sinks' images and programs before the receiver is ready")
	fs.StringVar(&f.worker, "worker", "", "`path` of kontain-worker (default: the one beside this program)")
	fs.StringVar(&f.jail, "jail", "auto", "`level` of the jail of worker processes: 1, 2 (no sink is served without it), or auto: 2 where it is to be had")
	fs.StringVar(&f.cgroup, "cgroup", "", "`folder` of a cgroup for the jail of level 2 (default: the one of this process)")
	f.maxBody = 1 << 20
	f.imageSize, f.snapshotSize = 10<<30, 5<<30 // what an emptyDir of 20 GiB holds
	fs.Var(&f.memory, "memory", "most `memory` that all machines may have together (default: four fifths of what this process may use)")
	fs.Var(&f.maxBody, "max-body", "largest request `body`")
	fs.StringVar(&f.imageDir, "image-dir", "", "`folder` of the image cache (default: $KONTAIN_IMAGE_DIR)")
	fs.Var(&f.imageSize, "image-cache-size", "`size` that a pull brings the image cache back to")
	fs.StringVar(&f.snapshotDir, "snapshot-dir", "", "`folder` for snapshots (default: $"+snapshots.DirVariable+")")
	fs.Var(&f.snapshotSize, "snapshot-cache-size", "most `bytes` of disk for snapshots")
	fs.Var(&f.insecure, "insecure-registry", "`host`[:port] of a registry that may be spoken to by HTTP or without a check of its certificate; may be repeated")
	fs.StringVar(&f.registryCA, "registry-ca", "", "`file` with certificates (PEM) of registries, besides those of this machine")
	fs.Var(&f.mirrors, "registry-mirror", "`HOST=MIRROR[/PATH]`: ask MIRROR first for images of HOST; may be repeated")
}

// check refuses what makes no sense together.
func (f *flags) check() error {
	switch f.jail {
	case "auto", "1", "2":
	default:
		return fmt.Errorf("-jail %q: must be 1, 2 or auto", f.jail)
	}
	if f.cgroup != "" && f.jail == "1" {
		return errors.New("-cgroup: cgroups are a part of the jail of level 2")
	}
	for name, d := range map[string]time.Duration{"drain-quiet-period": f.quietPeriod, "drain-timeout": f.drainTimeout, "start-time": f.startTime} {
		if d <= 0 {
			return fmt.Errorf("-%s %s: must be more than 0", name, d)
		}
	}
	for _, m := range f.mirrors {
		if host, mirror, ok := strings.Cut(m, "="); !ok || host == "" || mirror == "" {
			return fmt.Errorf("-registry-mirror %q: must be HOST=MIRROR", m)
		}
	}
	return nil
}

// stores opens the caches of images and snapshots.
func (f *flags) stores(secrets cluster.PullSecrets, dedicated bool, c *install.Config, log *slog.Logger) (*image.Store, *snapshots.Store, error) {
	o := image.Options{
		CacheSize: int64(f.imageSize),
		Registries: image.Registries{
			Insecure: append(slices.Clone(c.InsecureRegistries), f.insecure...),
			CAFile:   f.registryCA, CA: []byte(c.RegistryCA), Mirrors: map[string]string{},
		},
		Warn: func(text string) { log.Warn(text) },
	}
	maps.Copy(o.Registries.Mirrors, c.RegistryMirrors)
	if dedicated {
		o.Registries.Keychain = secrets
	}
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

// workers finds the worker program and makes what its jail needs; done frees it.
func (f *flags) workers(log *slog.Logger) (path string, jail server.Jail, done func() error, err error) {
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

// quantity is a flag such as 512Ki or 4Gi.
type quantity int64

func (q *quantity) String() string {
	if q == nil || *q == 0 {
		return ""
	}
	return resource.NewQuantity(int64(*q), resource.BinarySI).String()
}

// Set reads the value.
func (q *quantity) Set(s string) error {
	parsed, err := resource.ParseQuantity(s)
	if err == nil && parsed.Value() <= 0 {
		err = errors.New("must be more than 0")
	}
	*q = quantity(parsed.Value())
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
