// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package doctor looks at what this machine offers to run virtual machines: it
// tries each thing for real rather than trusting version numbers, and says what
// it found in words an operator can act on.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"kontain.dev/eventing/pkg/km"
	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/vmexec"
)

// Level says how a finding bears on running programs.
type Level string

const (
	// OK is as it should be.
	OK Level = "ok"
	// Note is worth knowing; nothing fails because of it.
	Note Level = "note"
	// Warn is slower or smaller than it could be.
	Warn Level = "warn"
	// Bad stands in the way of running programs in virtual machines.
	Bad Level = "bad"
)

// Finding is one thing that was looked at.
type Finding struct {
	Area  string `json:"area"`           // group of findings, such as "KVM"
	Name  string `json:"name"`           // what was looked at
	Level Level  `json:"level"`          // how it bears on running programs
	Value string `json:"value"`          // what was found
	Hint  string `json:"hint,omitempty"` // what to do, or what follows
}

// Verdict is the conclusion.
type Verdict struct {
	CanRun   bool        `json:"canRun"`             // a program can be run on this machine
	Platform vmexec.Kind `json:"platform,omitempty"` // what --platform auto picks
	Text     string      `json:"text"`               // one line for an operator
}

// Report is what Examine found.
type Report struct {
	Findings []Finding `json:"findings"`
	Verdict  Verdict   `json:"verdict"`
}

// system is where the examination reads from; tests give another.
type system struct {
	root    string // in front of /proc, /sys and /dev
	kernel  func() (string, error)
	kvm     func(device string) kvmProbe
	kernels func() []kernelFeature
	limits  func() (files, processes limit)
	ptrace  func() error
	cells   func() (noCgroup, err error)
	km      func() (path, version string, err error)
	open    func() (vmexec.Kind, error)
}

// Examine looks at this machine. It changes nothing; the KVM probes create a
// virtual machine without memory and destroy it.
func Examine() *Report {
	s := system{
		root:    "/",
		kernel:  kernelRelease,
		kvm:     probeKVM,
		kernels: probeKernel,
		limits:  readLimits,
		ptrace: func() error {
			host, err := vmexec.Open(vmexec.Ptrace)
			if err != nil {
				return err
			}
			return host.Close()
		},
		km: func() (path, version string, err error) {
			if path, err = km.Find(); err == nil {
				version, err = km.Version(context.Background(), path)
			}
			return path, version, err
		},
		cells: tryCell,
		open: func() (vmexec.Kind, error) {
			host, _, err := vmexec.OpenFirst(vmexec.KVM, vmexec.Ptrace)
			if err != nil {
				return "", err
			}
			return host.Kind(), host.Close()
		},
	}
	return s.examine()
}

func (s *system) examine() *Report {
	r := &Report{}
	s.machine(r)
	probe := s.kvmDevice(r)
	s.capabilities(r, probe)
	s.tracing(r)
	s.monitor(r)
	s.kernelFeatures(r)
	s.jail(r)
	s.resources(r)
	s.verdict(r)
	return r
}

func (r *Report) add(area, name string, level Level, value, hint string) {
	r.Findings = append(r.Findings, Finding{area, name, level, value, hint})
}

func (s *system) read(name string) string {
	b, err := os.ReadFile(filepath.Join(s.root, name))
	if err != nil {
		return ""
	}
	return string(b)
}

// cpuinfo holds what /proc/cpuinfo says of the first processor.
type cpuinfo struct {
	model string
	flags map[string]bool
	count int
}

// parseCPUInfo reads the text of /proc/cpuinfo (proc_cpuinfo(5)).
func parseCPUInfo(text string) cpuinfo {
	c := cpuinfo{flags: map[string]bool{}}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			c.count++
		case "model name":
			if c.model == "" {
				c.model = value
			}
		case "flags":
			if len(c.flags) == 0 {
				for _, f := range strings.Fields(value) {
					c.flags[f] = true
				}
			}
		}
	}
	return c
}

