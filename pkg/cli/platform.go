// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"

	"kontain.dev/eventing/vmexec"
)

const platformUsage = "`kvm`, ptrace or auto (KVM where it works, otherwise ptrace; in a cluster KVM only)"

// checkPlatform refuses a value of --platform that there is not.
func checkPlatform(command, value string) error {
	switch vmexec.Kind(value) {
	case vmexec.Auto, vmexec.KVM, vmexec.Ptrace:
		return nil
	}
	return usageErrorf("%s: --platform %q: must be kvm, ptrace or auto", command, value)
}

// inCluster reports whether this is a container of Kubernetes.
func inCluster() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

// candidates returns the platforms that a value of --platform allows, the best
// first. In a cluster a weaker one must be asked for by name.
func candidates(kind vmexec.Kind, inCluster bool) []vmexec.Kind {
	switch {
	case kind != vmexec.Auto:
		return []vmexec.Kind{kind}
	case inCluster:
		return []vmexec.Kind{vmexec.KVM}
	}
	return []vmexec.Kind{vmexec.KVM, vmexec.Ptrace}
}

// openPlatform opens what --platform allows. The note says what was opened and
// why, in one line.
func openPlatform(kind vmexec.Kind) (host *vmexec.Host, note string, err error) {
	host, skipped, err := vmexec.OpenFirst(candidates(kind, inCluster())...)
	if err != nil {
		return nil, "", err
	}
	return host, platformNote(host.Kind(), skipped), nil
}

func platformNote(kind vmexec.Kind, skipped []error) string {
	if kind == vmexec.KVM {
		return "platform kvm: each program runs in a virtual machine of its own"
	}
	why := ""
	for _, err := range skipped {
		reason := err.Error()
		var missing *vmexec.UnavailableError
		if errors.As(err, &missing) {
			reason = missing.Reason
		}
		why += fmt.Sprintf(" because %s", reason)
	}
	return fmt.Sprintf("platform %s%s: the program is isolated as a process is, not by a virtual machine", kind, why)
}
