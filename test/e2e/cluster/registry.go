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

// PrivateRegistry is the address of the same registry for those who have a name and a
// password: others are refused.
func (c *Cluster) PrivateRegistry() string { return c.privateRegistry }

// Who may read at PrivateRegistry.
const (
	RegistryUser     = "reader"
	RegistryPassword = "kept-secret"
)

func (c *Cluster) startRegistry(ctx context.Context) error {
	all := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var err error
	if c.registry, err = serve(ctx, all); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	c.privateRegistry, err = serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != RegistryUser || password != RegistryPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
			return
		}
		all.ServeHTTP(w, r)
	}))
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
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
