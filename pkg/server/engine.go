// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"log/slog"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// Engine makes machines for those who have no Backend. Its methods may be called from
// several goroutines.
type Engine struct {
	hosts  *platforms
	source func(dispatcher.Sink) (lease.Source, error)
}

// NewEngine returns an Engine with host for all that do not ask for another platform by
// name, which must stay open until the Engine is closed. Of options, Cells and NoCells are
// those of jail.
func NewEngine(host *vmexec.Host, options lease.Options, jail Jail, log *slog.Logger) *Engine {
	options.Cells, options.NoCells = jail.Cells, jail.NoCells
	p := &platforms{base: host, open: vmexec.Open, logger: log, options: options}
	return &Engine{hosts: p, source: p.source(jail, "source")}
}

// Source returns where the machines of s come from, whose image is there. It never is a
// weaker platform, or a lower level of the jail, than was asked for.
func (e *Engine) Source(s dispatcher.Sink) (lease.Source, error) { return e.source(s) }

// Close closes what the Engine has opened. Every source must be closed before.
func (e *Engine) Close() error { return e.hosts.close() }
