// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
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

// How many images are pulled at once, and how many of them for one scope: what is in the
// cache already waits for no turn.
const (
	mostPulls = 16
	eachPulls = 4
)

// errNoImages says that no sink can have an image.
var errNoImages = errors.New("there is no image cache here")

// imageKey is what sinks share a pull of.
type imageKey struct {
	ref    string
	policy image.Policy
	scope  string
	round  string
}

// pull is the state of one image.
type pull struct {
	cancel context.CancelFunc
	sinks  map[string]struct{} // that want it
	image  *image.Image        // nil until it is there
	err    error               // of the last attempt
	again  bool                // it is tried again
}

// images gets the images of sinks, away from the requests, and keeps those that
// sinks want. A reference is resolved once for as long as a sink has it.
type images struct {
	store Images
	log   *slog.Logger
	first time.Duration // between attempts; 0: firstPull
	turns *turns

	mu      sync.Mutex
	changed func(sinks []string) // a pull for these succeeded or failed; may be nil
	pulls   map[imageKey]*pull
	wants   map[string]imageKey // what each sink wants
	done    sync.WaitGroup
}

func newImages(store Images, log *slog.Logger, first time.Duration) *images {
	if first <= 0 {
		first = firstPull
	}
	return &images{store: store, log: log, first: first, turns: newTurns(mostPulls, eachPulls), pulls: map[imageKey]*pull{}, wants: map[string]imageKey{}}
}

// watch sets what is told of pulls that succeeded or failed.
func (im *images) watch(changed func(sinks []string)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.changed = changed
}

// want begins the pull of the image that a sink asks for, unless it has begun, and ends
// that of the image it asked for before.
func (im *images) want(ctx context.Context, s *Sink) {
	im.mu.Lock()
	defer im.mu.Unlock()
	sink, key := s.Key(), s.imageKey()
	before, had := im.wants[sink]
	if had && before == key {
		return
	}
	p := im.pulls[key]
	if p == nil {
		p = im.begin(ctx, key, im.pulls[before])
	}
	p.sinks[sink] = struct{}{}
	im.wants[sink] = key
	if had {
		im.unwant(sink, before)
	}
}

// begin begins a pull. One that had the same image under a name gives it to the one by
// digest: no registry is asked again for what it has just said. im.mu is held.
func (im *images) begin(ctx context.Context, key imageKey, before *pull) *pull {
	p := &pull{sinks: map[string]struct{}{}}
	im.pulls[key] = p
	if im.store == nil {
		p.err = errNoImages
		return p
	}
	if before != nil && before.image != nil && pinned(before.image) == fullReference(key.ref) {
		if shared, err := before.image.Share(); err == nil {
			p.image = shared
			return p
		}
	}
	ctx, p.cancel = context.WithCancel(ctx)
	im.done.Go(func() { im.run(ctx, key, p) })
	return p
}

// pinned returns an image's reference by digest; empty when it has none.
func pinned(i *image.Image) string {
	if i == nil {
		return ""
	}
	r, err := image.ParseReference(i.Ref)
	if err != nil {
		return ""
	}
	return r.At(i.Digest)
}

// fullReference returns a reference in full; empty when it is none.
func fullReference(ref string) string {
	r, err := image.ParseReference(ref)
	if err != nil {
		return ""
	}
	return r.String()
}

// unwant ends the pull that no sink wants any more. im.mu is held.
func (im *images) unwant(sink string, key imageKey) {
	p := im.pulls[key]
	delete(p.sinks, sink)
	if len(p.sinks) == 0 {
		delete(im.pulls, key)
		p.end(im.log)
	}
}

// forget ends what a sink wants.
func (im *images) forget(sink string) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if key, had := im.wants[sink]; had {
		delete(im.wants, sink)
		im.unwant(sink, key)
	}
}

