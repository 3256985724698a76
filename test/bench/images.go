// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"kontain.dev/eventing/vmexec"
)

// holdHandler is a function in Python that holds its event, as bench hold does.
const holdHandler = `import json, sys, time
json.loads("{}")
d = json.load(sys.stdin)
started = time.time_ns()
time.sleep(d["data"]["hold"] / 1000)
print(json.dumps({"started": started, "ended": time.time_ns()}))
`

// sharingClones is how many clones of one image are alive at once when their memory is
// looked at.
const sharingClones = 100

// imageCase is an image whose cold path is measured.
type imageCase struct {
	name, tag string
	data      string // an event's
	err       error

	firstRun, againRun          []float64 // kontain run --image
	noImage, noSnapshot, onDisk []float64 // kontain serve, from its start to the first reply
	cached                      int64     // bytes in the cache
	used                        usage     // memory of the receiver and its workers after the first reply
	unseen                      error     // why it is not known
	saved                       int64     // bytes of snapshots
}

// images measures what it takes until a container image answers its first event, from
// a registry on this machine, and what clones of one image share.
func (b *bench) images(ctx context.Context) (err error) {
	if !b.have(vmexec.Auto, "image") {
		return nil
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	i := &imageBench{bench: b, registry: strings.TrimPrefix(server.URL, "http://"), dir: filepath.Join(b.dir, "image")}
	if err := os.Mkdir(i.dir, 0o750); err != nil {
		return err
	}
	all, waits := i.build(ctx)
	for range b.times(5) {
		for _, c := range all {
			if c.err == nil {
				c.err = i.round(ctx, c)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	for _, c := range all {
		if c.err != nil {
			b.report.skip("image, "+c.name, c.err)
			continue
		}
		line := b.report.add("kontain run --image, not in the cache, "+c.name, c.firstRun, nil)
		line.Note = fmt.Sprintf("from a registry on this machine; %s in the cache", mebibytes(float64(c.cached)))
		line.Figures = map[string]float64{"cacheBytes": float64(c.cached)}
		b.report.add("… in the cache", c.againRun, nil)
		line = b.report.add("kontain serve to the first reply, no image and no snapshot, "+c.name, c.noImage, nil)
		line.Note = fmt.Sprintf("from the start of the receiver; %s of snapshots", mebibytes(float64(c.saved)))
		line.Figures = map[string]float64{"snapshotBytes": float64(c.saved)}
		if c.unseen != nil {
			line.Note += "; memory not seen: " + c.unseen.Error()
		} else {
			line.Note += fmt.Sprintf("; then %s RSS, %s PSS in %d processes", mebibytes(float64(c.used.rss)), mebibytes(float64(c.used.pss)), c.used.processes)
			line.Figures["rssBytes"], line.Figures["pssBytes"] = float64(c.used.rss), float64(c.used.pss)
		}
		b.report.add("… image in the cache, no snapshot", c.noSnapshot, nil)
		b.report.add("… image and snapshot on disk", c.onDisk, nil)
	}
	return i.share(ctx, waits)
}

// imageBench has what images are measured with.
type imageBench struct {
	*bench
	registry string // HOST:PORT
	dir      string
}

// command runs kontain with an image cache and the registry of this run.
func (i *imageBench) command(ctx context.Context, cache string, stdin []byte, args ...string) ([]byte, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, i.kontain(), args...)
	cmd.Env = append(i.environment(), "KONTAIN_IMAGE_DIR="+cache)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kontain %s: %w: %s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out.Bytes(), nil
}

// build makes the images and sends them to the registry: those whose cold path is
// measured, and one whose events take a while.
func (i *imageBench) build(ctx context.Context) (all []*imageCase, waits *imageCase) {
	cache := filepath.Join(i.dir, "made")
	made := func(name, source, base string, files map[string]string, more int, data string) *imageCase {
		c := &imageCase{name: name, tag: i.registry + "/" + source + ":1", data: data}
		dir := filepath.Join(i.dir, source)
		if c.err = os.Mkdir(dir, 0o750); c.err != nil {
			return c
		}
		for file, text := range files {
			c.err = errors.Join(c.err, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644)) //nolint:gosec // All users of the image read it.
		}
		if more > 0 {
			random := make([]byte, more)
			_, _ = rand.Read(random)                                                                // it never fails
			c.err = errors.Join(c.err, os.WriteFile(filepath.Join(dir, "data.bin"), random, 0o644)) //nolint:gosec // As above.
		}
		if c.err != nil {
			return c
		}
		args := []string{"build", dir, "-t", c.tag, "--push", "--insecure-registry", i.registry, "-q"}
		if base != "" {
			args = append(args, "--base", base)
		}
		_, c.err = i.command(ctx, cache, nil, args...)
		return c
	}
	sample, err := sampleFiles("uppercase-go", "main.go")
	if err == nil {
		sample["go.mod"] = "module uppercase\n\ngo 1.24\n"
	}
	golang := made("Go", "go", "", sample, 0, eventData)
	golang.err = errors.Join(err, golang.err)
	const base = "localhost/python"
	_, err = exec.LookPath("python3")
	if err == nil {
		_, err = i.command(ctx, cache, nil, "image", "import", "--from-host", "python3", "-t", base)
	}
	if err != nil {
		return []*imageCase{golang, {name: "Python", err: err}}, &imageCase{err: err}
	}
	all = []*imageCase{
		golang,
		made("Python", "python", base, map[string]string{"handler.py": pythonHandler}, 0, eventData),
		made("Python with 150 MB more", "python-large", base, map[string]string{"handler.py": pythonHandler}, 150_000_000, eventData),
	}
	return all, made("Python that waits", "python-hold", base, map[string]string{"handler.py": holdHandler}, 0, `{"hold":0}`)
}

func sampleFiles(sample string, names ...string) (map[string]string, error) {
	dir, err := sourceDir("..", "..", "samples", sample)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	return files, nil
}

// round measures each way once, from empty caches on.
func (i *imageBench) round(ctx context.Context, c *imageCase) error {
	cache, snapshots := filepath.Join(i.dir, "cache"), filepath.Join(i.dir, "snapshots")
	forget := func(dirs ...string) error {
		var errs []error
		for _, dir := range dirs {
			errs = append(errs, removeAll(dir))
		}
		return errors.Join(errs...)
	}
	event := strings.Replace(eventJSON, eventData, c.data, 1)
	timeRun := func(to *[]float64) error {
		start := time.Now()
		out, err := i.command(ctx, cache, []byte(event), "run", "--insecure-registry", i.registry, "--image", c.tag)
		if err == nil && len(out) == 0 {
			err = fmt.Errorf("%s answered nothing", c.tag)
		}
		*to = append(*to, float64(time.Since(start)))
		return err
	}
	timeServe := func(to *[]float64) error {
		sinks, err := i.sinkOf(c, "Process", 0)
		if err != nil {
			return err
		}
		r, err := i.serve(ctx, sinks, vmexec.Auto, "--insecure-registry", i.registry, "--image-dir", cache, "--snapshot-dir", snapshots)
		if err != nil {
			return err
		}
		err = r.ready(ctx, time.Minute)
		for deadline := time.Now().Add(time.Minute); err == nil; time.Sleep(time.Millisecond) {
			// Until its image is there the sink answers 503.
			if _, _, err = postTo(ctx, http.DefaultClient, r.url("image"), c.data); err == nil || time.Now().After(deadline) {
				break
			}
			err = nil
		}
		took := time.Since(r.started)
		*to = append(*to, float64(took))
		if err == nil {
			var workers []int
			if workers, err = descendants(r.pid); err == nil {
				c.used, c.unseen = usageOf(append(workers, r.pid))
			}
		}
		if err == nil { // the snapshot is saved while events are served
			err = awaitFile(ctx, snapshots)
		}
		if err == nil {
			c.saved, err = diskUsage(snapshots)
		}
		return errors.Join(err, r.stop())
	}
	for _, step := range []func() error{
		func() error { return forget(cache, snapshots) },
		func() error { return timeRun(&c.firstRun) },
		func() (err error) { c.cached, err = diskUsage(cache); return err },
		func() error { return timeRun(&c.againRun) },
		func() error { return forget(cache, snapshots) },
		func() error { return timeServe(&c.noImage) },
		func() error { return forget(snapshots) },
		func() error { return timeServe(&c.noSnapshot) },
		func() error { return timeServe(&c.onDisk) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// sinkOf writes the manifest of a sink with an image and returns its folder.
func (i *imageBench) sinkOf(c *imageCase, tier string, concurrency int) (string, error) {
	dir := filepath.Join(i.dir, "sinks")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	more := map[string]any{"isolation": tier, "snapshot": map[string]any{"mode": "Ready", "storage": "Disk"}}
	if concurrency > 0 {
		more["concurrency"], more["timeout"] = concurrency, "2m"
		more["queue"] = map[string]any{"length": concurrency, "timeout": "1m"}
		more["resources"] = map[string]any{"limits": map[string]any{"memory": "64Mi"}}
	}
	return dir, writeSink(dir, "image", map[string]any{
		"image": c.tag, "contract": map[string]any{"type": "stdio"}, "reply": map[string]any{"type": "bench.reply", "source": "/bench"},
	}, more)
}

// awaitFile waits until there is a snapshot in a folder.
func awaitFile(ctx context.Context, dir string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(dir, "*.snapshot"))
		switch {
		case err != nil || len(files) > 0:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("no snapshot is in %s after 20 s", dir)
		}
	}
}

// share measures what clones of one image share: pages that they only read are in
// memory once.
func (i *imageBench) share(ctx context.Context, c *imageCase) (err error) {
	clones := sharingClones
	if i.repeat < 1 {
		clones /= 10
	}
	name := fmt.Sprintf("%d clones of a Python image at once", clones)
	if c.err != nil {
		i.report.skip(name, c.err)
		return nil
	}
	if !i.have(vmexec.KVM, name) {
		return nil
	}
	sinks, err := i.sinkOf(c, "VM", clones)
	if err != nil {
		return err
	}
	r, err := i.serve(ctx, sinks, vmexec.KVM, "--insecure-registry", i.registry, "--image-dir", filepath.Join(i.dir, "made"), "--memory", "8Gi")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.ready(ctx, time.Minute); err != nil {
		return err
	}
	var h *held
	for hold := burstHold; ; hold *= 2 {
		if h, err = holdAll(ctx, r, r.url("image"), clones, hold, true); err != nil {
			return err
		}
		if hold >= burstLongest || h.note == "" && h.inFlight+len(h.refused) >= clones {
			break
		}
	}
	line := i.report.add(name+", until all are in flight", []float64{float64(h.took)}, nil)
	line.Figures = map[string]float64{"inFlight": float64(h.inFlight), "refused": float64(len(h.refused))}
	if h.note != "" {
		line.Note = h.note
		return nil
	}
	each := uint64(h.all.processes)
	line.Figures["rssBytesEach"], line.Figures["pssBytesEach"] = float64(h.all.rss/each), float64(h.all.pss/each)
	line.Note = fmt.Sprintf("of each process (%d workers and the receiver) %s RSS, %s PSS: the rest is shared; %s of the machine's memory each",
		h.all.processes-1, mebibytes(float64(h.all.rss/each)), mebibytes(float64(h.all.pss/each)), mebibytes(float64(h.machine)))
	return nil
}

// diskUsage adds up the sizes of files.
func diskUsage(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// removeAll removes a folder, also one with folders that their owner may not write to.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // Folders need the bit to be entered; the error is RemoveAll's.
		}
		return nil
	})
	return os.RemoveAll(dir)
}
