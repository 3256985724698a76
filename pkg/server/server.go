// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package server is the receiver without Kubernetes: sinks are read from files,
// served over HTTP, and changed when the files change.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/manifest"
	"kontain.dev/eventing/pkg/receiver"
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

	// manySinks is from how many on what reading them took is worth to be given back
	// to the kernel at once: with ten thousand it is as much as all else.
	manySinks = 1000
)

// Config says what to serve and how. A zero field means its default.
type Config struct {
	// Paths are files or folders with KontainSinks. At least one.
	Paths []string
	// Listen is the address to listen on, HOST:PORT; port 0 picks a free one.
	Listen string
	// Host runs the machines of sinks that do not ask for another platform by
	// name. It must stay open until Run returns.
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

// Server serves sinks from files.
type Server struct {
	config     Config
	hosts      *platforms
	images     *images
	dispatcher *dispatcher.Dispatcher
	listener   net.Listener
	http       *http.Server

	ready     atomic.Bool
	draining  atomic.Bool
	started   atomic.Int64 // requests for sinks so far
	lastError string       // of the last reload; owned by the goroutine that loads
	settled   bool         // every image was there or had failed at the last reload; as lastError
	hope      bool         // of those that were not there one may still come; as lastError
	readyCh   chan struct{}
	failed    chan error // no sink is served, and none will be
}

// New reads the manifests and opens the listener. The error names file, line
// and field when a manifest is wrong. The caller must call Run.
func New(c Config) (*Server, error) {
	if len(c.Paths) == 0 {
		return nil, errors.New("no file or folder with sinks is given")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	hosts := new(platforms)
	if c.Source == nil {
		if c.Host == nil {
			return nil, errors.New("no platform to run programs on is given")
		}
		if c.Memory == 0 {
			c.Memory = DefaultMemory()
		}
		hosts.base, hosts.open, hosts.logger = c.Host, vmexec.Open, c.Logger
		hosts.options = lease.Options{Store: c.Snapshots, Memory: lease.NewMemory(c.Memory), Worker: c.Worker, Cells: c.Jail.Cells, NoCells: c.Jail.NoCells}
		c.Source = func(s dispatcher.Sink) (lease.Source, error) {
			if c.Jail.Required && s.Platform == platformKM {
				return nil, errors.New("the jail of level 2, which is asked for, is not to be had with platform KM: that program is no worker process of this receiver")
			}
			if s.Platform == platformKM {
				return kmSource(s, hosts.options.Memory, c.Logger)
			}
			if c.Jail.Required && c.Jail.Cells == nil {
				return nil, fmt.Errorf("the jail of level 2, which is asked for, is not to be had: %w", c.Jail.NoCells)
			}
			workers, err := hosts.workers(s.Platform)
			if err != nil {
				return nil, err
			}
			spec, err := Machines(s)
			if err != nil {
				return nil, err
			}
			return workers.New(spec, c.Logger.With("sink", s.Key()))
		}
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
	if _, err := load(c.Paths); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Listen, err)
	}
	s := &Server{
		config:   c,
		hosts:    hosts,
		images:   newImages(c.Images, c.Logger, c.PullBackoff),
		listener: listener,
		readyCh:  make(chan struct{}),
		failed:   make(chan error, 1),
	}
	s.dispatcher = dispatcher.New(dispatcher.Options{Source: s.source, Contract: NewContract, Ahead: ahead, Logger: c.Logger})
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.healthz)
	mux.HandleFunc("/readyz", s.readyz)
	mux.Handle("/", s.count(receiver.New(s.dispatcher, c.Receiver)))
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Ready is closed when sinks are served, or when it is known that their images
// must be waited for.
func (s *Server) Ready() <-chan struct{} { return s.readyCh }

// Stats returns a snapshot of every sink.
func (s *Server) Stats() []dispatcher.Stats { return s.dispatcher.Stats() }

// Run serves until ctx is done, then drains: readiness fails at once, requests
// are still taken until none came for the quiet period, what runs is finished,
// and only then everything is closed. It returns nil when no event was cut
// short. It may be called once.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.hosts.close()) }()
	// Watching begins before the files are read, so that no change is missed.
	w := newWatcher(s.config.Logger)
	w.kick = s.images.changed
	w.watch(s.config.Paths)
	watchCtx, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	defer s.images.close()
	sinks, err := s.reload(watchCtx)
	// Images may take their time: it is the requests that are then told so.
	if len(sinks) == 0 || !s.anyReady() && !s.hope {
		w.close()
		return errors.Join(err, notServed(sinks), s.listener.Close(), s.dispatcher.Close(context.WithoutCancel(ctx)))
	}
	w.watch(s.watchPaths(sinks))

	var background sync.WaitGroup
	served := make(chan error, 1)
	background.Go(func() { served <- s.http.Serve(s.listener) })
	s.settle(sinks)
	background.Go(func() {
		w.run(watchCtx, func() []string {
			sinks, _ := s.reload(watchCtx) // reload logs its errors
			s.settle(sinks)
			return s.watchPaths(sinks)
		})
	})

	select {
	case <-ctx.Done():
		err = s.drain(context.WithoutCancel(ctx))
	case err = <-served:
		err = errors.Join(fmt.Errorf("serve on %s: %w", s.Addr(), err), s.drain(context.WithoutCancel(ctx)))
	case err = <-s.failed:
		err = errors.Join(err, s.drain(context.WithoutCancel(ctx)))
	}
	stopWatching()
	background.Wait()
	return err
}

