// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"log/slog"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/km"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// platformKM is what a sink asks for that runs its program under an installed Kontain
// monitor. It is no platform of vmexec.
const platformKM vmexec.Kind = "km"

// kmSource returns the source of a sink with platform KM. The error is a
// *km.MissingError when no monitor is installed.
func kmSource(s dispatcher.Sink, memory *lease.Memory, log *slog.Logger) (lease.Source, error) {
	if s.State > 0 || len(s.Streams) > 0 {
		return nil, errors.New("under the Kontain monitor a program has no state file, and does not run on; write platform: Auto")
	}
	monitor, err := km.Find()
	if err != nil {
		return nil, err
	}
	spec, err := Machines(s)
	if err != nil {
		return nil, err
	}
	source, err := lease.NewKM(monitor, memory, spec)
	if err != nil {
		return nil, err
	}
	log.Warn("a sink asks for platform KM: its program runs under the Kontain monitor, which gives it the files, the network and the user of this process",
		"sink", s.Key(), "monitor", monitor)
	return source, nil
}
