// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/manifest"
	"kontain.dev/eventing/pkg/observability"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/source"
	"kontain.dev/eventing/pkg/source/deliver"
	"kontain.dev/eventing/pkg/source/journal"
	"kontain.dev/eventing/pkg/source/programs"
	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/vmexec"
)

// What a SinkBinding gives the containers of a source, and where their token is:
// https://github.com/knative/eventing/blob/main/docs/spec/sources.md
const (
	envSink      = "K_SINK"
	envOverrides = "K_CE_OVERRIDES"
	envCACerts   = "K_CA_CERTS"
	envAudience  = "K_AUDIENCE"

	defaultTokenFile = "/oidc/token"

	// metricsHeaderTime is how long Prometheus may take to ask.
	metricsHeaderTime = 10 * time.Second
)

func newSource(s Streams, m machines) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "source",
		Short: "Run programs by a schedule, or on and on, and send the events they write to a sink",
		Long: `A KontainSource says which program runs, when, and where the events go that it
writes. Each run is in a new virtual machine.`,
		Example: "  kontain source run -f heartbeat.yaml --once",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSourceRun(s, m))
	return cmd
}

type sourceFlags struct {
	files    []string
	sink     string
	token    string
	state    string
	once     bool
	json     bool
	platform string
	worker   string
	jail     jailFlags
	log      string
	level    string
	metrics  string
	store    storeFlags
	images   imageFlags
	cmd      *cobra.Command
}

