// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package programs makes the program of a source ready to run: it gets its image, and
// makes its machines.
package programs

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/source"
)

// Maker is where the programs of sources come from.
type Maker struct {
	// Images is where container images come from; nil: sources with one do not run.
	Images server.Images
	// Machines gives what the machines of a program come from. *server.Engine has one.
	Machines *server.Engine
}

// Program is the program of a source, which is closed once the source does not run any
// more.
type Program struct {
	// Image is what its reference means, NAME@sha256:DIGEST; empty without one.
	Image string

	machines lease.Source
	image    io.Closer
}

// Make makes the program of a source ready, and sets it in c. function is what the source
// has in common with a sink; see manifest.Source.Function. An image is waited for until
// ctx is done. The error says why the program cannot run.
func (m *Maker) Make(ctx context.Context, spec *v1alpha1.KontainSourceSpec, function server.Sink, c *source.Config, log *slog.Logger) (_ *Program, err error) {
	p := &Program{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	function.State = spec.StateLimit()
	if spec.ConcurrencyPolicy == v1alpha1.ConcurrencyAllow {
		function.Queue.Concurrency = v1alpha1.MaxConcurrentRuns
	}
	if spec.Continuous {
		// It is started seldom, so that nothing is prepared for that, and runs as long as it
		// likes.
		function.Streams, function.Snapshot, function.Disk = source.StreamDescriptors(), false, false
		function.Limits.Wall, function.IdleTime = 0, 0
	}
	image, err := function.Fetch(ctx, m.Images)
	if err != nil {
		return nil, err
	}
	if image != nil {
		p.image, p.Image = image, function.ImageDigest
	}
	contract, err := server.NewContract(function.Sink)
	if err != nil {
		return nil, err
	}
	if p.machines, err = m.Machines.Source(function.Sink); err != nil {
		return nil, err
	}
	if spec.Continuous {
		c.Stream = &source.Streams{Source: p.machines, Contract: contract, Logger: log}
	} else {
		c.Program = &source.Machines{Source: p.machines, Contract: contract, Logger: log}
	}
	return p, nil
}

// Machines describes where the machines come from.
func (p *Program) Machines() lease.Stats { return p.machines.Stats() }

// Close frees what the program holds.
func (p *Program) Close() error {
	var errs []error
	if p.machines != nil {
		errs = append(errs, p.machines.Close())
	}
	if p.image != nil {
		errs = append(errs, p.image.Close())
	}
	return errors.Join(errs...)
}
