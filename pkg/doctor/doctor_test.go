// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/km"
	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/vmexec"
)

const cpuText = `processor	: 0
model name	: Test Processor 9000
flags		: fpu nx xsave rdrand fsgsbase constant_tsc FLAGS

processor	: 1
model name	: Test Processor 9000
flags		: fpu
`

// machine is a made-up system on which everything works.
func machine(t *testing.T, flags string) *system {
	t.Helper()
	root := t.TempDir()
	write(t, root, "proc/cpuinfo", strings.Replace(cpuText, "FLAGS", flags, 1))
	write(t, root, "proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable:    1048576 kB\n")
	caps := map[int]int{}
	for _, c := range capabilities {
		caps[c.number] = max(1, c.needs)
	}
	good := limit{soft: 4096, hard: 4096}
	return &system{
		root:    root,
		kernel:  func() (string, error) { return "6.9.0-test", nil },
		kvm:     func(string) kvmProbe { return kvmProbe{version: kvmAPIVersion, caps: caps} },
		kernels: func() []kernelFeature { return nil },
		limits:  func() (limit, limit) { return good, good },
		ptrace:  func() error { return nil },
		cells:   func() (noCgroup, err error) { return nil, nil },
		km:      func() (string, string, error) { return "", "", &km.MissingError{} },
		open:    func() (vmexec.Kind, error) { return vmexec.KVM, nil },
	}
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestExamineJail(t *testing.T) {
	for name, d := range map[string]struct {
		noCgroup, err error
		finding       string
		value, hint   string // parts
	}{
		"no privileges": {nil, &cell.UnavailableError{Reason: "make namespaces", Hint: "this needs root", Err: unix.EPERM}, "level 2", "no: make namespaces: operation not permitted", "this needs root; without it `kontain serve` jails workers on level 1"},
		"no worker":     {nil, errors.New("there is no kontain-worker"), "level 2", "no: there is no kontain-worker", "refuses --jail 2"},
		"no cgroup":     {errors.New("it is not its own"), nil, "limits by cgroup", "no: it is not its own", "a second wall"},
	} {
		t.Run(name, func(t *testing.T) {
			s := machine(t, "vmx")
			s.cells = func() (noCgroup, err error) { return d.noCgroup, d.err }
			f := s.examine().find(t, d.finding)
			if f.Level != Note || !strings.Contains(f.Value, d.value) || !strings.Contains(f.Hint, d.hint) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func (r *Report) find(t *testing.T, name string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %q", name)
	return Finding{}
}

func TestExamineGood(t *testing.T) {
	r := machine(t, "vmx").examine()
	for _, f := range r.Findings {
		if f.Level != OK {
			t.Errorf("%s: %s %q, want ok", f.Name, f.Level, f.Value)
		}
	}
	want := Verdict{CanRun: true, Platform: vmexec.KVM, Text: "This machine can run programs in KVM virtual machines."}
	if diff := cmp.Diff(want, r.Verdict); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	if got := r.find(t, "processor").Value; got != "2 × Test Processor 9000" {
		t.Errorf("processor %q", got)
	}
}

func TestExamineFindings(t *testing.T) {
	tests := []struct {
		name    string
		flags   string
		change  func(*testing.T, *system)
		finding string
		level   Level
		value   string // part of the value
		hint    string // part of the hint
	}{
		{
			"no tracing", "vmx",
			func(_ *testing.T, s *system) {
				s.ptrace = func() error {
					return &vmexec.UnavailableError{Platform: vmexec.Ptrace, Reason: "a test failed", Hint: "allow it", Err: unix.EPERM}
				}
			},
			"platform ptrace", Note, "a test failed: operation not permitted", "allow it",
		},
		{"no Kontain monitor", "vmx", func(*testing.T, *system) {}, "platform KM", OK, "km is not installed", ""},
		{
			"a Kontain monitor", "vmx",
			func(_ *testing.T, s *system) {
				s.km = func() (string, string, error) { return "/x/km", "version 0.1", nil }
			},
			"platform KM", OK, "/x/km: version 0.1", "",
		},
		{
			"a broken Kontain monitor", "vmx",
			func(_ *testing.T, s *system) {
				s.km = func() (string, string, error) { return "/x/km", "", errors.New("no version") }
			},
			"platform KM", Note, "no version", "others do not need it",
		},
		{
			"tracing forbidden", "vmx",
			func(t *testing.T, s *system) { write(t, s.root, "proc/sys/kernel/yama/ptrace_scope", "3\n") },
			"kernel.yama.ptrace_scope", Note, "3", "0 or 1",
		},
		{
			"no device", "vmx",
			func(_ *testing.T, s *system) {
				s.kvm = func(p string) kvmProbe {
					return kvmProbe{openErr: &fs.PathError{Op: "open", Path: p, Err: unix.ENOENT}}
				}
			},
			"/dev/kvm", Bad, "does not exist", "modprobe",
		},
		{
			"no permission", "vmx",
			func(_ *testing.T, s *system) {
				s.kvm = func(p string) kvmProbe {
					return kvmProbe{openErr: &fs.PathError{Op: "open", Path: p, Err: unix.EACCES}}
				}
			},
			"/dev/kvm", Bad, "may not open", "usermod -aG kvm",
		},
		{
			"no such device behind the node", "vmx",
			func(_ *testing.T, s *system) {
				s.kvm = func(p string) kvmProbe {
					return kvmProbe{openErr: &fs.PathError{Op: "open", Path: p, Err: unix.ENODEV}}
				}
			},
			"/dev/kvm", Bad, "no such device", "dmesg",
		},
		{
			"VM cannot be created", "vmx",
			func(_ *testing.T, s *system) {
				s.kvm = func(string) kvmProbe { return kvmProbe{version: kvmAPIVersion, vmErr: unix.EBUSY} }
			},
			"create a VM", Bad, "busy", "another hypervisor",
		},
		{
			"old sync regs", "vmx",
			func(_ *testing.T, s *system) {
				s.kvm = func(string) kvmProbe { return kvmProbe{version: kvmAPIVersion, caps: map[int]int{74: 1}} }
			},
			"registers in shared memory", Bad, "in part: 0x1 of 0x3", "exits",
		},
		{
			"no immediate exit", "vmx",
			func(_ *testing.T, s *system) {
				s.kvm = func(string) kvmProbe { return kvmProbe{version: kvmAPIVersion} }
			},
			"immediate exit", Bad, "no (KVM_CAP_IMMEDIATE_EXIT, Linux 4.11)", "wake-up",
		},
		{
			"old kernel", "vmx",
			func(_ *testing.T, s *system) {
				s.kernels = func() []kernelFeature {
					return []kernelFeature{{"PAGEMAP_SCAN", "changed pages", "6.7", "fast reset", Note, unix.ENOTTY}}
				}
			},
			"changed pages", Note, "no (PAGEMAP_SCAN, Linux 6.7): inappropriate ioctl", "fast reset",
		},
		{
			"pvm", "hypervisor",
			func(t *testing.T, s *system) { write(t, s.root, "sys/module/kvm_pvm/refcnt", "0") },
			"virtualization", Note, "PVM", "10 to 30 times",
		},
		{"nested", "hypervisor svm", nil, "virtualization", Note, "nested", "dearer"},
		{"guest without nesting", "hypervisor", nil, "virtualization", Warn, "neither vmx nor svm", "nested virtualization"},
		{"firmware", "", nil, "virtualization", Warn, "neither vmx (Intel) nor svm (AMD)", "firmware"},
		{
			"few files", "vmx",
			func(_ *testing.T, s *system) {
				s.limits = func() (limit, limit) { return limit{soft: 256}, limit{soft: unlimited} }
			},
			"open files (ulimit -n)", Warn, "256", "1024 or more",
		},
		{
			"little memory", "vmx",
			func(t *testing.T, s *system) { write(t, s.root, "proc/meminfo", "MemAvailable: 1024 kB\n") },
			"memory", Warn, "1 MiB", "limit",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := machine(t, test.flags)
			if test.change != nil {
				test.change(t, s)
			}
			f := s.examine().find(t, test.finding)
			if f.Level != test.level || !strings.Contains(f.Value, test.value) || !strings.Contains(f.Hint, test.hint) {
				t.Errorf("got %+v, want level %s, value with %q, hint with %q", f, test.level, test.value, test.hint)
			}
		})
	}
}

func TestVerdictCannotRun(t *testing.T) {
	s := machine(t, "vmx")
	s.open = func() (vmexec.Kind, error) {
		return "", &vmexec.UnavailableError{Platform: vmexec.KVM, Reason: "no device", Hint: "load the module"}
	}
	v := s.examine().Verdict
	if v.CanRun || !strings.Contains(v.Text, "no device (load the module)") {
		t.Errorf("got %+v", v)
	}
}

func TestParseHostileText(t *testing.T) {
	for _, text := range []string{"", ":", "flags", "processor\nflags:", "MemAvailable: -1 kB", "MemAvailable: 99999999999999999999 kB", "MemAvailable:"} {
		parseCPUInfo(text)
		if n, ok := memAvailable(text); ok {
			t.Errorf("memAvailable(%q) = %d", text, n)
		}
	}
}

// TestProbes holds that the probes are well formed: whatever this machine
// offers, none may be refused for a reason that blames the probe.
func TestProbes(t *testing.T) {
	for _, f := range probeKernel() {
		t.Run(f.id, func(t *testing.T) {
			if errors.Is(f.err, unix.EINVAL) || errors.Is(f.err, unix.EFAULT) || errors.Is(f.err, errScanWrong) {
				t.Errorf("the probe is wrong: %v", f.err)
			}
			t.Logf("result: %v", f.err)
		})
	}
	t.Run("kvm", func(t *testing.T) {
		p := probeKVM("/dev/kvm")
		required := os.Getenv("VMEXEC_REQUIRE_KVM") == "1"
		if p.openErr != nil && !required {
			t.Skipf("no KVM: %v", p.openErr)
		}
		if errors.Is(p.versionErr, unix.ENOTTY) && !required {
			t.Skipf("no KVM: /dev/kvm is another device: %v", p.versionErr)
		}
		if p.openErr != nil || p.versionErr != nil || p.vmErr != nil {
			t.Errorf("open: %v, version: %v, create: %v", p.openErr, p.versionErr, p.vmErr)
		}
	})
	t.Run("kvm/missing", func(t *testing.T) {
		if p := probeKVM(filepath.Join(t.TempDir(), "kvm")); !errors.Is(p.openErr, fs.ErrNotExist) {
			t.Errorf("got %v, want not exist", p.openErr)
		}
	})
	t.Run("kvm/other file", func(t *testing.T) {
		if p := probeKVM("/dev/null"); !errors.Is(p.versionErr, unix.ENOTTY) {
			t.Errorf("got %v, want ENOTTY", p.versionErr)
		}
	})
}
