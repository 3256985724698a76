// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Registries says how registries are reached. The zero value is HTTPS with the
// machine's certificates and the credentials of `docker login`.
type Registries struct {
	// Insecure lists the registries (HOST or HOST:PORT) that are also spoken to
	// by HTTP or without a check of their certificate. No other is, not even on
	// this machine.
	Insecure []string
	// CAFile holds certificates (PEM) that are trusted besides the machine's, and CA
	// more of them.
	CAFile string
	CA     []byte
	// Mirrors are asked before the registry they stand for: "docker.io" to
	// "mirror.example:5000" or "mirror.example/hub". They get no say in what a
	// digest means, but in what a tag does.
	Mirrors map[string]string
	// Keychain finds credentials; nil is that of docker's configuration files.
	Keychain authn.Keychain
	// Backoff is how failures that may pass are tried again; zero: three times,
	// 1 s and 3 s apart.
	Backoff remote.Backoff
	// Stall is how long a transfer may stand still; zero: a minute.
	Stall time.Duration
}

// client speaks to registries.
type client struct {
	Registries
	transport http.RoundTripper
}

func newClient(r Registries) (*client, error) {
	if r.Keychain == nil {
		r.Keychain = authn.DefaultKeychain
	}
	if r.Backoff.Steps == 0 {
		r.Backoff = remote.Backoff{Duration: time.Second, Factor: 3, Jitter: 0.1, Steps: 3}
	}
	if r.Stall <= 0 {
		r.Stall = time.Minute
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if r.CAFile != "" {
		pem, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificates of registries: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates of registries: %s holds none in PEM form", r.CAFile)
		}
	}
	if len(r.CA) > 0 && !roots.AppendCertsFromPEM(r.CA) {
		return nil, errors.New("certificates of registries: there are none in PEM form")
	}
	base := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	lax := base.Clone()
	lax.TLSClientConfig.InsecureSkipVerify = true // for the registries that the operator named, and no other
	return &client{r, &guard{strict: base, lax: lax, insecure: r.Insecure}}, nil
}

func (c *client) close() {
	if g, ok := c.transport.(*guard); ok {
		g.strict.CloseIdleConnections()
		g.lax.CloseIdleConnections()
	}
}

// guard keeps to HTTPS with checked certificates except for named registries,
// whatever redirects and challenges say, and bounds answers that are read into
// memory.
type guard struct {
	strict, lax *http.Transport
	insecure    []string
}

// errInsecure says that a registry would be spoken to by HTTP.
var errInsecure = errors.New("plain HTTP is only used for registries that are named as insecure")

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	t := g.strict
	if slices.Contains(g.insecure, r.URL.Host) {
		t = g.lax
	} else if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s: %w", r.URL.Host, errInsecure)
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// A blob may be had from another host by a redirect: what is asked there
	// follows r.Response.
	if !strings.Contains(r.URL.Path, "/blobs/") && r.Response == nil {
		resp.Body = &boundedBody{resp.Body, maxManifestBytes}
	}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, tooLarge("a registry's answer has more than %d bytes", maxManifestBytes)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (c *client) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(c.transport), remote.WithAuthFromKeychain(c.Keychain),
		remote.WithRetryBackoff(c.Backoff), remote.WithUserAgent("kontain"),
	}
}

// prepare marks a reference as insecure when its registry is listed.
func (c *client) prepare(ref name.Reference) (name.Reference, error) {
	if !slices.Contains(c.Insecure, ref.Context().RegistryStr()) {
		return ref, nil
	}
	return name.ParseReference(ref.Name(), name.Insecure)
}

