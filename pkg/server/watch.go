// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How changes are gathered: an editor or a mounted ConfigMap changes several
// names in a row, and a half-written state is better not read.
const (
	debounce     = 200 * time.Millisecond // of quiet before files are read again
	mostDebounce = 2 * time.Second        // in folders that are never quiet
	pollInterval = 5 * time.Second        // where the kernel cannot tell of changes
)

// watcher tells of changes below folders. Folders are watched rather than
// files: programs replace a file by renaming another over it, and a mounted
// ConfigMap replaces a symbolic link beside the files.
type watcher struct {
	notify  *fsnotify.Watcher // nil: poll
	watched []string
	kick    <-chan struct{} // something else changed; may be nil
	log     *slog.Logger
}

func newWatcher(log *slog.Logger) *watcher {
	w := &watcher{log: log}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		w.poll(err)
	}
	return w
}

// poll gives up notifications.
func (w *watcher) poll(err error) {
	w.log.Warn("the kernel does not tell of changed files; they are looked at every "+pollInterval.String(), "error", err)
	w.close()
}

func (w *watcher) close() {
	if w.notify != nil {
		if err := w.notify.Close(); err != nil {
			w.log.Error("file watcher not closed", "error", err)
		}
		w.notify = nil
	}
}

// folders returns where a change of one of the files or folders can show: the
// folder itself, those that hold it, and those that symbolic links lead to.
func folders(paths []string) []string {
	var dirs []string
	add := func(dir string) {
		if dir, err := filepath.Abs(dir); err == nil {
			dirs = append(dirs, dir)
		}
	}
	for _, p := range paths {
		add(p) // refused below when it is a file
		add(filepath.Dir(p))
		if target, err := filepath.EvalSymlinks(p); err == nil && target != p {
			add(target)
			add(filepath.Dir(target))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// watch makes the folders of these paths the watched ones.
func (w *watcher) watch(paths []string) {
	if w.notify == nil {
		return
	}
	want := folders(paths)
	for _, dir := range w.watched {
		if !slices.Contains(want, dir) {
			_ = w.notify.Remove(dir) // it may be gone already
		}
	}
	w.watched = want
	// Adding one that is watched already renews it: another folder may now
	// have its name.
	for _, dir := range want {
		if !isDir(dir) {
			continue
		}
		if err := w.notify.Add(dir); err != nil {
			w.poll(err)
			return
		}
	}
}

// run calls changed after each series of changes, until ctx is done. changed
// returns the paths to watch from then on.
func (w *watcher) run(ctx context.Context, changed func() []string) {
	defer w.close()
	for {
		if !w.wait(ctx) {
			return
		}
		w.watch(changed())
	}
}

// wait returns true after a series of changes, and false when ctx is done.
func (w *watcher) wait(ctx context.Context) bool {
	if w.notify == nil {
		t := time.NewTimer(pollInterval)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case <-w.kick:
			return true
		}
	}
	var quiet, most <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet:
			return true
		case <-most:
			return true
		case <-w.kick:
			return true
		case err := <-w.notify.Errors:
			// Such as an overflow: something changed, unknown what.
			w.log.Warn("file watcher", "error", err)
		case <-w.notify.Events:
		}
		quiet = time.After(debounce)
		if most == nil {
			most = time.After(mostDebounce)
		}
	}
}
