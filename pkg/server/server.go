// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package server is the receiver: it serves sinks over HTTP, and changes them while
// events run. Where the sinks come from is an Origin's affair: here they are read from
// files, again when the files change; package cluster has those of a Kubernetes cluster.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/receiver"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/vmexec"
)

// Defaults and bounds of the HTTP server.
const (
	DefaultListen       = "127.0.0.1:8080"
	DefaultQuietPeriod  = 250 * time.Millisecond
	DefaultDrainTimeout = 45 * time.Second

	readHeaderTimeout = 10 * time.Second
	readTimeout       = time.Minute // where the receiver sets none of its own
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 128 << 10
	lastWords         = 2 * time.Second // for responses to killed events

	// ahead is how many sinks are made ready before their first event. With few sinks
	// it is then as fast as any other. With thousands their programs would have to be
	// started, and their machines made, for events that may never come.
	ahead = 32
)

// Config says what to serve and how. A zero field means its default.
type Config struct {
	// Paths are files or folders with KontainSinks: at least one, unless the sinks come
	// from another Origin.
	Paths []string
	// Origin is where sinks come from; nil: Paths.
	Origin Origin
	// Listen is the address to listen on, HOST:PORT; port 0 picks a free one.
	Listen string
	// TLS, when set, has events taken on the address ListenTLS as well.
	TLS       *tls.Config
	ListenTLS string
	// ListenProbes is an address for /healthz and /readyz, and for what Probes answers,
	// away from the events. Empty: only Listen has them.
	ListenProbes string
	Probes       http.Handler
	// Metrics, when set, is told of events and answers on the address ListenMetrics.
	Metrics       Metrics
	ListenMetrics string
	// Wrap, when set, goes around the handler of events of each listener.
	Wrap func(next http.Handler, secure bool) http.Handler
	// Host runs the machines of sinks that do not ask for another platform by
	// name. It must stay open until Run returns. With an Origin there may be none: each
	// sink then has to name its platform.
	Host *vmexec.Host
	// Snapshots keeps the snapshots of sinks that have them on disk; nil keeps all
	// in memory.
	Snapshots *snapshots.Store
	// Worker is the path of kontain-worker, which runs the machines in processes of
	// their own. Without it they are in this process, and sinks with isolation Process
	// are not served.
	Worker string
	// Jail is what holds of those processes.
	Jail Jail
	// Memory is the most bytes that all machines reserve together. Default
	// DefaultMemory.
	Memory uint64
	// NoEgress: no sink is served whose programs would connect to the network outside,
	// and nothing is there that could.
	NoEgress bool
	// Source replaces how machines are made; nil makes them on Host as the sink
	// asks.
	Source func(dispatcher.Sink) (lease.Source, error)
	// Images is where container images come from; nil: sinks with one are not
	// served.
	Images Images
	// PullBackoff is the time before a failed pull is tried again, the first
	// time; 0 means 5 s.
	PullBackoff time.Duration
	// Receiver bounds requests.
	Receiver receiver.Options
	// QuietPeriod is how long no request may have come in before a drain
	// closes the listener. Where others route requests here it must be longer
	// than they take to notice that /readyz fails.
	QuietPeriod time.Duration
	// DrainTimeout is the longest time a drain takes. Events that run longer
	// are killed and answered with 503.
	DrainTimeout time.Duration
	// Logger gets changes and failures.
	Logger *slog.Logger
}

// Metrics is told of events, and answers those who ask for metrics.
// *observability.Metrics is one.
type Metrics interface {
	dispatcher.Observer
	// Watch sets where counts come from.
	Watch(stats func() []dispatcher.Stats)
	// Refused counts requests whose events no sink was given; see receiver.Options.
	Refused(namespace, name string, f *reply.Failure)
	Handler() http.Handler
}

// Jail says how worker processes are kept from what is none of their business. The zero
// value is its first level, which is always there.
type Jail struct {
	// Cells are where they run, which is the second level. They must stay open until
	// Run returns.
	Cells *cell.Cells
	// NoCells is why there are none, if they were wanted. With Required no sink is
	// served then.
	NoCells  error
	Required bool
}

// DefaultMemory returns four fifths of the memory that this process and those that
// it starts may use: what a cgroup allows, or what the machine has. The rest is for
// the receiver itself, and for what each machine needs beside its guest's memory.
func DefaultMemory() uint64 {
	limit, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if system, sysErr := memlimit.FromSystem(); err != nil || sysErr == nil && system < limit {
		limit = system
	}
	return limit / 5 * 4
}

// State is how far an Origin is.
type State int

const (
	// Known: all sinks that there are now are known to the Backend, so that an event for
	// another is for none.
	Known State = iota
	// Waiting: no sink is ready, and it takes something else to make one ready.
	Waiting
	// Ready: events can be taken.
	Ready
)

