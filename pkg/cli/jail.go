// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/worker/cell"
)

// jailFlags say how worker processes are jailed.
type jailFlags struct {
	level  string
	users  string
	cgroup string

	first, count uint32 // of users
}

// The levels of --jail.
const (
	jailAuto = "auto"
	jailOne  = "1"
	jailTwo  = "2"
)

func (f *jailFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "jail", jailAuto, "`level` of the jail of worker processes: 1 needs no privileges; 2 adds a user of each sink's or source's own, namespaces and cgroups, and none runs without it; auto is 2 where it is to be had and otherwise 1, and the log says which")
	cmd.Flags().StringVar(&f.users, "jail-users", fmt.Sprintf("%d-%d", cell.DefaultFirstUser, cell.DefaultFirstUser+cell.DefaultUsers-1), "`range` of user numbers, FIRST-LAST, that nobody else has, for the jail of level 2: one a sink or source")
	cmd.Flags().StringVar(&f.cgroup, "cgroup", "", "`folder` of a cgroup (version 2) to make those of sinks in, for the jail of level 2 (default: the one of this process, where it is delegated to it)")
}

// check reads the flags of a command. none says that there are no worker processes.
func (f *jailFlags) check(command string, none bool) error {
	switch f.level {
	case jailAuto, jailOne, jailTwo:
	default:
		return usageErrorf("%s: --jail %q: must be %s, %s or %s", command, f.level, jailAuto, jailOne, jailTwo)
	}
	if none && f.level != jailAuto {
		return usageErrorf("%s: --jail %s: there are no worker processes with --worker %s", command, f.level, workerOff)
	}
	if f.cgroup != "" && (none || f.level == jailOne) {
		return usageErrorf("%s: --cgroup %s: cgroups are a part of the jail of level 2", command, f.cgroup)
	}
	first, last, _ := strings.Cut(f.users, "-")
	a, err := strconv.ParseUint(first, 10, 32)
	b, err2 := strconv.ParseUint(last, 10, 32)
	if err != nil || err2 != nil || a == 0 || b < a || b == 1<<32-1 {
		return usageErrorf("%s: --jail-users %q: must be FIRST-LAST, numbers from 1 to %d", command, f.users, uint32(1<<32-2))
	}
	f.first, f.count = uint32(a), uint32(b-a+1)
	return nil
}

// open makes what the jail of worker processes needs, and returns what frees it.
func (f *jailFlags) open(worker string, log *slog.Logger) (server.Jail, func() error) {
	j := server.Jail{Required: f.level == jailTwo}
	if f.level == jailOne {
		return j, func() error { return nil }
	}
	// What was named and cannot be had is not left out: without a fallback then.
	j.Required = j.Required || f.cgroup != ""
	cells, err := cell.Open(cell.Config{Worker: worker, FirstUser: f.first, Users: f.count, Cgroup: f.cgroup})
	if err != nil {
		j.NoCells = err
		if !j.Required {
			log.Info("worker processes are jailed on level 1 only", "reason", err)
		}
		return j, func() error { return nil }
	}
	j.Cells = cells
	args := []any{"level", 2, "users", f.users}
	if err := cells.NoCgroup; err != nil {
		args = append(args, "cgroup", "none: "+err.Error())
	} else {
		args = append(args, "cgroup", cells.Group())
	}
	log.Info("worker processes are jailed", args...)
	return j, cells.Close
}
