// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/manifest"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// Sink is a sink as its author has it, before its image is known.
type Sink struct {
	dispatcher.Sink
	// Policy is when the registry of Image is asked.
	Policy image.Policy
	// Scope is who asks for the image; see image.Request.
	Scope string
	// Round tells apart the times that a reference is resolved: another one asks again.
	Round string

	command, args []string // in place of the image's
}

func (s *Sink) imageKey() imageKey { return imageKey{s.Image, s.Policy, s.Scope, s.Round} }

// load reads the sinks of all paths. A path without any sink is an error only
// when all are.
func load(paths []string) ([]Sink, error) {
	var sinks []Sink
	var errs []error
	var none error
	for _, path := range paths {
		read, err := manifest.Load(path)
		switch {
		case errors.Is(err, manifest.ErrNoSinks):
			none = err
		case err != nil:
			errs = append(errs, err)
		}
		for _, m := range read {
			sinks = append(sinks, FromManifest(m))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(sinks) == 0 {
		return nil, none
	}
	return sinks, nil
}

// FromManifest takes from a manifest, whose defaults are set, what the data plane
// needs.
func FromManifest(m manifest.Sink) Sink {
	s := FromKontainSink(m.KontainSink)
	if s.Image != "" {
		s.Image = m.ImageReference()
		return s
	}
	s.Program, s.ProgramID, s.Root, s.Args = m.ProgramPath(), fileID(m.ProgramPath()), m.RootPath(), m.Spec.Args
	return s
}

// FromKontainSink takes from an object, whose defaults are set, what the data plane
// needs. Values of variables that are elsewhere are left out.
func FromKontainSink(k *v1alpha1.KontainSink) Sink {
	spec := k.Spec
	s := dispatcher.Sink{
		Namespace: k.Namespace,
		Name:      k.Name,
		Image:     spec.Image,
		Platform:  vmexec.Kind(strings.ToLower(string(spec.Platform))),
		Snapshot:  spec.Snapshot.Mode == v1alpha1.SnapshotReady,
		Disk:      spec.Snapshot.Mode == v1alpha1.SnapshotReady && spec.Snapshot.Storage == v1alpha1.SnapshotDisk,
		Tier:      lease.Tier(spec.Isolation),
		IdleTime:  spec.IdleTimeout.Duration,
		Egress:    spec.Egress,
		Limits: vmexec.Limits{
			Memory: uint64(spec.Resources.Limits.Memory.Value()),
			Wall:   spec.Timeout.Duration,
		},
		Queue: queue.Config{
			Concurrency: int(*spec.Concurrency),
			Length:      int(*spec.Queue.Length),
			Timeout:     spec.Queue.Timeout.Duration,
		},
		Contract: contract.Config{
			Spec: spec.Contract, Namespace: k.Namespace, Name: k.Name,
			Reply: contract.ReplySettings{
				Type:       "dev.kontain." + k.Name + ".reply",
				Source:     fmt.Sprintf("/apis/%s/namespaces/%s/kontainsinks/%s", v1alpha1.SchemeGroupVersion, k.Namespace, k.Name),
				Extensions: spec.Reply.Extensions,
			},
			Timeout: spec.Timeout.Duration, Memory: uint64(spec.Resources.Limits.Memory.Value()), MaxReply: vmexec.DefaultOutput,
		},
	}
	if s.Queue.Timeout == 0 {
		// An event that may wait for no time has no use for a place.
		s.Queue.Length = 0
	}
	for _, e := range spec.Env {
		if e.ValueFrom == nil {
			s.Env = append(s.Env, e.Name+"="+e.Value)
		}
	}
	for _, e := range spec.Snapshot.Warmup {
		s.Warmup = append(s.Warmup, e.Raw)
	}
	if spec.Reply.Type != nil {
		s.Contract.Reply.Type = *spec.Reply.Type
	}
	if spec.Reply.Source != nil {
		s.Contract.Reply.Source = *spec.Reply.Source
	}
	return Sink{Sink: s, Policy: image.Policy(spec.ImagePullPolicy), command: spec.Command, args: spec.Args}
}

// Sinks reads the sinks of all paths for which wanted says so; see manifest.Load. Those
// with an image are as they are served: it is got from images, and stays there until
// release is called.
func Sinks(ctx context.Context, paths []string, images Images, wanted func(dispatcher.Sink) bool) (sinks []dispatcher.Sink, release func() error, err error) {
	var held []*image.Image
	release = func() error {
		var errs []error
		for _, i := range held {
			errs = append(errs, i.Close())
		}
		return errors.Join(errs...)
	}
	read, err := load(paths)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range read {
		if !wanted(s.Sink) {
			continue
		}
		i, err := s.Fetch(ctx, images)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("sink %s: %w", s.Key(), err), release())
		}
		held = append(held, i)
		sinks = append(sinks, s.Sink)
	}
	return sinks, release, nil
}