// keep ends what sinks want that are not among these.
func (im *images) keep(sinks map[string]bool) {
	im.mu.Lock()
	defer im.mu.Unlock()
	for sink, key := range im.wants {
		if !sinks[sink] {
			delete(im.wants, sink)
			im.unwant(sink, key)
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
		got, err := im.get(ctx, key)
		im.mu.Lock()
		if ctx.Err() != nil {
			im.mu.Unlock()
			if e := got.Close(); e != nil {
				log.Error("image not closed", "error", e)
			}
			return
		}
		p.image, p.err = got, err
		p.again = err != nil
		tell, sinks := im.changed, slices.Collect(maps.Keys(p.sinks))
		im.mu.Unlock()
		if err == nil {
			log.Info("image ready", "digest", got.Digest, "took", time.Since(start).Round(time.Millisecond))
		} else {
			log.Error("image not to be had", "error", err, "next", wait)
		}
		if tell != nil {
			tell(sinks)
		}
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// get gets an image: at once where it is in the cache, else when it is its turn.
func (im *images) get(ctx context.Context, key imageKey) (*image.Image, error) {
	r := image.Request{Ref: key.ref, Policy: key.policy, Scope: key.scope}
	if key.policy == image.IfNotPresent {
		r.Policy = image.Never
		if got, err := im.store.Get(ctx, r); !errors.Is(err, image.ErrNotCached) {
			return got, err
		}
		r.Policy = key.policy
	}
	if key.policy != image.Never {
		give, err := im.turns.take(ctx, key.scope)
		if err != nil {
			return nil, err
		}
		defer give()
	}
	return im.store.Get(ctx, r)
}

// Fetched is how far the image of a sink is.
type Fetched struct {
	// Settled is false until the image is there or could not be had once.
	Settled bool
	// Hope says that an image which could not be had may still come.
	Hope bool
	// Image is the image by digest, REPOSITORY@sha256:DIGEST, also of one that has not
	// the program; empty until it is there, and for images of no registry.
	Image string
}

// fill completes a sink with what its image holds, or says in s.Pending why it is not
// ready.
func (im *images) fill(s *Sink) Fetched {
	im.mu.Lock()
	defer im.mu.Unlock()
	p := im.pulls[s.imageKey()]
	switch {
	case p == nil || p.image == nil && p.err == nil:
		s.Pending = fmt.Sprintf("its image %s is being fetched", s.Image)
		return Fetched{Hope: true}
	case p.image == nil && p.again:
		s.Pending = fmt.Sprintf("its image cannot be had, and is tried again at least every %v: %s", mostPull, steady(p.err))
		return Fetched{Settled: true, Hope: image.Temporary(p.err)}
	case p.image == nil:
		s.Pending = fmt.Sprintf("its image %s cannot be had: %v", s.Image, p.err)
		return Fetched{Settled: true}
	}
	if err := s.Complete(p.image); err != nil {
		s.Pending = err.Error()
	}
	return Fetched{Settled: true, Image: pinned(p.image)}
}

// localAddress is this end of a connection in an error of package net.
var localAddress = regexp.MustCompile(`[0-9A-Fa-f.:\[\]]+->`)

// steady returns the text of a failed pull without what differs from one attempt to the
// next: it becomes part of an object's status, each change of which every watcher hears.
func steady(err error) string { return localAddress.ReplaceAllString(err.Error(), "") }

// Complete sets what a sink has of its image. The error says why it cannot run.
func (s *Sink) Complete(i *image.Image) error {
	start, err := s.start(i)
	if err != nil {
		return fmt.Errorf("its image %s: %w", s.Image, err)
	}
	command, args := s.command, s.args
	if start != nil && len(command) == 0 {
		if len(start.Command) == 0 {
			return fmt.Errorf("its image %s: what its contract reads there names no program; write command", s.Image)
		}
		command, args = start.Command[:1], slices.Concat(start.Command[1:], s.args)
	}
	process, err := i.Process(command, args, s.Env)
	if err != nil {
		return fmt.Errorf("its image %s: %w", s.Image, err)
	}
	if start != nil {
		process.Dir = start.Dir
	}
	s.Image, s.ImageDigest = i.Ref, i.Digest
	s.Root, s.Owners, s.User = i.Root, i.Owners, vmexec.User(process.User)
	s.Program = filepath.Join(i.Root, process.Path)
	s.ProgramID = i.Manifest
	s.Argv0, s.Args, s.Env, s.Dir = process.Args[0], process.Args[1:], process.Env, process.Dir
	return nil
}

// start returns what the contract finds in an image of how its program is started.
func (s *Sink) start(i *image.Image) (*contract.Start, error) {
	in := s.Sink
	in.Root = i.Root
	c, err := NewContract(in)
	if err != nil {
		return nil, err
	}
	return started(c, environment(slices.Concat(i.Config.Env, s.Env), c)), nil
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
	im.keep(nil)
	im.done.Wait()
}

// source makes the machines of a sink, and keeps its image meanwhile.
func (b *Backend) source(sink dispatcher.Sink) (lease.Source, error) {
	if sink.Image == "" {
		return b.machines(sink)
	}
	release, err := b.images.hold(sink.Root)
	if err != nil {
		return nil, err
	}
	source, err := b.machines(sink)
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
