// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// platforms are the hosts that sinks run on: that of the server, and those that
// sinks ask for by name.
type platforms struct {
	base    *vmexec.Host
	open    func(vmexec.Kind) (*vmexec.Host, error)
	logger  *slog.Logger
	options lease.Options

	mu    sync.Mutex
	named map[vmexec.Kind]*vmexec.Host
	staff map[*vmexec.Host]*lease.Workers
}

// workers returns what makes machines on the host for what a sink asks for.
func (p *platforms) workers(kind vmexec.Kind) (*lease.Workers, error) {
	host, err := p.host(kind)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.staff[host]
	if w == nil {
		if p.staff == nil {
			p.staff = map[*vmexec.Host]*lease.Workers{}
		}
		w = lease.NewWorkers(host, p.options)
		p.staff[host] = w
	}
	return w, nil
}

// host returns the host for what a sink asks for. A sink that asks for KVM never
// runs on a weaker platform.
func (p *platforms) host(kind vmexec.Kind) (*vmexec.Host, error) {
	if p.base != nil && (kind == "" || kind == vmexec.Auto || kind == p.base.Kind()) {
		return p.base, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.named[kind]; h != nil {
		return h, nil
	}
	h, err := p.open(kind)
	if err != nil {
		return nil, fmt.Errorf("the sink asks for platform %s: %w", kind, err)
	}
	if kind == vmexec.Ptrace {
		p.logger.Warn("a sink asks for platform ptrace: its program is isolated as a process is, not by a virtual machine")
	}
	if p.named == nil {
		p.named = map[vmexec.Kind]*vmexec.Host{}
	}
	p.named[kind] = h
	return h, nil
}

// close ends the workers and closes the hosts that were opened here. Every
// source must be closed before.
func (p *platforms) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.staff {
		w.Close()
	}
	p.staff = nil
	var errs []error
	for _, h := range p.named {
		errs = append(errs, h.Close())
	}
	p.named = nil
	return errors.Join(errs...)
}