// Fetch gets the image of a sink, and completes that with what it holds. It waits, and does
// not try again. The image stays there until it is closed; it is nil for a sink that has
// none.
func (s *Sink) Fetch(ctx context.Context, images Images) (*image.Image, error) {
	switch {
	case s.Image == "":
		return nil, nil
	case images == nil:
		return nil, errNoImages
	}
	i, err := images.Get(ctx, image.Request{Ref: s.Image, Policy: s.Policy, Scope: s.Scope})
	if err != nil {
		return nil, err
	}
	if err := s.Complete(i); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// Machines returns what the machines of a sink are made from.
func Machines(s dispatcher.Sink) (lease.Spec, error) {
	if s.Image != "" && s.Program == "" {
		return lease.Spec{}, fmt.Errorf("its image %s is not fetched", s.Image)
	}
	spec := lease.Spec{
		Scope: s.Namespace, Program: s.Program, Root: s.Root, Owners: s.Owners, User: s.User, Name: s.Argv0, Args: s.Args, Env: s.Env, Dir: s.Dir, Limits: s.Limits,
		State: s.State, Streams: s.Streams,
		Snapshot: s.Snapshot, Disk: s.Disk, Secret: s.Secret, Egress: s.Egress, Tier: s.Tier, Concurrency: s.Queue.Concurrency, IdleTime: s.IdleTime,
	}
	c, err := NewContract(s)
	if err != nil {
		return spec, err
	}
	if t, ok := c.(contract.Talker); ok {
		spec.Ready = t.Ready
	}
	if t, ok := c.(contract.Streamer); ok {
		spec.Streams = t.Streams()
	} else if len(s.Streams) > 0 {
		// It is talked to from its start, and nothing is said before.
		spec.Ready = func(context.Context, *talk.Side) error { return nil }
	}
	// Under the Kontain monitor there is no file with the event, of which contract stdio
	// tells.
	if s.Platform != platformKM {
		spec.Env = environment(s.Env, c)
	}
	if start := started(c, spec.Env); start != nil && spec.Dir == "" {
		spec.Dir = start.Dir
	}
	if spec.Warmup, err = warmups(c, s.Warmup); err != nil {
		return spec, err
	}
	spec.Tag, err = snapshotTag(s, c)
	return spec, err
}

// environment is that of a program: what its contract has as long as env does not say
// otherwise, env, and what it must find.
func environment(env []string, c contract.Contract) []string {
	var told []string
	if t, ok := c.(contract.Teller); ok {
		told = t.Told()
	}
	all := without(without(c.Env(), env), told)
	return append(append(all, without(env, told)...), told...)
}

// without returns those of vars, NAME=value, whose names others has not.
func without(vars, others []string) []string {
	has := map[string]bool{}
	for _, v := range others {
		name, _, _ := strings.Cut(v, "=")
		has[name] = true
	}
	var left []string
	for _, v := range vars {
		if name, _, _ := strings.Cut(v, "="); !has[name] {
			left = append(left, v)
		}
	}
	return left
}

// started returns how a program is started, if its contract finds that in the root.
func started(c contract.Contract, env []string) *contract.Start {
	if t, ok := c.(contract.Starter); ok {
		return t.Start(env)
	}
	return nil
}

// warmups returns the events that warm a sink up in the form that its program takes.
func warmups(c contract.Contract, events [][]byte) ([]lease.Warmup, error) {
	var all []lease.Warmup
	for i, raw := range events {
		e, err := event.DecodeJSON(raw)
		if err != nil {
			return nil, fmt.Errorf("snapshot.warmup[%d]: %w", i, err)
		}
		in, err := c.Input(e)
		if err != nil {
			return nil, fmt.Errorf("snapshot.warmup[%d]: %w", i, err)
		}
		w := lease.Warmup{Event: in.Stdin}
		if t, ok := c.(contract.Talker); ok {
			w.Talk = func(ctx context.Context, s *talk.Side) error {
				o, err := t.Talk(ctx, s, e)
				if err == nil && o.Failure != nil {
					err = o.Failure
				}
				return err
			}
		}
		all = append(all, w)
	}
	return all, nil
}

// snapshotTag stands for what of a manifest a snapshot depends on beside the
// program and its limits: what is said to it before, and what warms
// it up. What one namespace's programs have in memory is not for another's.
func snapshotTag(s dispatcher.Sink, c contract.Contract) (string, error) {
	said, err := json.Marshal(s.Contract.Spec)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(said), said)
	if t, ok := c.(contract.Tagger); ok {
		more := t.Tag()
		fmt.Fprintf(h, "%d:%s", len(more), more)
	}
	for _, w := range s.Warmup {
		fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	for _, e := range s.Egress { // what it has read from there
		fmt.Fprintf(h, "egress %d:%s", len(e), e)
	}
	return s.Namespace + "/" + string(s.Contract.Spec.Type) + "/" + hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// fileID returns a text that changes when the file does, as when a program is
// built anew.
func fileID(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "unreadable"
	}
	var dev, ino uint64
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		dev, ino = st.Dev, st.Ino
	}
	return fmt.Sprintf("%d:%d:%d:%d", dev, ino, info.Size(), info.ModTime().UnixNano())
}