func (s *system) machine(r *Report) {
	const area = "Machine"
	if release, err := s.kernel(); err != nil {
		r.add(area, "kernel", Warn, "unknown: "+err.Error(), "")
	} else {
		r.add(area, "kernel", OK, "Linux "+release, "")
	}
	c := parseCPUInfo(s.read("proc/cpuinfo"))
	if c.count == 0 {
		r.add(area, "processor", Warn, "/proc/cpuinfo cannot be read", "is /proc mounted?")
		return
	}
	r.add(area, "processor", OK, fmt.Sprintf("%d × %s", c.count, c.model), "")

	var missing []string
	for _, f := range []string{"fsgsbase", "xsave", "rdrand", "nx", "constant_tsc"} {
		if !c.flags[f] {
			missing = append(missing, f)
		}
	}
	if len(missing) > 0 {
		r.add(area, "processor features", Note, "not shown: "+strings.Join(missing, ", "), "a virtual machine may hide features that the processor has")
	} else {
		r.add(area, "processor features", OK, "fsgsbase, xsave, rdrand, nx, constant_tsc", "")
	}

	_, err := os.Stat(filepath.Join(s.root, "sys/module/kvm_pvm"))
	pvm := err == nil
	hardware := c.flags["vmx"] || c.flags["svm"]
	switch {
	case pvm:
		r.add(area, "virtualization", Note, "PVM: KVM without help from the processor (module kvm_pvm), inside a virtual machine",
			"works; each exit costs 10 to 30 times what it costs on hardware")
	case c.flags["hypervisor"] && hardware:
		r.add(area, "virtualization", Note, "nested: this is a virtual machine that may start others",
			"works; exits are dearer than on a machine of its own")
	case hardware:
		r.add(area, "virtualization", OK, "hardware ("+vendorFlag(c)+")", "")
	case c.flags["hypervisor"]:
		r.add(area, "virtualization", Warn, "this is a virtual machine whose processor offers no virtualization (neither vmx nor svm)",
			"switch nested virtualization on for it, or use a machine type that has it")
	default:
		r.add(area, "virtualization", Warn, "the processor shows neither vmx (Intel) nor svm (AMD)",
			"virtualization may be switched off in the firmware (VT-x, AMD-V, SVM)")
	}
}

func vendorFlag(c cpuinfo) string {
	if c.flags["vmx"] {
		return "Intel VT-x"
	}
	return "AMD-V"
}

func (s *system) kvmDevice(r *Report) kvmProbe {
	const area, name = "KVM", "/dev/kvm"
	p := s.kvm(filepath.Join(s.root, "dev/kvm"))
	switch {
	case p.openErr == nil:
		r.add(area, name, OK, "can be opened", "")
	case errors.Is(p.openErr, fs.ErrNotExist):
		r.add(area, name, Bad, "does not exist",
			"load a KVM module (modprobe kvm_intel or kvm_amd); in a container, pass the device in (--device /dev/kvm)")
	case errors.Is(p.openErr, fs.ErrPermission):
		r.add(area, name, Bad, "exists but this user may not open it",
			"add the user to the device's group (usually: usermod -aG kvm NAME, then log in again)")
	default:
		r.add(area, name, Bad, p.openErr.Error(), "the module may be loaded but not usable; see the kernel log (dmesg)")
	}
	if p.openErr != nil {
		return p
	}
	switch {
	case p.versionErr != nil:
		r.add(area, "API version", Bad, p.versionErr.Error(), "")
	case p.version != kvmAPIVersion:
		r.add(area, "API version", Bad, strconv.Itoa(p.version), fmt.Sprintf("version %d is needed, which every Linux since 2.6.22 has", kvmAPIVersion))
	default:
		r.add(area, "API version", OK, strconv.Itoa(p.version), "")
	}
	if p.vmErr != nil {
		r.add(area, "create a VM", Bad, p.vmErr.Error(), "another hypervisor (VirtualBox, VMware) may hold the processor, or a limit was reached")
	} else {
		r.add(area, "create a VM", OK, "works", "")
	}
	return p
}

func (s *system) capabilities(r *Report, p kvmProbe) {
	if p.openErr != nil {
		return
	}
	for _, c := range capabilities {
		value := p.caps[c.number]
		source := fmt.Sprintf("%s, Linux %s", c.id, c.since)
		switch {
		case value <= 0:
			r.add("KVM features", c.name, c.missing, "no ("+source+")", c.use)
		case value&c.needs != c.needs:
			r.add("KVM features", c.name, c.missing, fmt.Sprintf("in part: %#x of %#x (%s)", value&c.needs, c.needs, source), c.use)
		case c.show:
			r.add("KVM features", c.name, OK, fmt.Sprintf("%d (%s)", value, source), "")
		default:
			r.add("KVM features", c.name, OK, "yes ("+source+")", "")
		}
	}
}

// tracing looks at platform ptrace, which is there for machines without KVM.
func (s *system) tracing(r *Report) {
	const area = "Without KVM"
	if err := s.ptrace(); err != nil {
		value, hint := err.Error(), ""
		var missing *vmexec.UnavailableError
		if errors.As(err, &missing) {
			value, hint = missing.Reason, missing.Hint
			if missing.Err != nil {
				value += ": " + missing.Err.Error()
			}
		}
		r.add(area, "platform ptrace", Note, value, hint)
	} else {
		r.add(area, "platform ptrace", OK, "works; a program is then isolated as a process is, not by a virtual machine", "")
	}
	// Documentation/admin-guide/LSM/Yama.rst: from 2 on only a privileged process may trace its child.
	switch scope := strings.TrimSpace(s.read("proc/sys/kernel/yama/ptrace_scope")); scope {
	case "", "0", "1":
	default:
		r.add(area, "kernel.yama.ptrace_scope", Note, scope, "from 2 on only CAP_SYS_PTRACE may trace, and with 3 nobody; platform ptrace wants 0 or 1")
	}
}