// Origin is where sinks come from.
type Origin interface {
	// Run brings the sinks of b to what the origin has, again with each change, until ctx
	// is done. It tells Known first, before which no event is taken. The error ends the
	// server, after a drain.
	Run(ctx context.Context, b *Backend, tell func(State)) error
}

// Server serves sinks over HTTP.
type Server struct {
	config    Config
	origin    Origin
	backend   *Backend
	endpoints []*endpoint // that take events
	probes    *endpoint   // nil: the others answer them
	metrics   *endpoint   // nil: there are none

	known    atomic.Bool
	ready    atomic.Bool
	draining atomic.Bool
	started  atomic.Int64  // requests for sinks so far
	knownCh  chan struct{} // closed when known
	readyCh  chan struct{} // closed when ready, or known to wait
	told     sync.Once     // of readyCh
}

// endpoint is a listener with what it serves.
type endpoint struct {
	listener net.Listener
	server   *http.Server
}

func (e *endpoint) serve() error {
	serve := e.server.Serve
	if e.server.TLSConfig != nil {
		serve = func(l net.Listener) error { return e.server.ServeTLS(l, "", "") }
	}
	if err := serve(e.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", e.listener.Addr(), err)
	}
	return nil
}

// New opens the listeners, and reads the manifests of Config.Paths: the error names file,
// line and field when one is wrong. The caller must call Run.
func New(c Config) (_ *Server, err error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.QuietPeriod <= 0 {
		c.QuietPeriod = DefaultQuietPeriod
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.Receiver.Logger == nil {
		c.Receiver.Logger = c.Logger
	}
	if c.Metrics != nil {
		c.Receiver.Refused = c.Metrics.Refused
	}
	s := &Server{origin: c.Origin, knownCh: make(chan struct{}), readyCh: make(chan struct{})}
	if s.backend, err = newBackend(&c); err != nil {
		return nil, err
	}
	s.config = c
	if s.origin == nil {
		if s.origin, err = newFiles(c.Paths, c.Logger); err != nil {
			return nil, err
		}
	}
	var events http.Handler = receiver.New(s.backend, c.Receiver)
	if c.Wrap == nil {
		c.Wrap = func(next http.Handler, _ bool) http.Handler { return next }
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeListeners())
		}
	}()
	open := func(address string, secure bool) error {
		e, err := s.open(address, s.mux(s.count(c.Wrap(events, secure))))
		if err != nil {
			return err
		}
		if secure {
			e.server.TLSConfig = c.TLS
		}
		s.endpoints = append(s.endpoints, e)
		return nil
	}
	if err := open(c.Listen, false); err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if err := open(c.ListenTLS, true); err != nil {
			return nil, err
		}
	}
	if c.ListenProbes != "" {
		other := c.Probes
		if other == nil {
			other = http.NotFoundHandler()
		}
		if s.probes, err = s.open(c.ListenProbes, s.mux(other)); err != nil {
			return nil, err
		}
	}
	if c.Metrics != nil {
		c.Metrics.Watch(s.backend.Stats)
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", c.Metrics.Handler())
		if s.metrics, err = s.open(c.ListenMetrics, mux); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// mux answers probes before all else.
func (s *Server) mux(other http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.healthz)
	mux.HandleFunc("/readyz", s.readyz)
	mux.Handle("/", other)
	return mux
}

func (s *Server) open(address string, h http.Handler) (*endpoint, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return &endpoint{listener, &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}}, nil
}

// closeListeners closes those that are not served.
func (s *Server) closeListeners() error {
	var errs []error
	for _, e := range append(s.endpoints, s.probes, s.metrics) {
		if e != nil {
			errs = append(errs, e.listener.Close())
		}
	}
	return errors.Join(errs...)
}

// Addr returns the address that the server takes events on.
func (s *Server) Addr() net.Addr { return s.endpoints[0].listener.Addr() }

// ProbeAddr returns the address that probes are answered on.
func (s *Server) ProbeAddr() net.Addr {
	if s.probes == nil {
		return s.Addr()
	}
	return s.probes.listener.Addr()
}

// MetricsAddr returns the address that metrics are asked for on; nil without it.
func (s *Server) MetricsAddr() net.Addr {
	if s.metrics == nil {
		return nil
	}
	return s.metrics.listener.Addr()
}

// TLSAddr returns the address that the server takes events on over TLS; nil without it.
func (s *Server) TLSAddr() net.Addr {
	if len(s.endpoints) < 2 {
		return nil
	}
	return s.endpoints[1].listener.Addr()
}

// Ready is closed when sinks are served, or when it is known that their images
// must be waited for.
func (s *Server) Ready() <-chan struct{} { return s.readyCh }

