// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
)

// Images is where sinks get container images from. *image.Store is one.
type Images interface {
	Get(context.Context, image.Request) (*image.Image, error)
}

// How failed pulls are tried again: after firstPull, then after twice as long
// each time, at most mostPull apart.
const (
	firstPull = 5 * time.Second
	mostPull  = 5 * time.Minute
)

// errNoImages says that no sink can have an image.
var errNoImages = errors.New("there is no image cache here")

// imageKey is what sinks share a pull of.
type imageKey struct {
	ref    string
	policy image.Policy
}

// pull is the state of one image.
type pull struct {
	cancel  context.CancelFunc
	image   *image.Image // nil until it is there
	err     error        // of the last attempt
	attempt int          // that failed
	next    time.Duration
}

// images gets the images of sinks, away from the requests, and keeps those that
// sinks want. A reference is resolved once for as long as a sink has it.
type images struct {
	store   Images
	log     *slog.Logger
	first   time.Duration // between attempts; 0: firstPull
	changed chan struct{} // a pull succeeded or failed

	mu    sync.Mutex
	pulls map[imageKey]*pull
	done  sync.WaitGroup
}

func newImages(store Images, log *slog.Logger, first time.Duration) *images {
	if first <= 0 {
		first = firstPull
	}
	return &images{store: store, log: log, first: first, changed: make(chan struct{}, 1), pulls: map[imageKey]*pull{}}
}

func (im *images) notify() {
	select {
	case im.changed <- struct{}{}:
	default:
	}
}

// want begins the pulls of images that sinks ask for, and ends the others.
func (im *images) want(ctx context.Context, sinks []manifestSink) {
	im.mu.Lock()
	defer im.mu.Unlock()
	wanted := map[imageKey]bool{}
	for _, s := range sinks {
		if s.Image == "" {
			continue
		}
		key := imageKey{s.Image, s.policy}
		if wanted[key] = true; im.pulls[key] != nil {
			continue
		}
		p := &pull{}
		im.pulls[key] = p
		if im.store == nil {
			p.err = errNoImages
			continue
		}
		var pullCtx context.Context
		pullCtx, p.cancel = context.WithCancel(ctx)
		im.done.Go(func() { im.run(pullCtx, key, p) })
	}
	for key, p := range im.pulls {
		if !wanted[key] {
			delete(im.pulls, key)
			p.end(im.log)
		}
	}
}

// end gives up what a pull got or will get. im.mu is held.
func (p *pull) end(log *slog.Logger) {
	if p.cancel != nil {
		p.cancel()
	}
	if err := p.image.Close(); err != nil {
		log.Error("image not closed", "error", err)
	}
	p.image = nil
}

// run pulls until it succeeds or nobody wants the image any more.
func (im *images) run(ctx context.Context, key imageKey, p *pull) {
	log := im.log.With("image", key.ref)
	for wait := im.first; ; wait = min(2*wait, mostPull) {
		start := time.Now()
		log.Info("getting image", "policy", key.policy)
		got, err := im.store.Get(ctx, image.Request{Ref: key.ref, Policy: key.policy})
		im.mu.Lock()
		if ctx.Err() != nil {
			im.mu.Unlock()
			if e := got.Close(); e != nil {
				log.Error("image not closed", "error", e)
			}
			return
		}
		p.image, p.err = got, err
		if err != nil {
			p.attempt++
			p.next = wait
		}
		im.mu.Unlock()
		if err == nil {
			log.Info("image ready", "digest", got.Digest, "took", time.Since(start).Round(time.Millisecond))
			im.notify()
			return
		}
		log.Error("image not to be had", "error", err, "next", wait)
		im.notify()
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// fill completes a sink with what its image holds, or says why it is not ready.
// settled is false until the image is there or failed once, and hope says that
// one which failed may still come.
func (im *images) fill(s *manifestSink) (settled, hope bool) {
	im.mu.Lock()
	defer im.mu.Unlock()
	p := im.pulls[imageKey{s.Image, s.policy}]
	switch {
	case p == nil || p.image == nil && p.err == nil:
		s.Pending = fmt.Sprintf("its image %s is being fetched", s.Image)
		return false, true
	case p.image == nil && p.attempt > 0:
		s.Pending = fmt.Sprintf("its image cannot be had (attempt %d, the next %v later): %v", p.attempt, p.next, p.err)
		return true, image.Temporary(p.err)
	case p.image == nil:
		s.Pending = fmt.Sprintf("its image %s cannot be had: %v", s.Image, p.err)
		return true, false
	}
	process, err := p.image.Process(s.command, s.args, s.Env)
	if err != nil {
		s.Pending = fmt.Sprintf("its image %s: %v", s.Image, err)
		return true, false
	}
	s.Image, s.ImageDigest = p.image.Ref, p.image.Digest
	s.Root = p.image.Root
	s.Program = filepath.Join(p.image.Root, process.Path)
	s.ProgramID = p.image.Manifest
	s.Argv0, s.Args, s.Env, s.Dir = process.Args[0], process.Args[1:], process.Env, process.Dir
	return true, false
}

// hold keeps the image that a root belongs to for as long as the returned
// function is not called.
func (im *images) hold(root string) (func() error, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	for _, p := range im.pulls {
		if p.image != nil && p.image.Root == root {
			held, err := p.image.Share()
			return held.Close, err
		}
	}
	return nil, fmt.Errorf("the image at %s is no longer wanted", root)
}

// close ends all pulls and gives the images back.
func (im *images) close() {
	im.want(context.Background(), nil)
	im.done.Wait()
}

// source makes the machines of a sink, and keeps its image meanwhile.
func (s *Server) source(sink dispatcher.Sink) (lease.Source, error) {
	if sink.Image == "" {
		return s.config.Source(sink)
	}
	release, err := s.images.hold(sink.Root)
	if err != nil {
		return nil, err
	}
	source, err := s.config.Source(sink)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &heldSource{source, release}, nil
}

type heldSource struct {
	lease.Source
	release func() error
}

func (h *heldSource) Close() error { return errors.Join(h.Source.Close(), h.release()) }
