// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"k8s.io/apimachinery/pkg/types"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/sinkstatus"
	"kontain.dev/eventing/vmexec"
)

// Reasons of the conditions that inform.
const (
	reasonNotMade    = "NotMade"
	reasonNoSnapshot = "NoSnapshot"
	reasonNotAsked   = "NotAsked"
	reasonPtrace     = "Ptrace"
)

// Status returns what this receiver knows of a sink, and whether it knows it. It is a
// sinkstatus.Lookup.
func (o *Origin) Status(namespace, name string) (sinkstatus.Status, bool) {
	o.mu.Lock()
	st, backend := o.known[types.NamespacedName{Namespace: namespace, Name: name}], o.backend
	o.mu.Unlock()
	if st == nil {
		return sinkstatus.Status{}, false
	}
	stats, _ := backend.SinkStats(namespace, name)
	s := sinkstatus.Status{
		Generation: st.generation, Image: st.image, ImageResolved: st.resolved,
		Ready: st.applied, Reason: st.reason, Message: st.message,
	}
	if !st.applied && st.reason == "" {
		s.Reason, s.Message = sinkstatus.ReasonPending, "its program is being started"
	}
	switch st.platform {
	case vmexec.KVM:
		s.Platform = sinkstatus.PlatformKVM
	case vmexec.Ptrace:
		s.Platform = sinkstatus.PlatformPtrace
	case vmexec.Auto:
	}
	if !st.applied {
		// What the machines of the generation before have is no news of this one.
		stats.Machines = nil
	}
	s.Snapshot = snapshot(st, stats)
	s.Isolated, s.Jail = isolated(st, stats)
	return s, true
}

// snapshot says whether events start from a snapshot.
func snapshot(st *state, stats dispatcher.Stats) sinkstatus.Condition {
	m := stats.Machines
	yes, no := true, false
	switch {
	case !st.snapshot:
		return sinkstatus.Condition{Reason: reasonNotAsked, Message: "the sink asks for none: its program is started anew for each event"}
	case m == nil:
		return sinkstatus.Condition{Reason: sinkstatus.ReasonPending, Message: st.message}
	case m.NoSnapshot != "":
		return sinkstatus.Condition{Ready: &no, Reason: reasonNoSnapshot, Message: m.NoSnapshot}
	case m.Failing != "":
		return sinkstatus.Condition{Ready: &no, Reason: reasonFailed, Message: m.Failing}
	case m.Snapshot && (m.Start > 0 || m.Load > 0):
		return sinkstatus.Condition{Ready: &yes}
	}
	return sinkstatus.Condition{Reason: reasonNotMade, Message: "it is made for the first event"}
}

// isolated says whether the isolation that a sink asks for is the one in use, and what
// jail its worker processes are in.
func isolated(st *state, stats dispatcher.Stats) (sinkstatus.Condition, int) {
	yes, no := true, false
	level, about := 0, ""
	if m := stats.Machines; m != nil && m.Jail != nil {
		level, about = m.Jail.Level, "jail of "+m.Jail.String()
	}
	switch {
	case st.platform == vmexec.Ptrace:
		return sinkstatus.Condition{Ready: &no, Reason: reasonPtrace, Message: "without KVM a program is isolated as a process is, not by a virtual machine"}, level
	case stats.Machines == nil:
		return sinkstatus.Condition{Reason: sinkstatus.ReasonPending, Message: st.message}, level
	}
	return sinkstatus.Condition{Ready: &yes, Message: about}, level
}
