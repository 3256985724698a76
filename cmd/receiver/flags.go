// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"time"

	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/podflags"
	"kontain.dev/eventing/pkg/server/cluster"
	"kontain.dev/eventing/pkg/sinkstatus"
)

// Defaults that differ from those on a laptop: the parts of a cluster notice only after a
// while that a pod is to have no more events.
const (
	defaultQuietPeriod  = 10 * time.Second
	defaultDrainTimeout = 75 * time.Second
)

// flags are how the receiver is run. What it is told of the cluster is in variables.
type flags struct {
	podflags.Flags
	listen, listenTLS, listenStatus string
	metrics                         string
	quietPeriod, drainTimeout       time.Duration
	startTime                       time.Duration
	maxBody                         podflags.Quantity
}

func (f *flags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.listen, "listen", fmt.Sprintf(":%d", install.HTTPPort), "`address` for events")
	fs.StringVar(&f.listenTLS, "listen-tls", fmt.Sprintf(":%d", install.HTTPSPort), "`address` for events over TLS")
	fs.StringVar(&f.listenStatus, "listen-status", fmt.Sprintf(":%d", sinkstatus.Port), "`address` for probes and for what the controller asks")
	fs.StringVar(&f.metrics, "metrics-address", fmt.Sprintf(":%d", install.MetricsPort), "`address` to answer Prometheus on, at /metrics")
	fs.DurationVar(&f.quietPeriod, "drain-quiet-period", defaultQuietPeriod, "`time` without events before a drain closes the listeners")
	fs.DurationVar(&f.drainTimeout, "drain-timeout", defaultDrainTimeout, "longest `time` of a drain; the pod's grace period must be longer")
	fs.DurationVar(&f.startTime, "start-time", cluster.DefaultStartTime, "longest `time` to wait for the sinks' images and programs before the receiver is ready")
	f.Flags.Add(fs)
	f.maxBody = 1 << 20
	fs.Var(&f.maxBody, "max-body", "largest request `body`")
}

// check refuses what makes no sense together.
func (f *flags) check() error {
	if err := f.Flags.Check(); err != nil {
		return err
	}
	for name, d := range map[string]time.Duration{"drain-quiet-period": f.quietPeriod, "drain-timeout": f.drainTimeout, "start-time": f.startTime} {
		if d <= 0 {
			return fmt.Errorf("-%s %s: must be more than 0", name, d)
		}
	}
	return nil
}