// mirrors returns the references to ask in turn, the registry's own last.
func (c *client) mirrors(ref name.Reference) ([]name.Reference, error) {
	var list []name.Reference
	for host, mirror := range c.Mirrors {
		if host == "docker.io" {
			host = name.DefaultRegistry
		}
		if host != ref.Context().RegistryStr() {
			continue
		}
		text := strings.TrimSuffix(mirror, "/") + "/" + ref.Context().RepositoryStr()
		if _, ok := ref.(name.Digest); ok {
			text += "@" + ref.Identifier()
		} else {
			text += ":" + ref.Identifier()
		}
		m, err := name.ParseReference(text)
		if err != nil {
			return nil, fmt.Errorf("mirror %s of %s: %w", mirror, host, err)
		}
		list = append(list, m)
	}
	list = append(list, ref)
	for i := range list {
		var err error
		if list[i], err = c.prepare(list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// remoteSource is an image in a registry.
type remoteSource struct {
	client *client
	refs   []name.Reference // mirrors first
	ref    name.Reference   // that answered
}

func (c *client) source(ref name.Reference) (*remoteSource, error) {
	refs, err := c.mirrors(ref)
	return &remoteSource{client: c, refs: refs}, err
}

func (s *remoteSource) head(ctx context.Context) (v1.Descriptor, []byte, error) {
	var errs []error
	for _, ref := range s.refs {
		d, err := remote.Get(ref, s.client.options(ctx)...)
		if err == nil {
			s.ref = ref
			return d.Descriptor, d.Manifest, nil
		}
		errs = append(errs, registryError(ref, err))
	}
	return v1.Descriptor{}, nil, errors.Join(errs...)
}

func (s *remoteSource) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	ref := s.ref.Context().Digest(d.Digest.String())
	got, err := remote.Get(ref, s.client.options(ctx)...)
	if err != nil {
		return nil, registryError(ref, err)
	}
	return got.Manifest, nil
}

func (s *remoteSource) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	ref := s.ref.Context().Digest(d.Digest.String())
	ctx, cancel := context.WithCancelCause(ctx)
	layer, err := remote.Layer(ref, s.client.options(ctx)...)
	var body io.ReadCloser
	if err == nil {
		body, err = layer.Compressed()
	}
	if err != nil {
		cancel(nil)
		return nil, registryError(ref, err)
	}
	stall := s.client.Stall
	return &stallReader{
		ReadCloser: body, ctx: ctx, cancel: cancel, after: stall,
		timer: time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %v", stall)) }),
	}, nil
}

// stallReader gives up a transfer that stands still.
type stallReader struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	after  time.Duration
	timer  *time.Timer
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && s.ctx.Err() != nil {
		err = context.Cause(s.ctx)
	}
	s.timer.Reset(s.after)
	return n, err
}

func (s *stallReader) Close() error {
	s.timer.Stop()
	err := s.ReadCloser.Close()
	s.cancel(nil)
	return err
}

// Failures of a registry that trying again does not mend.
var (
	// ErrNotFound says that there is no such image.
	ErrNotFound = errors.New("there is no such image")
	// ErrDenied says that the registry wants other credentials.
	ErrDenied = errors.New("the registry refuses access")
)

// registryError gives an answer of a registry a name. Its text keeps what the
// registry said.
func registryError(ref name.Reference, err error) error {
	where := strings.Replace(ref.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
	var t *transport.Error
	if errors.As(err, &t) {
		switch t.StatusCode {
		case http.StatusNotFound:
			return fmt.Errorf("%s: %w: %s", where, ErrNotFound, clip(t.Error()))
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%s: %w (docker login, or the file that DOCKER_CONFIG leads to, has the credentials): %s", where, ErrDenied, clip(t.Error()))
		}
	}
	return fmt.Errorf("%s: %w", where, err)
}

// Temporary says whether an error of Store.Get may be gone at the next attempt.
func Temporary(err error) bool {
	var layer *LayerError
	return err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDenied) && !errors.Is(err, ErrNotCached) &&
		!errors.Is(err, ErrTooLarge) && !errors.Is(err, errInsecure) && !errors.As(err, &layer) && !errors.Is(err, ErrBadImage)
}
