// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/manifest"
)

// manySinks is from how many on what reading them took is worth to be given back
// to the kernel at once: with ten thousand it is as much as all else.
const manySinks = 1000

// manyGCPercent is how much garbage there may then be, in percent of what is in use.
const manyGCPercent = 40

// files is the Origin whose sinks are in manifests, as they are when these change.
type files struct {
	paths []string
	log   *slog.Logger

	// Owned by the goroutine of Run.
	backend   *Backend
	lastError string // of the last reload
	settled   bool   // every image was there or had failed at the last reload
	hope      bool   // of those that were not there one may still come
	told      bool   // that sinks are served, or must be waited for
}

// newFiles reads the manifests. The error names file, line and field when one is wrong.
func newFiles(paths []string, log *slog.Logger) (*files, error) {
	if len(paths) == 0 {
		return nil, errors.New("no file or folder with sinks is given")
	}
	if _, err := load(paths); err != nil {
		return nil, err
	}
	return &files{paths: paths, log: log}, nil
}

// Run serves the sinks of the files. It ends with an error when there is nothing to
// serve and nothing to wait for.
func (f *files) Run(ctx context.Context, b *Backend, tell func(State)) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	f.backend = b
	// Watching begins before the files are read, so that no change is missed.
	w := newWatcher(f.log)
	kick := make(chan struct{}, 1)
	w.kick = kick
	b.OnImage(func([]string) {
		select {
		case kick <- struct{}{}:
		default:
		}
	})
	w.watch(f.paths)
	sinks, err := f.reload(ctx)
	// Images may take their time: it is the requests that are then told so.
	if len(sinks) == 0 || !b.anyReady() && !f.hope {
		w.close()
		return errors.Join(err, notServed(sinks))
	}
	w.watch(f.watchPaths(sinks))
	tell(Known)
	if err := f.settle(sinks, tell); err != nil {
		w.close()
		return err
	}
	giveBack(len(sinks))
	var failure error
	w.run(ctx, func() []string {
		sinks, _ := f.reload(ctx) // reload logs its errors
		if failure = f.settle(sinks, tell); failure != nil {
			fail(failure)
		}
		paths := f.watchPaths(sinks)
		giveBack(len(sinks))
		return paths
	})
	return failure
}

// reload reads the files and makes the sinks in them what is served. What is
// wrong is logged once, and leaves what is served as it is. It returns the
// sinks as the files have them.
func (f *files) reload(ctx context.Context) ([]dispatcher.Sink, error) {
	read, err := load(f.paths)
	if errors.Is(err, manifest.ErrNoSinks) && f.foldersOnly() {
		// The last manifest was taken out of a folder. In a single file it
		// would rather be an editor that has not written it yet.
		err = nil
	}
	var sinks []dispatcher.Sink
	if err == nil {
		f.settled, f.hope = true, false
		images := map[string]bool{}
		for i := range read {
			if read[i].Image != "" {
				images[read[i].Key()] = true
				got := f.backend.Fetch(ctx, &read[i])
				f.settled, f.hope = f.settled && got.Settled, f.hope || got.Hope
			}
			sinks = append(sinks, read[i].Sink)
		}
		f.backend.Keep(images)
		err = f.backend.Update(sinks)
	}
	text := ""
	if err != nil {
		text = err.Error()
		if text != f.lastError {
			f.log.Error("not all of the sinks could be taken over; what served before keeps serving", "error", text)
		}
	} else if f.lastError != "" {
		f.log.Info("the error is gone; all sinks are served")
	}
	f.lastError = text
	return sinks, err
}

// giveBack gives the system back what reading so many sinks took. It is called when
// nothing needs them any more: what serves has what it needs of each. That stays as it
// is, whatever events do, so garbage need not become as much before it is collected.
func giveBack(sinks int) {
	if sinks >= manySinks {
		debug.SetGCPercent(manyGCPercent)
		debug.FreeOSMemory()
	}
}

func (f *files) foldersOnly() bool {
	for _, p := range f.paths {
		if !isDir(p) {
			return false
		}
	}
	return true
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// settle tells that a sink is ready, or that images must be waited for which may still
// come. The error is that there is nothing to serve and nothing to wait for.
func (f *files) settle(sinks []dispatcher.Sink, tell func(State)) error {
	ready := f.backend.anyReady()
	switch {
	case ready:
		tell(Ready)
		f.told = true
	case f.told: // it was ready once: what fails now may be mended
	case f.settled && f.hope:
		tell(Waiting)
		f.told = true
	case f.settled:
		return notServed(sinks)
	}
	return nil
}

// notServed joins why sinks with an image are not served.
func notServed(sinks []dispatcher.Sink) error {
	var errs []error
	for _, sink := range sinks {
		if sink.Pending != "" {
			errs = append(errs, &dispatcher.SinkError{Sink: sink.Key(), Err: errors.New(sink.Pending)})
		}
	}
	return errors.Join(errs...)
}

// watchPaths returns what a change of may change the sinks: manifests and
// programs.
func (f *files) watchPaths(sinks []dispatcher.Sink) []string {
	paths := append([]string(nil), f.paths...)
	for _, p := range f.paths {
		// A manifest in a folder may be a link to a file elsewhere.
		if entries, err := os.ReadDir(p); err == nil {
			for _, e := range entries {
				if e.Type()&os.ModeSymlink != 0 {
					paths = append(paths, filepath.Join(p, e.Name()))
				}
			}
		}
	}
	for _, sink := range sinks {
		if sink.Image == "" { // an image never changes
			paths = append(paths, sink.Program)
		}
	}
	return paths
}
