// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/observability"
	"kontain.dev/eventing/pkg/receiver"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/vmexec"
)

// maxMaxBody bounds --max-body: a body is held in memory.
const maxMaxBody = 1 << 30

// machines is where serve gets virtual machines from. Tests give others.
type machines struct {
	open   func(vmexec.Kind) (host *vmexec.Host, note string, err error)
	source func(dispatcher.Sink) (lease.Source, error) // nil: new machines of the host
}

var realMachines = machines{open: openPlatform}

type serveFlags struct {
	files        []string
	listen       string
	memory       string
	worker       string
	jail         jailFlags
	maxBody      string
	platform     string
	quietPeriod  time.Duration
	drainTimeout time.Duration
	log          string
	logLevel     string
	snapshots    storeFlags
	images       imageFlags
	metrics      string
}

func newServe(s Streams, m machines) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve -f FILE-OR-FOLDER",
		Short: "Take CloudEvents over HTTP and run a program for each",
		Long: `Serve the KontainSinks of manifests: a CloudEvent that is POSTed to
/NAMESPACE/NAME is given to the sink's program in a new virtual machine, and what
the program answers is the response.

Of a folder the files *.yaml, *.yml and *.json are read. Changed files are picked
up while it runs. SIGINT and SIGTERM drain: no accepted event is lost.
/healthz and /readyz answer probes.`,
		Example: `  kontain serve -f sink.yaml
  kontain serve -f sinks/ --listen 127.0.0.1:9000
  kontain serve -f a.yaml -f b.yaml --max-body 4Mi --log json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			config, err := f.config(s.Err)
			if err != nil {
				return err
			}
			store, done, err := f.images.open(Streams{In: s.In, Out: s.Out, Err: io.Discard})
			switch {
			case err == nil:
				defer done()
				config.Images = store
			case f.images.changed(cmd):
				return fmt.Errorf("serve: %w", err)
			default: // needed for sinks with an image alone: they say so
				config.Logger.Warn("there is no image cache", "error", err)
			}
			if m.source == nil && f.worker != workerOff {
				if config.Worker, err = worker.Find(f.worker); err != nil {
					return fmt.Errorf("serve: %w", err)
				}
				var unlock func() error
				config.Jail, unlock = f.jail.open(config.Worker, config.Logger)
				defer func() { err = errors.Join(err, unlock()) }()
			}
			return serve(cmd.Context(), s, m, vmexec.Kind(f.platform), config)
		},
	}
	cmd.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "`file` or folder with manifests; may be repeated")
	cmd.Flags().StringVar(&f.listen, "listen", server.DefaultListen, "`address` to listen on, HOST:PORT; port 0 picks a free one")
	cmd.Flags().StringVar(&f.platform, "platform", string(vmexec.Auto), platformUsage)
	cmd.Flags().StringVar(&f.worker, "worker", "", "`path` of kontain-worker, which runs the machines in processes of their own, jailed (default: the one beside this program). \"off\" runs them in this process: without a jail, and without isolation Process")
	f.jail.add(cmd)
	cmd.Flags().StringVar(&f.memory, "memory", "", "most `memory` that all machines may have together, the sum of their limits, such as 8Gi; events wait for room (default: four fifths of what this process may use)")
	cmd.Flags().StringVar(&f.maxBody, "max-body", "1Mi", "largest request `body`, such as 512Ki or 4Mi")
	cmd.Flags().DurationVar(&f.quietPeriod, "drain-quiet-period", server.DefaultQuietPeriod, "`time` without requests before a drain closes the listener")
	cmd.Flags().DurationVar(&f.drainTimeout, "drain-timeout", server.DefaultDrainTimeout, "longest `time` of a drain; events that run longer are ended")
	f.snapshots.add(cmd)
	f.images.add(cmd)
	cmd.Flags().StringVar(&f.metrics, "metrics-address", "", "`address`, HOST:PORT, to answer Prometheus on, at /metrics (default: none)")
	cmd.Flags().StringVar(&f.log, "log", "text", "`form` of the log on stderr: text or json")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "least `level` of what is logged: debug (what each event cost), info, warn or error")
	return cmd
}

// config checks the flags.
func (f *serveFlags) config(stderr io.Writer) (server.Config, error) {
	var none server.Config
	if len(f.files) == 0 {
		return none, usageErrorf("serve: no manifest given: -f FILE-OR-FOLDER")
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return none, usageErrorf("serve: --listen %q: must be HOST:PORT, such as %s", f.listen, server.DefaultListen)
	}
	if err := checkPlatform("serve", f.platform); err != nil {
		return none, err
	}
	if err := f.jail.check("serve", f.worker == workerOff); err != nil {
		return none, err
	}
	var memory uint64
	if f.memory != "" {
		q, err := resource.ParseQuantity(f.memory)
		if err != nil || q.Value() < vmexec.MinMemory {
			return none, usageErrorf("serve: --memory %q: must be a quantity of at least %dMi, such as 8Gi", f.memory, vmexec.MinMemory>>20)
		}
		memory = uint64(q.Value())
	}
	maxBody, err := resource.ParseQuantity(f.maxBody)
	if err != nil || maxBody.Value() < 1 || maxBody.Value() > maxMaxBody {
		return none, usageErrorf("serve: --max-body %q: must be a quantity from 1 to %dMi, such as 1Mi", f.maxBody, maxMaxBody>>20)
	}
	for name, d := range map[string]time.Duration{"drain-quiet-period": f.quietPeriod, "drain-timeout": f.drainTimeout} {
		if d <= 0 {
			return none, usageErrorf("serve: --%s %s: must be more than 0", name, d)
		}
	}
	logger, err := newLogger("serve", f.log, f.logLevel, stderr)
	if err != nil {
		return none, err
	}
	store, err := f.snapshots.open("serve")
	if err != nil && f.snapshots.dir != "" {
		return none, err
	}
	if err != nil {
		logger.Warn("snapshots are kept in memory only: programs are started again after a restart", "reason", err)
	}
	if err := checkMetricsAddress("serve", f.metrics); err != nil {
		return none, err
	}
	var metrics server.Metrics
	if f.metrics != "" {
		if metrics, err = observability.New(observability.Options{}); err != nil {
			return none, fmt.Errorf("serve: %w", err)
		}
	}
	return server.Config{
		Metrics: metrics, ListenMetrics: f.metrics,
		Snapshots:    store,
		Paths:        f.files,
		Listen:       f.listen,
		Memory:       memory,
		Receiver:     receiver.Options{MaxBody: maxBody.Value()},
		QuietPeriod:  f.quietPeriod,
		DrainTimeout: f.drainTimeout,
		Logger:       logger,
	}, nil
}

// checkMetricsAddress checks --metrics-address, which may be empty.
func checkMetricsAddress(command, address string) error {
	if address == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return usageErrorf("%s: --metrics-address %q: must be HOST:PORT, such as 127.0.0.1:9090", command, address)
	}
	return nil
}

// workerOff as --worker has machines in the receiver's own process.
const workerOff = "off"

// serve runs the server until a signal or the end of ctx.
func serve(ctx context.Context, s Streams, m machines, platform vmexec.Kind, config server.Config) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case <-signals:
			// A second signal ends the program at once, from before anyone can
			// see that the drain has begun.
			signal.Stop(signals)
			cancel()
		case <-ctx.Done():
		}
	}()

	host, note, err := m.open(platform)
	if err != nil {
		return fmt.Errorf("serve: %w; `kontain doctor` says what this machine offers", err)
	}
	if note != "" {
		config.Logger.Info(note)
	}
	if host != nil {
		defer func() { err = errors.Join(err, host.Close()) }()
	}
	config.Host, config.Source = host, m.source
	srv, err := server.New(config)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
		announce(s.Out, srv.Addr().String(), srv.Stats())
		err = <-ended
	case err = <-ended:
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// mostAnnounced is how many sinks anyone wants to read about.
const mostAnnounced = 100

// announce says where the sinks are, with a line to copy for each.
func announce(w io.Writer, address string, sinks []dispatcher.Stats) {
	base := "http://" + address
	fmt.Fprintf(w, "listening on %s\n", base)
	for i, sink := range sinks {
		if i == mostAnnounced {
			fmt.Fprintf(w, "\n… and %d more: %s/NAMESPACE/NAME\n", len(sinks)-i, base)
			return
		}
		if sink.Generation == 0 {
			fmt.Fprintf(w, "\n%s is not served: %s\n", sink.Sink, sink.Error)
			continue
		}
		path := (&url.URL{Path: sink.Sink}).EscapedPath()
		target := base + "/" + strings.TrimPrefix(path, "./")
		fmt.Fprintf(w, "\n%s\n", target)
		fmt.Fprintf(w, "  curl -i %s -H 'Ce-Specversion: 1.0' -H 'Ce-Type: t' -H 'Ce-Source: /me' -H 'Ce-Id: 1' -H 'Content-Type: application/json' -d '{\"text\":\"hello\"}'\n", target)
	}
}

// newLogger returns what a command logs with, in the form and from the level that its
// flags --log and --log-level ask for.
func newLogger(command, form, least string, w io.Writer) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, known := levels[least]
	if !known {
		return nil, usageErrorf("%s: --log-level %q: must be debug, info, warn or error", command, least)
	}
	options := &slog.HandlerOptions{Level: level}
	switch form {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usageErrorf("%s: --log %q: must be text or json", command, form)
}
