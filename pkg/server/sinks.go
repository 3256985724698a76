// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/stdio"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/manifest"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/vmexec"
)

// manifestSink is a sink as its manifest has it, before its image is known.
type manifestSink struct {
	dispatcher.Sink
	policy        image.Policy // when the registry of Image is asked
	command, args []string     // in place of the image's
}

// load reads the sinks of all paths. A path without any sink is an error only
// when all are.
func load(paths []string) ([]manifestSink, error) {
	var sinks []manifestSink
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
			sinks = append(sinks, toSink(m))
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

// toSink takes from a manifest, whose defaults are set, what the data plane
// needs.
func toSink(m manifest.Sink) manifestSink {
	spec := m.Spec
	s := dispatcher.Sink{
		Namespace: m.Namespace,
		Name:      m.Name,
		Program:   m.ProgramPath(),
		ProgramID: fileID(m.ProgramPath()),
		Root:      m.RootPath(),
		Args:      spec.Args,
		Contract:  string(spec.Contract.Type),
		Platform:  vmexec.Kind(strings.ToLower(string(spec.Platform))),
		Snapshot:  spec.Snapshot.Mode == v1alpha1.SnapshotReady,
		Disk:      spec.Snapshot.Mode == v1alpha1.SnapshotReady && spec.Snapshot.Storage == v1alpha1.SnapshotDisk,
		Tier:      lease.Tier(spec.Isolation),
		IdleTime:  spec.IdleTimeout.Duration,
		Limits: vmexec.Limits{
			Memory: uint64(spec.Resources.Limits.Memory.Value()),
			Wall:   spec.Timeout.Duration,
		},
		Queue: queue.Config{
			Concurrency: int(*spec.Concurrency),
			Length:      int(*spec.Queue.Length),
			Timeout:     spec.Queue.Timeout.Duration,
		},
		Reply: contract.ReplySettings{
			Type:       "dev.kontain." + m.Name + ".reply",
			Source:     fmt.Sprintf("/apis/%s/namespaces/%s/kontainsinks/%s", m.APIVersion, m.Namespace, m.Name),
			Extensions: spec.Reply.Extensions,
		},
	}
	if s.Queue.Timeout == 0 {
		// An event that may wait for no time has no use for a place.
		s.Queue.Length = 0
	}
	for _, e := range spec.Env {
		s.Env = append(s.Env, e.Name+"="+e.Value)
	}
	// Under the Kontain monitor there is no file with the event.
	if spec.Contract.Type == v1alpha1.ContractStdio && spec.Platform != v1alpha1.PlatformKM {
		s.Env = stdio.WithPath(s.Env)
	}
	for _, e := range spec.Snapshot.Warmup {
		s.Warmup = append(s.Warmup, e.Raw)
	}
	if spec.Reply.Type != nil {
		s.Reply.Type = *spec.Reply.Type
	}
	if spec.Reply.Source != nil {
		s.Reply.Source = *spec.Reply.Source
	}
	if spec.Image == "" {
		return manifestSink{Sink: s}
	}
	s.Image, s.ProgramID, s.Args = m.ImageReference(), "", nil
	return manifestSink{Sink: s, policy: image.Policy(spec.ImagePullPolicy), command: spec.Command, args: spec.Args}
}

// Sinks reads the sinks of all paths; see manifest.Load.
func Sinks(paths []string) ([]dispatcher.Sink, error) {
	read, err := load(paths)
	var sinks []dispatcher.Sink
	for _, s := range read {
		sinks = append(sinks, s.Sink)
	}
	return sinks, err
}

// Machines returns what the machines of a sink are made from.
func Machines(s dispatcher.Sink) (lease.Spec, error) {
	if s.Image != "" && s.Program == "" {
		return lease.Spec{}, fmt.Errorf("its image %s is not fetched; `kontain serve` does that and makes the snapshot", s.Image)
	}
	warmup, err := warmupInputs(s)
	return lease.Spec{
		Program: s.Program, Root: s.Root, Name: s.Argv0, Args: s.Args, Env: s.Env, Dir: s.Dir, Limits: s.Limits,
		Snapshot: s.Snapshot, Disk: s.Disk, Tag: snapshotTag(s.Contract, warmup), Warmup: warmup,
		Tier: s.Tier, Concurrency: s.Queue.Concurrency, IdleTime: s.IdleTime,
	}, err
}

// warmupInputs returns the events that warm a sink up as its program reads them.
func warmupInputs(s dispatcher.Sink) ([][]byte, error) {
	if len(s.Warmup) == 0 {
		return nil, nil
	}
	c, err := newContract(s)
	if err != nil {
		return nil, err
	}
	var inputs [][]byte
	for i, raw := range s.Warmup {
		e, err := event.DecodeJSON(raw)
		if err != nil {
			return nil, fmt.Errorf("snapshot.warmup[%d]: %w", i, err)
		}
		in, err := c.Input(e)
		if err != nil {
			return nil, fmt.Errorf("snapshot.warmup[%d]: %w", i, err)
		}
		inputs = append(inputs, in.Stdin)
	}
	return inputs, nil
}

// snapshotTag stands for what of a manifest a snapshot depends on beside the
// program and its limits.
func snapshotTag(contract string, warmup [][]byte) string {
	h := sha256.New()
	for _, w := range warmup {
		fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return contract + "/" + hex.EncodeToString(h.Sum(nil)[:16])
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

// newContract makes the contract of a sink.
func newContract(s dispatcher.Sink) (contract.Contract, error) {
	if s.Contract != "stdio" {
		return nil, fmt.Errorf("the contract %q is not available in this release; write contract: {type: stdio}", s.Contract)
	}
	return stdio.New(stdio.Config{Reply: s.Reply}), nil
}
