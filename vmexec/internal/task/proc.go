// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Release and Version are what uname(2) and /proc say of the kernel.
const (
	Release = "6.1.0-kontain"
	Version = "#1 SMP Kontain"
)

// ProcInfo gives the facts behind /proc.
func (k *Kernel) ProcInfo() vfs.ProcInfo { return procInfo{k} }

type procInfo struct{ k *Kernel }

// NetFiles and NetFile implement vfs.NetInfo.
func (i procInfo) NetFiles() []string { return net.ProcFiles }

func (i procInfo) NetFile(name string) []byte { return i.k.Net.Proc(name) }

func (i procInfo) Self() (pid, tid int) {
	if t := i.k.caller; t != nil {
		return t.P.PID, t.TID
	}
	return i.k.Init.PID, i.k.Init.PID
}

func (i procInfo) PIDs() []int {
	var out []int
	for _, p := range i.k.Processes() {
		out = append(out, p.PID)
	}
	return out
}

func (i procInfo) Process(pid int) vfs.Process {
	if p := i.k.procs[pid]; p != nil {
		return procProcess{p}
	}
	return nil
}

func (i procInfo) System() vfs.System {
	k := i.k
	s := vfs.System{
		MemTotal: k.Memory.Limit() * pageSize,
		MemFree:  (k.Memory.Limit() - min(k.Memory.Used(), k.Memory.Limit())) * pageSize,
		Uptime:   k.Clock.Monotonic() - k.Clock.Boot(),
		Threads:  len(k.threads), LastPID: k.nextID - 1, Runnable: max(1, len(k.runq)),
		Release: Release, Version: Version,
	}
	s.BootTime = k.Clock.Realtime() - s.Uptime
	s.Busy = k.CPUTime()
	return s
}

const pageSize = 4096

type procProcess struct{ p *Process }

func (p procProcess) Exe() vfs.Path           { return p.p.Exe }
func (p procProcess) Auxv() []byte            { return p.p.Program.Auxv }
func (p procProcess) Cwd() vfs.Path           { return p.p.Cwd }
func (p procProcess) Table() *fd.Table        { return p.p.FDs }
func (p procProcess) Limits() [16]unix.Rlimit { return p.p.Rlimits }
func (p procProcess) SetComm(name string) {
	p.p.Name = name
	if len(p.p.Threads) > 0 {
		p.p.Threads[0].Name = name
	}
}

// Cmdline and Environ are what lies in the process's memory now, as on Linux: a
// program may have changed it.
func (p procProcess) Cmdline() []string {
	return p.list(p.p.Program.ArgStart, p.p.Program.ArgEnd)
}

func (p procProcess) Environ() []string {
	return p.list(p.p.Program.ArgEnd, p.p.Program.EnvEnd)
}

// list returns the strings of a range of memory; none once it is gone.
func (p procProcess) list(start, end uint64) []string {
	b := make([]byte, end-start)
	if p.p.zombie || len(b) == 0 || p.p.MM.CopyIn(start, b) != 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

func (p procProcess) Threads() []int {
	var ids []int
	for _, t := range p.p.Threads {
		ids = append(ids, t.TID)
	}
	return ids
}

func (p procProcess) Thread(tid int) vfs.ThreadStatus {
	t := p.p.K.threads[tid]
	if t == nil || t.P != p.p {
		return vfs.ThreadStatus{Name: p.p.Name, State: 'Z', UTime: p.p.CPUTime()}
	}
	s := vfs.ThreadStatus{Name: t.Name, State: 'R', Pending: t.pending.set, Blocked: t.mask, UTime: p.p.CPUTime()}
	switch {
	case p.p.stopped:
		s.State = 'T'
	case t.blocked:
		s.State = 'S'
	}
	return s
}

func (p procProcess) Status() vfs.Status {
	k := p.p.K
	s := vfs.Status{
		Parent: p.p.PPID(), Group: p.p.PGID, Session: p.p.SID, Umask: p.p.Umask,
		RSS: p.p.MM.Pages() * pageSize, RSSPeak: k.Memory.Peak() * pageSize,
		Pending: p.p.pending.set, MinorFaults: p.p.Faults(),
	}
	for sig := 1; sig <= numSignals; sig++ {
		switch p.p.actions[sig].Handler {
		case sigDefault:
		case sigIgnore:
			s.Ignored |= bit(sig)
		default:
			s.Caught |= bit(sig)
		}
	}
	p.p.MM.VMAs(func(v *mm.VMA) {
		n := v.End - v.Start
		s.VMSize += n
		switch {
		case v.Name == "[stack]":
			s.Stack, s.StartStack = n, v.End
		case v.Prot&mm.Exec != 0:
			s.Text += n
		case v.Prot&mm.Write != 0:
			s.Data += n
		}
	})
	s.VMPeak = s.VMSize
	return s
}

// maxMapsText is the length of Maps from which on names are left out: a program
// may have 65,530 mappings, and give files names of 4 KiB.
const maxMapsText = 8 << 20

func (p procProcess) Maps() []byte {
	if p.p.zombie {
		return nil
	}
	var b bytes.Buffer
	line := func(start, end uint64, prot mm.Prot, kind byte, off uint64, name string) {
		rights := []byte{'-', '-', '-', kind}
		for i, r := range [...]struct {
			bit mm.Prot
			c   byte
		}{{mm.Read, 'r'}, {mm.Write, 'w'}, {mm.Exec, 'x'}} {
			if prot&r.bit != 0 {
				rights[i] = r.c
			}
		}
		n, _ := fmt.Fprintf(&b, "%08x-%08x %s %08x 00:00 0 ", start, end, rights, off)
		if name != "" {
			fmt.Fprintf(&b, "%*s%s", max(0, 73-n), "", name)
		}
		b.WriteByte('\n')
	}
	p.p.MM.VMAs(func(v *mm.VMA) {
		off, name := uint64(0), v.Name
		if v.Src != nil {
			off = v.Off
			// As on Linux, the path that the file has now.
			if f, ok := v.Src.(interface{ Path() vfs.Path }); ok && b.Len() < maxMapsText {
				name = f.Path().String()
			}
		}
		kind := byte('p')
		if v.Shared() != nil {
			kind = 's'
		}
		line(v.Start, v.End, v.Prot, kind, off, name)
	})
	line(x86.VDSOVA, x86.VDSOVA+x86.VDSOSize(), mm.Read|mm.Exec, 'p', 0, "[vdso]")
	return b.Bytes()
}