// monitor looks for the Kontain monitor, which only sinks with platform KM need.
func (s *system) monitor(r *Report) {
	const area, name = "Kontain monitor", "platform KM"
	path, version, err := s.km()
	var missing *km.MissingError
	switch {
	case errors.As(err, &missing):
		r.add(area, name, OK, "km is not installed; only sinks with platform: KM need it", "")
	case err != nil:
		r.add(area, name, Note, err.Error(), "sinks with platform: KM may fail; others do not need it")
	default:
		r.add(area, name, OK, path+": "+version, "")
	}
}

func (s *system) kernelFeatures(r *Report) {
	for _, f := range s.kernels() {
		source := fmt.Sprintf("%s, Linux %s", f.id, f.since)
		if f.err == nil {
			r.add("Kernel features", f.name, OK, "yes ("+source+")", "")
			continue
		}
		r.add("Kernel features", f.name, f.missing, fmt.Sprintf("no (%s): %v", source, f.err), f.use)
	}
}

// tryCell tries the second level of the jail out.
func tryCell() (noCgroup, err error) {
	program, err := worker.Find("")
	if err != nil {
		return nil, err
	}
	cells, err := cell.Open(cell.Config{Worker: program})
	if err != nil {
		return nil, err
	}
	return cells.NoCgroup, cells.Close()
}

// jail looks at what worker processes can be kept from.
func (s *system) jail(r *Report) {
	const area = "Jail"
	const without = "`kontain serve` jails workers on level 1, which needs no privileges, and refuses --jail 2"
	noCgroup, err := s.cells()
	var missing *cell.UnavailableError
	switch {
	case errors.As(err, &missing) && missing.Hint != "":
		r.add(area, "level 2", Note, fmt.Sprintf("no: %s: %v", missing.Reason, missing.Err), missing.Hint+"; without it "+without)
		return
	case err != nil:
		r.add(area, "level 2", Note, "no: "+err.Error(), "without it "+without)
		return
	}
	r.add(area, "level 2", OK, "yes: a user and namespaces of each sink's own", "")
	if noCgroup != nil {
		r.add(area, "limits by cgroup", Note, "no: "+noCgroup.Error(), "what a machine may have is bounded all the same; cgroups are a second wall")
		return
	}
	r.add(area, "limits by cgroup", OK, "yes", "")
}

// limit is a resource limit of this process.
type limit struct {
	soft, hard uint64
	err        error
}

// unlimited is RLIM_INFINITY of getrlimit(2).
const unlimited = ^uint64(0)

func (l limit) String() string {
	if l.soft == unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(l.soft, 10)
}

func (s *system) resources(r *Report) {
	const area = "Resources"
	if available, ok := memAvailable(s.read("proc/meminfo")); !ok {
		r.add(area, "memory", Warn, "/proc/meminfo cannot be read", "")
	} else {
		level, hint := OK, ""
		if available < 512<<20 {
			level, hint = Warn, "each running program may use up to its limit, 128 MiB by default"
		}
		r.add(area, "memory", level, fmt.Sprintf("%d MiB available", available>>20), hint)
	}
	files, processes := s.limits()
	add := func(name string, l limit, wanted uint64, hint string) {
		switch {
		case l.err != nil:
			r.add(area, name, Warn, l.err.Error(), "")
		case l.soft < wanted:
			r.add(area, name, Warn, l.String(), hint)
		default:
			r.add(area, name, OK, l.String(), "")
		}
	}
	add("open files (ulimit -n)", files, 1024, "each event in a virtual machine holds some; 1024 or more is wanted")
	add("processes (ulimit -u)", processes, 512, "each virtual machine has threads; 512 or more is wanted")
}

// memAvailable reads MemAvailable, in bytes, from the text of /proc/meminfo.
func memAvailable(text string) (uint64, bool) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "MemAvailable:" {
			kib, err := strconv.ParseUint(fields[1], 10, 54)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

func (s *system) verdict(r *Report) {
	kind, err := s.open()
	if err != nil {
		r.Verdict = Verdict{Text: "This machine cannot run programs yet: " + err.Error()}
		return
	}
	r.Verdict = Verdict{CanRun: true, Platform: kind}
	warnings := 0
	for _, f := range r.Findings {
		if f.Level == Warn || f.Level == Bad {
			warnings++
		}
	}
	switch {
	case kind == vmexec.KVM && warnings == 0:
		r.Verdict.Text = "This machine can run programs in KVM virtual machines."
	case kind == vmexec.KVM:
		r.Verdict.Text = fmt.Sprintf("This machine can run programs in KVM virtual machines; %d finding(s) above deserve a look.", warnings)
	default:
		r.Verdict.Text = fmt.Sprintf("This machine can run programs on platform %s: isolated as processes are, not by virtual machines.", kind)
	}
}