// reload reads the files and makes the sinks in them what is served. What is
// wrong is logged once, and leaves what is served as it is. It returns the
// sinks as the files have them.
func (s *Server) reload(ctx context.Context) ([]dispatcher.Sink, error) {
	read, err := load(s.config.Paths)
	if errors.Is(err, manifest.ErrNoSinks) && s.foldersOnly() {
		// The last manifest was taken out of a folder. In a single file it
		// would rather be an editor that has not written it yet.
		err = nil
	}
	var sinks []dispatcher.Sink
	if err == nil {
		s.images.want(ctx, read)
		s.settled, s.hope = true, false
		for i := range read {
			if read[i].Image != "" {
				settled, hope := s.images.fill(&read[i])
				s.settled, s.hope = s.settled && settled, s.hope || hope
			}
			sinks = append(sinks, read[i].Sink)
		}
		err = s.dispatcher.Update(sinks)
	}
	text := ""
	if err != nil {
		text = err.Error()
		if text != s.lastError {
			s.config.Logger.Error("not all of the sinks could be taken over; what served before keeps serving", "error", text)
		}
	} else if s.lastError != "" {
		s.config.Logger.Info("the error is gone; all sinks are served")
	}
	s.lastError = text
	if len(sinks) >= manySinks {
		debug.FreeOSMemory()
	}
	return sinks, err
}

func (s *Server) foldersOnly() bool {
	for _, p := range s.config.Paths {
		if !isDir(p) {
			return false
		}
	}
	return true
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// settle says that the server is ready once a sink is, or when images must be
// waited for that may still come. It ends the server that has nothing to serve
// and nothing to wait for. Only one goroutine calls it.
func (s *Server) settle(sinks []dispatcher.Sink) {
	ready := s.anyReady()
	if ready {
		s.ready.Store(true)
	}
	select {
	case <-s.readyCh: // it was ready once: what fails now may be mended
		return
	default:
	}
	switch {
	case ready, s.settled && s.hope:
		close(s.readyCh)
	case s.settled:
		select {
		case s.failed <- notServed(sinks):
		default:
		}
	}
}

// notServed joins why sinks with an image are not served.
func notServed(sinks []dispatcher.Sink) error {
	var errs []error
	for _, sink := range sinks {
		if sink.Pending != "" {
			errs = append(errs, &dispatcher.SinkError{Sink: sink.Key(), Err: errors.New(sink.Pending)})
		}
	}
	return errors.Join(errs...)
}

func (s *Server) anyReady() bool {
	for _, st := range s.dispatcher.Stats() {
		if st.Generation > 0 {
			return true
		}
	}
	return false
}

// watchPaths returns what a change of may change the sinks: manifests and
// programs.
func (s *Server) watchPaths(sinks []dispatcher.Sink) []string {
	paths := append([]string(nil), s.config.Paths...)
	for _, p := range s.config.Paths {
		// A manifest in a folder may be a link to a file elsewhere.
		if entries, err := os.ReadDir(p); err == nil {
			for _, e := range entries {
				if e.Type()&os.ModeSymlink != 0 {
					paths = append(paths, filepath.Join(p, e.Name()))
				}
			}
		}
	}
	for _, sink := range sinks {
		if sink.Image == "" { // an image never changes
			paths = append(paths, sink.Program)
		}
	}
	return paths
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
	s.waitQuiet(ctx)
	shutdownErr := s.http.Shutdown(ctx)
	// When the time is up this kills what runs.
	err := s.dispatcher.Close(ctx)
	if shutdownErr != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		if s.http.Shutdown(last) != nil {
			err = errors.Join(err, s.http.Close())
		}
		if err == nil {
			err = fmt.Errorf("connections were cut: %w", context.Cause(ctx))
		}
	}
	s.config.Logger.Info("drained")
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
