// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"kontain.dev/eventing/test/e2e/cluster/sandbox"
)

// Registry is the address, host:port, of the registry that functions are
// pushed to and pulled from, over HTTP. Pods reach it too.
func (c *Cluster) Registry() string { return c.registry }

func (c *Cluster) startRegistry(ctx context.Context) error {
	address, err := serve(ctx, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	c.registry = address
	return nil
}

// serve serves HTTP on the node until the context ends, and returns host:port.
func serve(ctx context.Context, h http.Handler) (string, error) {
	l, err := net.Listen("tcp", sandbox.Gateway+":0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }() // Until it is closed.
	return l.Addr().String(), nil
}
