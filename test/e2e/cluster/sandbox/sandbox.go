// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package sandbox keeps a cluster of processes off the machine that it runs on:
// everything is in a network, a PID and a mount namespace of its own, and each
// pod in further ones. When the first process of the sandbox ends, however it
// ends, the kernel ends all others with it (pid_namespaces(7)).
package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses inside the sandbox. They can be any: nothing of them leaves it.
const (
	Gateway  = "10.88.0.1"     // of the node, on the bridge that all pods are on
	Pods     = "10.88.0.0/16"  // of the pods
	Services = "10.96.0.0/16"  // ClusterIPs
	DNS      = "10.96.0.10"    // the cluster's name server
	Domain   = "cluster.local" // the cluster's DNS domain
	Bridge   = "pods"          // the bridge
)

// ErrUnsupported says that this machine lets nobody make a sandbox; the errors
// that wrap it say why.
var ErrUnsupported = errors.New("no cluster can be run here")

const (
	marker  = "KONTAIN_CLUSTER_SANDBOX" // environment: set in the sandbox
	podArg0 = "kontain-cluster-pod"     // argv[0] of a process that becomes a container
	outside = 3                         // descriptor, in the sandbox: the machine's network namespace
)

// Kind says what a sandbox is for.
type Kind int

const (
	// Processes: pods are processes that this module starts, and ClusterIPs are listened on.
	Processes Kind = iota
	// Kubelet: pods are those of a container runtime, and ClusterIPs are kube-proxy's. What
	// such programs write outside of the folders that they are told is kept off the machine.
	Kubelet
)

// Inside reports whether the process is in the sandbox.
func Inside() bool { return os.Getenv(marker) != "" }

// Init must be the first thing that the program does: containers start as copies of it.
func Init() {
	if os.Args[0] == podArg0 {
		fmt.Fprintln(os.Stderr, "starting the container:", becomeContainer())
		os.Exit(127)
	}
}

// Enter makes a sandbox when the program is not in one: it runs the same program
// with the same arguments in it, passes signals on, and ends with its exit code.
// It then returns only an error, one that is ErrUnsupported when the machine
// cannot have a sandbox. Inside, it sets the network up and returns nil.
func Enter(kind Kind) error {
	if Inside() {
		return setUp(kind)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: namespaces, mounts and devices need root; run it as root", ErrUnsupported)
	}
	// The parent-death signal is that of the thread which started the child.
	runtime.LockOSThread()
	network, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.ExtraFiles = []*os.File{network}
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: new network, PID and mount namespaces: %w (a container needs --privileged)", ErrUnsupported, err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // It may have ended.
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit) && exit.Exited():
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "the cluster's first process:", err)
	os.Exit(1)
	return nil
}

// descriptors are as many as container runtimes give programs, and what the Services of the
// sandbox need under load: the first process of the sandbox passes all connections on.
const descriptors = 1 << 16

// setUp gives the sandbox its own /proc, /etc/resolv.conf and network.
func setUp(kind Kind) error {
	unix.CloseOnExec(outside)
	if err := allowDescriptors(); err != nil {
		return fmt.Errorf("%w: limit of open files: %w", ErrUnsupported, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: private mounts: %w", ErrUnsupported, err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("%w: mounting /proc: %w", ErrUnsupported, err)
	}
	if kind == Kubelet {
		if err := hide(); err != nil {
			return fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
	}
	if err := nameServer(); err != nil {
		return fmt.Errorf("%w: /etc/resolv.conf: %w", ErrUnsupported, err)
	}
	if err := network(kind); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return nil
}

// allowDescriptors raises the limit of open files, as far as this process may.
func allowDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= descriptors {
		return nil
	}
	if limit.Max < descriptors && unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: descriptors, Max: descriptors}) == nil {
		return nil
	}
	limit.Cur = min(limit.Max, descriptors)
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// resolvConf is what kubelet would write; namespace may be empty.
func resolvConf(namespace string) string {
	search := "svc." + Domain + " " + Domain
	if namespace != "" {
		search = namespace + ".svc." + Domain + " " + search
	}
	return fmt.Sprintf("nameserver %s\nsearch %s\noptions ndots:5 timeout:2 attempts:3\n", DNS, search)
}

// hidden are the folders that container runtimes and kubelets have compiled in: sockets
// and network namespaces in /run, /var/lib/kubelet/device-plugins, /var/lib/cni,
// /var/log/containers.
var hidden = []string{"/run", "/var/lib", "/var/log"}

func hide() error {
	for _, dir := range hidden {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("an empty %s: %w", dir, err)
		}
	}
	return nil
}

func nameServer() error {
	dir, err := os.MkdirTemp("", "kontain-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // The mount keeps the file.
	file := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(file, []byte(resolvConf("")), 0o644); err != nil { //nolint:gosec // As the real one.
		return err
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if errors.Is(err, fs.ErrNotExist) {
		// A link into /run, which is empty now.
		if target, err = os.Readlink("/etc/resolv.conf"); err != nil {
			return err
		}
		target = filepath.Join("/etc", target)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // As the real one.
			return err
		}
		err = os.WriteFile(target, nil, 0o644) //nolint:gosec // As the real one.
	}
	if err != nil {
		return err
	}
	return unix.Mount(file, target, "", unix.MS_BIND, "")
}

// network makes the bridge, and lets any ClusterIP be listened on (Linux calls
// a local route for a range AnyIP): what kube-proxy does with packet filters is
// done by listeners. Where kube-proxy is there, ClusterIPs are routed as any other address
// of the pods' network, so that packets to them pass its filters with the node's address.
func network(kind Kind) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: Bridge}}
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("making a bridge (kernel module bridge): %w", err)
	}
	_, pods, err := net.ParseCIDR(Pods)
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(Gateway), Mask: pods.Mask}}
	if err := netlink.AddrAdd(br, address); err != nil {
		return fmt.Errorf("address of the bridge: %w", err)
	}
	if err := netlink.LinkSetUp(br); err != nil {
		return fmt.Errorf("bridge up: %w", err)
	}
	_, services, err := net.ParseCIDR(Services)
	if err != nil {
		return err
	}
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: services, Table: unix.RT_TABLE_LOCAL,
		Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	if kind == Kubelet {
		route = &netlink.Route{LinkIndex: br.Attrs().Index, Dst: services, Scope: netlink.SCOPE_LINK}
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return fmt.Errorf("forwarding: %w", err)
		}
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("local route for %s: %w", Services, err)
	}
	return nil
}