func newSourceRun(s Streams, m machines) *cobra.Command {
	var f sourceFlags
	cmd := &cobra.Command{
		Use:   "run -f FILE-OR-FOLDER",
		Short: "Run the KontainSources of manifests, without Kubernetes",
		Long: `Run the programs of KontainSources when they are due, each time in a new virtual
machine, and send the events that they write to the source's sink: that of --sink,
of the manifest's sink.uri, or of K_SINK. K_CE_OVERRIDES, K_CA_CERTS and K_AUDIENCE
are understood as well, so that this is also the program of a ContainerSource or
under a SinkBinding.

Events that the sink has not taken are kept in a folder and sent after a restart,
in their order and with the same ids. SIGINT and SIGTERM end it; a run that was
begun is made again the next time.`,
		Example: `  kontain source run -f heartbeat.yaml --sink http://127.0.0.1:8080/default/uppercase
  kontain source run -f heartbeat.yaml --once
  K_SINK=http://broker-ingress/default/default kontain source run -f sources/ --log json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), s, m) },
	}
	f.cmd = cmd
	cmd.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "`file` or folder with manifests; may be repeated")
	cmd.Flags().StringVar(&f.sink, "sink", "", "`URL` that the events go to (default: the manifest's sink.uri, or $"+envSink+")")
	cmd.Flags().StringVar(&f.token, "token-file", "", "`file` with the token to send with (default: "+defaultTokenFile+" when the sink has an audience)")
	cmd.Flags().StringVar(&f.state, "state-dir", "", "`folder` for events that the sink has not taken (default: kontain/sources in $XDG_STATE_HOME or ~/.local/state)")
	cmd.Flags().BoolVar(&f.once, "once", false, "run each program once, now, send its events, and end; the exit status says whether all went well")
	cmd.Flags().BoolVar(&f.json, "json", false, "print what each source did as JSON on stdout, at the end")
	cmd.Flags().StringVar(&f.platform, "platform", string(vmexec.Auto), platformUsage)
	cmd.Flags().StringVar(&f.worker, "worker", "", "`path` of kontain-worker (default: the one beside this program); \"off\" runs the machines in this process")
	cmd.Flags().StringVar(&f.metrics, "metrics-address", "", "`address`, HOST:PORT, to answer Prometheus on, at /metrics (default: none)")
	f.jail.add(cmd)
	f.store.add(cmd)
	f.images.add(cmd)
	cmd.Flags().StringVar(&f.log, "log", "text", "`form` of the log on stderr: text or json")
	cmd.Flags().StringVar(&f.level, "log-level", "info", "least `level` of what is logged: debug (each run), info, warn or error")
	return cmd
}

func (f *sourceFlags) run(ctx context.Context, s Streams, m machines) (err error) {
	const command = "source run"
	fail := func(err error) error { return fmt.Errorf("%s: %w", command, err) }
	if len(f.files) == 0 {
		return usageErrorf("%s: no manifest given: -f FILE-OR-FOLDER", command)
	}
	if err := checkPlatform(command, f.platform); err != nil {
		return err
	}
	if err := f.jail.check(command, f.worker == workerOff); err != nil {
		return err
	}
	logger, err := newLogger(command, f.log, f.level, s.Err)
	if err != nil {
		return err
	}
	if err := checkMetricsAddress(command, f.metrics); err != nil {
		return err
	}
	var sources []manifest.Source
	for _, path := range f.files {
		read, err := manifest.LoadSources(path)
		if err != nil {
			return fail(err)
		}
		sources = append(sources, read...)
	}
	if f.state, err = f.stateDir(); err != nil {
		return fail(err)
	}

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	host, note, err := m.open(vmexec.Kind(f.platform))
	if err != nil {
		return fail(fmt.Errorf("%w; `kontain doctor` says what this machine offers", err))
	}
	if note != "" {
		logger.Info(note)
	}
	if host != nil {
		defer func() { err = errors.Join(err, host.Close()) }()
	}
	options := lease.Options{Memory: lease.NewMemory(server.DefaultMemory())}
	var jail server.Jail
	if f.worker != workerOff && m.source == nil {
		if options.Worker, err = worker.Find(f.worker); err != nil {
			return fail(err)
		}
		var unlock func() error
		jail, unlock = f.jail.open(options.Worker, logger)
		defer func() { err = errors.Join(err, unlock()) }()
	}
	if options.Store, err = f.store.open(command); err != nil {
		if f.store.dir != "" {
			return err
		}
		logger.Warn("snapshots are kept in memory only", "reason", err)
	}
	maker := &programs.Maker{Machines: server.NewEngine(host, options, jail, logger)}
	defer func() { err = errors.Join(err, maker.Machines.Close()) }()
	images, done, err := f.images.open(Streams{In: s.In, Out: s.Out, Err: io.Discard})
	switch {
	case err == nil:
		defer done()
		maker.Images = images
	case f.images.changed(f.cmd):
		return fail(err)
	default: // needed for sources with an image alone: they say so
		logger.Warn("there is no image cache", "error", err)
	}

	var metrics *observability.Sources
	if f.metrics != "" {
		var closed func() error
		if metrics, closed, err = f.answerMetrics(ctx, logger); err != nil {
			return fail(err)
		}
		defer func() { err = errors.Join(err, closed()) }()
	}

	var adapters []*adapter
	defer func() {
		for _, a := range adapters {
			err = errors.Join(err, a.close())
		}
	}()
	for _, src := range sources {
		a, err := f.adapter(ctx, src, maker, metrics, logger)
		if err != nil {
			return fail(fmt.Errorf("source %s/%s: %w", src.Namespace, src.Name, err))
		}
		adapters = append(adapters, a)
	}
	stats := func() map[string]source.Stats {
		all := make(map[string]source.Stats, len(adapters))
		for _, a := range adapters {
			all[a.name] = a.Stats()
		}
		return all
	}
	if metrics != nil {
		metrics.Watch(stats)
	}
	var running sync.WaitGroup
	errs := make([]error, len(adapters))
	for i, a := range adapters {
		running.Go(func() {
			run := a.Run
			if f.once {
				run = a.Once
			}
			if err := run(ctx); err != nil {
				errs[i] = fmt.Errorf("source %s: %w", a.name, err)
			}
		})
	}
	running.Wait()
	if f.json {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		errs = append(errs, e.Encode(stats()))
	}
	if err := errors.Join(errs...); err != nil {
		return fail(err)
	}
	return nil
}

// answerMetrics answers Prometheus until close is called.
func (f *sourceFlags) answerMetrics(ctx context.Context, logger *slog.Logger) (_ *observability.Sources, closed func() error, err error) {
	m, err := observability.NewSources(observability.Options{})
	if err != nil {
		return nil, nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.metrics)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("--metrics-address: %w", err), m.Shutdown(ctx))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: metricsHeaderTime}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	logger.Info("metrics", "address", l.Addr().String())
	return m, func() error {
		err := server.Close()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return errors.Join(err, m.Shutdown(context.WithoutCancel(ctx)))
	}, nil
}

// stateDir returns the folder for what is not sent yet.
func (f *sourceFlags) stateDir() (string, error) {
	if f.state != "" {
		return f.state, nil
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("there is no folder for events that wait: %w; name one with --state-dir", err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "kontain", "sources"), nil
}

// adapter is one source and what it needs.
type adapter struct {
	*source.Adapter
	name    string
	sender  *deliver.Sender
	journal *journal.Journal
	program *programs.Program
}

func (a *adapter) close() error {
	var err error
	if a.program != nil {
		err = a.program.Close()
	}
	if a.sender != nil {
		a.sender.Close()
	}
	if a.journal != nil {
		err = errors.Join(err, a.journal.Close())
	}
	return err
}

func (f *sourceFlags) adapter(ctx context.Context, src manifest.Source, maker *programs.Maker, metrics *observability.Sources, logger *slog.Logger) (_ *adapter, err error) {
	a := &adapter{name: src.Namespace + "/" + src.Name}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	logger = logger.With("source", a.name)
	config, err := source.FromKontainSource(src.KontainSource)
	if err != nil {
		return nil, err
	}
	if config.Extensions, err = overrides(config.Extensions); err != nil {
		return nil, err
	}
	target, err := f.target(src)
	if err != nil {
		return nil, err
	}
	policy, err := source.Policy(src.Spec.Delivery)
	if err != nil {
		return nil, err
	}
	if a.sender, err = deliver.New(target, policy); err != nil {
		return nil, err
	}
	a.sender.Failed = func(err error, wait time.Duration) {
		logger.Warn("an event waits for the sink", "error", err, "next", wait)
	}
	// Neither name holds a dot.
	if a.journal, err = journal.Open(filepath.Join(f.state, src.Namespace+"."+src.Name), 0, 0); err != nil {
		return nil, err
	}
	if a.program, err = maker.Make(ctx, &src.Spec, server.FromManifest(src.Function()), &config, logger); err != nil {
		return nil, err
	}
	config.Journal, config.Sender, config.Logger = a.journal, a.sender, logger
	if metrics != nil {
		config.Ran = metrics.Ran(a.name)
	}
	a.Adapter = source.New(config)
	args := []any{"sink", target.URL, "waiting", a.Stats().Waiting, "isolation", a.program.Machines().Tier}
	if src.Spec.Image != "" {
		args = append(args, "image", src.Spec.Image, "digest", a.program.Image)
	}
	logger.Info("source ready", args...)
	return a, nil
}

// overrides adds what K_CE_OVERRIDES sets to the extensions of a source.
func overrides(extensions map[string]string) (map[string]string, error) {
	text := os.Getenv(envOverrides)
	if text == "" {
		return extensions, nil
	}
	var o struct {
		Extensions map[string]string `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return nil, fmt.Errorf("%s is not {\"extensions\": {NAME: VALUE}}: %w", envOverrides, err)
	}
	all := o.Extensions
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range extensions { // what its author says goes before
		all[name] = value
	}
	return all, nil
}

// target returns where the events of a source go.
func (f *sourceFlags) target(src manifest.Source) (deliver.Target, error) {
	t := deliver.Target{URL: f.sink}
	ca, audience := os.Getenv(envCACerts), os.Getenv(envAudience)
	if d := src.Spec.Sink; f.sink == "" && d.URI != nil {
		t.URL, ca, audience = d.URI.String(), "", ""
		if d.CACerts != nil {
			ca = *d.CACerts
		}
		if d.Audience != nil {
			audience = *d.Audience
		}
	}
	if t.URL == "" {
		t.URL = os.Getenv(envSink)
	}
	if t.URL == "" {
		return t, fmt.Errorf("it has no sink: give --sink URL, write sink: {uri: URL} in the manifest, or set %s", envSink)
	}
	t.CACerts = []byte(ca)
	file := f.token
	if file == "" && audience != "" {
		file = defaultTokenFile
	}
	if file != "" {
		t.Token = func() (string, error) {
			b, err := os.ReadFile(file)
			return strings.TrimSpace(string(b)), err
		}
	}
	return t, nil
}
