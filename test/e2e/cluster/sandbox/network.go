// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sandbox

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Network is the network namespace of one pod. It outlives the pod's
// containers, so that the address of a pod stays when its program is started
// anew (in Kubernetes, the pause container holds it).
type Network struct {
	IP   string
	file *os.File
}

var networks atomic.Uint32

// NewNetwork makes a network namespace with one interface on the bridge.
func NewNetwork() (*Network, error) {
	n := networks.Add(1)
	if n > 0xfdff {
		return nil, fmt.Errorf("%s has no address left", Pods)
	}
	ip := net.ParseIP(Gateway).To4()
	ip[2], ip[3] = byte((n+256)>>8), byte(n)
	file, err := newNamespace()
	if err != nil {
		return nil, err
	}
	if err := connect(int(file.Fd()), fmt.Sprintf("pod%d", n), ip); err != nil {
		file.Close() //nolint:errcheck // Nothing was written.
		return nil, err
	}
	return &Network{IP: ip.String(), file: file}, nil
}

// Close gives the namespace back once no process is in it.
func (n *Network) Close() error { return n.file.Close() }

// newNamespace makes a network namespace in a thread that ends with the goroutine.
func newNamespace() (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	c := make(chan result)
	go func() {
		// Never unlocked: the thread is in the new namespace and must not be used again.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			c <- result{err: fmt.Errorf("new network namespace: %w", err)}
			return
		}
		file, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		c <- result{file, err}
	}()
	r := <-c
	return r.file, r.err
}

// connect gives the namespace an interface on the bridge and the default route.
func connect(namespace int, name string, ip net.IP) error {
	br, err := netlink.LinkByName(Bridge)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: br.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(namespace),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("making a pair of interfaces (kernel module veth): %w", err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("%s up: %w", name, err)
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(namespace))
	if err != nil {
		return fmt.Errorf("network namespace of a pod: %w", err)
	}
	defer inside.Close()
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("lo of a pod: %w", err)
	}
	if err := inside.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo of a pod up: %w", err)
	}
	eth, err := inside.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0 of a pod: %w", err)
	}
	if err := inside.AddrAdd(eth, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(16, 32)}}); err != nil {
		return fmt.Errorf("address of a pod: %w", err)
	}
	if err := inside.LinkSetUp(eth); err != nil {
		return fmt.Errorf("eth0 of a pod up: %w", err)
	}
	if err := inside.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.ParseIP(Gateway)}); err != nil {
		return fmt.Errorf("default route of a pod: %w", err)
	}
	return nil
}

// ListenOutside listens on a TCP address of the machine, for people: nothing
// else leads into the sandbox.
func ListenOutside(address string) (net.Listener, error) {
	type result struct {
		l   net.Listener
		err error
	}
	c := make(chan result)
	go func() {
		// Never unlocked: the thread is in the machine's namespace and must not be used again.
		runtime.LockOSThread()
		if err := unix.Setns(outside, unix.CLONE_NEWNET); err != nil {
			c <- result{err: fmt.Errorf("the machine's network namespace: %w", err)}
			return
		}
		l, err := net.Listen("tcp", address)
		c <- result{l, err}
	}()
	r := <-c
	return r.l, r.err
}