// Stats returns a snapshot of every sink.
func (s *Server) Stats() []dispatcher.Stats { return s.backend.Stats() }

// tell takes over how far the origin is.
func (s *Server) tell(state State) {
	switch state {
	case Known:
		if !s.known.Swap(true) {
			close(s.knownCh)
		}
		return
	case Ready:
		s.ready.Store(true)
	case Waiting:
	}
	s.told.Do(func() { close(s.readyCh) })
}

// Run serves until ctx is done, then drains: readiness fails at once, requests
// are still taken until none came for the quiet period, what runs is finished,
// and only then everything is closed. It returns nil when no event was cut
// short. It may be called once.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.backend.close()) }()
	originCtx, stop := context.WithCancel(ctx)
	defer stop()
	var background sync.WaitGroup
	ended := make(chan error, 1)
	background.Go(func() { ended <- s.origin.Run(originCtx, s.backend, s.tell) })
	serving := 0
	served := make(chan error, len(s.endpoints)+2)
	serve := func(e *endpoint) {
		serving++
		background.Go(func() { served <- e.serve() })
	}
	for _, e := range s.about() {
		serve(e)
	}
	// No event is taken before it is known which sinks there are.
	select {
	case <-s.knownCh:
		for _, e := range s.endpoints {
			serve(e)
		}
		select {
		case <-ctx.Done():
		case err = <-served:
			serving--
		case err = <-ended:
		}
	case <-ctx.Done():
	case err = <-served:
		serving--
	case err = <-ended:
	}
	// The origin goes on meanwhile: what it brings is of use to events that still come.
	err = errors.Join(err, s.drain(context.WithoutCancel(ctx)))
	stop()
	background.Wait()
	for range serving {
		err = errors.Join(err, <-served)
	}
	return errors.Join(err, drainErrors(ended))
}

// drainErrors returns the error of an origin that ended after the drain began, if any.
func drainErrors(ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	default:
		return nil
	}
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch {
	case s.draining.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "shutting down")
	case !s.ready.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "starting")
	default:
		fmt.Fprintln(w, "ok")
	}
}

// count notes requests for sinks, so that a drain can tell when they cease.
func (s *Server) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.started.Add(1)
		if s.draining.Load() {
			// The next request of this sender goes elsewhere.
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// drain ends the service. Knative's handlers.Drainer is not used: it waits
// without limit as long as requests come, and knows probes by their user agent.
func (s *Server) drain(ctx context.Context) error {
	s.config.Logger.Info("draining", "quietPeriod", s.config.QuietPeriod, "timeout", s.config.DrainTimeout)
	s.draining.Store(true)
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.DrainTimeout, fmt.Errorf("the drain took longer than %v", s.config.DrainTimeout))
	defer cancel()
	if s.known.Load() {
		s.waitQuiet(ctx)
	}
	shutdownErr := s.shutdown(ctx)
	// When the time is up this kills what runs.
	err := s.backend.dispatcher.Close(ctx)
	if shutdownErr != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		if s.shutdown(last) != nil {
			for _, e := range s.endpoints {
				err = errors.Join(err, e.server.Close())
			}
		}
		if err == nil {
			err = fmt.Errorf("connections were cut: %w", context.Cause(ctx))
		}
	}
	for _, e := range s.about() {
		err = errors.Join(err, e.server.Close())
	}
	s.config.Logger.Info("drained")
	return err
}

// about returns what tells about the server, from its start to its end.
func (s *Server) about() (all []*endpoint) {
	for _, e := range []*endpoint{s.probes, s.metrics} {
		if e != nil {
			all = append(all, e)
		}
	}
	return all
}

// shutdown closes the listeners that take events, and waits for the requests that run.
func (s *Server) shutdown(ctx context.Context) error {
	errs := make(chan error, len(s.endpoints))
	for _, e := range s.endpoints {
		go func() { errs <- e.shutdown(ctx) }()
	}
	var err error
	for range s.endpoints {
		err = errors.Join(err, <-errs)
	}
	return err
}

// shutdown closes a listener, also one that was never served, and waits for its requests.
func (e *endpoint) shutdown(ctx context.Context) error {
	err := e.server.Shutdown(ctx)
	if closed := e.listener.Close(); closed != nil && !errors.Is(closed, net.ErrClosed) {
		err = errors.Join(err, closed)
	}
	return err
}

// waitQuiet returns when no request came for the quiet period. Senders that
// never cease may take half of the time that the drain has.
func (s *Server) waitQuiet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.config.DrainTimeout/2)
	defer cancel()
	for seen := int64(-1); ; {
		now := s.started.Load()
		if now == seen {
			return
		}
		seen = now
		t := time.NewTimer(s.config.QuietPeriod)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
