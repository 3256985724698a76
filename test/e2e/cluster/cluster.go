// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package cluster runs a real Kubernetes with a real Knative Eventing as
// processes of one machine, without container images and without touching the
// machine's network: etcd, kube-apiserver and kube-controller-manager, and on
// them, as pods that are processes in namespaces (package node), Knative
// Eventing with its MT broker and InMemoryChannel and this project's own
// programs, all from the YAML that users apply and under their own service
// accounts.
//
// It needs Linux, root, network, PID and mount namespaces, the kernel's bridge
// and veth, and the go command with its module proxy (for the first build).
package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	eventing "knative.dev/eventing/pkg/client/clientset/versioned"

	"kontain.dev/eventing/test/e2e/cluster/node"
	"kontain.dev/eventing/test/e2e/cluster/programs"
	"kontain.dev/eventing/test/e2e/cluster/sandbox"
	"kontain.dev/eventing/test/e2e/cluster/service"
)

// Patience is the longest wait for what should take seconds: the machine may be
// slow and shared.
const Patience = 3 * time.Minute

// beforeTimeout is how long before go test's -timeout it is said what goes on.
const beforeTimeout = 30 * time.Second

// Set outside of the sandbox, where programs are built.
const (
	envUpstream = "KONTAIN_CLUSTER_UPSTREAM" // folder of programs of others
	envOurs     = "KONTAIN_CLUSTER_OURS"     // folder of this repository's programs
	envKnative  = "KONTAIN_CLUSTER_KNATIVE"  // folder of the module knative.dev/eventing
	envConfig   = "KONTAIN_CLUSTER_CONFIG"   // folder of this repository's manifests
	envDebian   = "KONTAIN_CLUSTER_DEBIAN"   // folder that Debian's packages are unpacked in
	envPause    = "KONTAIN_CLUSTER_PAUSE"    // the program that holds a pod's namespaces
	envRelease  = "KONTAIN_CLUSTER_RELEASE"  // folder of what make release makes
	envKeep     = "KONTAIN_CLUSTER_KEEP"     // set by a person: the folder of logs is kept
)

// Cluster is a running cluster.
type Cluster struct {
	Config   *rest.Config // of an administrator
	Kube     kubernetes.Interface
	Dynamic  dynamic.Interface
	Eventing eventing.Interface
	Node     *node.Node // nil where a kubelet runs pods
	Dir      string     // of everything that the cluster writes; logs are in Dir/logs

	kind     sandbox.Kind
	mapper   *restmapper.DeferredDiscoveryRESTMapper
	upstream string
	ours     string
	config   string
	knative  string
	debian   string
	pause    string
	release  string
	registry string // host:port
	// privateRegistry is the same for those who have a password.
	privateRegistry string
	// removed and restored are when what is installed was last taken away.
	removed, restored time.Time

	cancel  context.CancelFunc
	daemons []*daemon
}

// Main is TestMain of tests that use a cluster: it builds what is missing,
// enters a sandbox, starts the cluster, runs the tests and ends everything.
func Main(m *testing.M, use func(*Cluster)) { testMain(m, sandbox.Processes, use) }

// MainPods is Main for a cluster whose pods are containers: a kubelet, containerd, runc and
// kube-proxy in place of package node. Debian's packages of them are downloaded and
// unpacked, not installed. This project's images are loaded; its manifests are left to the
// tests to install.
func MainPods(m *testing.M, use func(*Cluster)) { testMain(m, sandbox.Kubelet, use) }

func testMain(m *testing.M, kind sandbox.Kind, use func(*Cluster)) {
	runKind(kind, func(c *Cluster) int {
		use(c)
		flag.Parse()
		if timeout, ok := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration); ok && timeout > 0 {
			// The panic that then follows ends everything at once.
			time.AfterFunc(max(timeout-beforeTimeout, timeout/2), func() {
				fmt.Fprintln(os.Stderr, "cluster: the time that go test gives is almost over")
				c.Diagnose(os.Stderr)
			})
		}
		code := m.Run()
		refused, err := c.Refused()
		if err != nil {
			refused = append(refused, err.Error())
		}
		for _, r := range refused {
			// Whatever works without it, the component asked for it.
			fmt.Fprintln(os.Stderr, "cluster: the API server refused", r)
			code = max(code, 1)
		}
		return code
	})
}

// Run starts a cluster in a sandbox, calls f and ends the program with f's exit
// code. The program must do nothing before.
func Run(f func(*Cluster) int) { runKind(sandbox.Processes, f) }

func runKind(kind sandbox.Kind, f func(*Cluster) int) {
	sandbox.Init()
	code, err := run(kind, f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(kind sandbox.Kind, f func(*Cluster) int) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !sandbox.Inside() {
		if err := prepare(ctx, kind, os.Stderr); err != nil {
			return 1, err
		}
	}
	if err := sandbox.Enter(kind); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "kontain-cluster-")
	if err != nil {
		return 1, err
	}
	// Containers of other users look files up in it.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // As above.
		return 1, err
	}
	failed := true
	defer func() {
		if failed || os.Getenv(envKeep) != "" {
			fmt.Fprintf(os.Stderr, "cluster: logs are in %s\n", filepath.Join(dir, "logs"))
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	begin := time.Now()
	c, err := start(ctx, kind, dir)
	if err != nil {
		return 1, fmt.Errorf("starting: %w", err)
	}
	fmt.Fprintf(os.Stderr, "cluster: Kubernetes and Knative Eventing are up after %.1f s\n", time.Since(begin).Seconds())
	code = f(c)
	if failed = code != 0; failed {
		c.Diagnose(os.Stderr)
	}
	return code, c.stop()
}

// prepare builds the programs and says the sandbox, through the environment,
// where they are.
func prepare(ctx context.Context, kind sandbox.Kind, out io.Writer) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: namespaces, mounts and devices need root; run it as root", sandbox.ErrUnsupported)
	}
	module, err := programs.Root(ctx)
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache = filepath.Join(cache, "kontain-eventing", "cluster")
	knative, err := programs.Module(ctx, module, "knative.dev/eventing")
	if err != nil {
		return err
	}
	names := programs.Processes
	if kind == sandbox.Kubelet {
		names = append(slices.Clone(names), programs.Node...)
	}
	upstream, err := programs.BuildUpstream(ctx, module, cache, names, out)
	if err != nil {
		return err
	}
	root := filepath.Join(module, "..", "..", "..")
	if kind == sandbox.Kubelet {
		if err := prepareNode(ctx, root, module, cache, out); err != nil {
			return err
		}
	}
	ours := filepath.Join(root, "bin", "cluster")
	if err := programs.BuildOurs(ctx, root, ours, ourPrograms(root)); err != nil {
		return err
	}
	return errors.Join(
		os.Setenv(envKnative, knative), os.Setenv(envUpstream, upstream),
		os.Setenv(envOurs, ours), os.Setenv(envConfig, filepath.Join(root, "config")),
	)
}

// start starts the cluster in the sandbox.
func start(ctx context.Context, kind sandbox.Kind, dir string) (_ *Cluster, err error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &Cluster{
		Dir: dir, cancel: cancel,
		upstream: os.Getenv(envUpstream), ours: os.Getenv(envOurs),
		config: os.Getenv(envConfig), knative: os.Getenv(envKnative),
		debian: os.Getenv(envDebian), pause: os.Getenv(envPause), release: os.Getenv(envRelease),
		kind: kind,
	}
	defer func() {
		if err != nil {
			c.Diagnose(os.Stderr)
			err = errors.Join(err, c.stop())
		}
	}()
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil { //nolint:gosec // For a person.
		return nil, err
	}
	if err := c.controlPlane(ctx); err != nil {
		return nil, err
	}
	c.Kube, err = kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	c.Dynamic, err = dynamic.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	c.Eventing, err = eventing.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.Kube.Discovery()))
	log, err := os.Create(filepath.Join(dir, "logs", "node.log"))
	if err != nil {
		return nil, err
	}
	if err := c.startRegistry(ctx); err != nil {
		return nil, err
	}
	if kind == sandbox.Kubelet {
		if err := c.startNode(ctx, log); err != nil {
			return nil, err
		}
		return c, c.installKnative(ctx)
	}
	if _, err := service.Start(ctx, c.Kube, sandbox.DNS+":53", log); err != nil {
		return nil, err
	}
	c.Node, err = node.Start(ctx, c.Kube, dir, c.image, log)
	if err != nil {
		return nil, err
	}
	return c, c.installKnative(ctx)
}

// stop ends all processes, pods first.
func (c *Cluster) stop() error {
	c.cancel()
	if c.Node != nil {
		c.Node.Wait()
	}
	var errs []error
	for i := len(c.daemons) - 1; i >= 0; i-- {
		errs = append(errs, c.daemons[i].stop())
	}
	if c.kind == sandbox.Kubelet {
		errs = append(errs, c.endNode())
	}
	return errors.Join(errs...)
}

// daemon is a process of the control plane.
type daemon struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
	once sync.Once
}

// daemon starts a program of others; what it prints goes to logs/<name>.log.
func (c *Cluster) daemon(name string, args ...string) (*daemon, error) {
	return c.daemonAt(filepath.Join(c.upstream, name), args...)
}

// daemonAt is daemon for a program that is elsewhere.
func (c *Cluster) daemonAt(file string, args ...string) (*daemon, error) {
	name := filepath.Base(file)
	log, err := os.Create(filepath.Join(c.Dir, "logs", name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // Only the child writes.
	d := &daemon{name: name, cmd: exec.Command(file, args...), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.Dir = log, log, c.Dir
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	c.daemons = append(c.daemons, d)
	return d, nil
}

// ended is the error of a process that should still run.
func (d *daemon) ended() error {
	select {
	case <-d.done:
		return fmt.Errorf("%s ended: %w: see logs/%s.log", d.name, d.err, d.name)
	default:
		return nil
	}
}

func (d *daemon) stop() error {
	var err error
	d.once.Do(func() {
		if err = d.ended(); err != nil {
			return
		}
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.done:
		case <-time.After(3 * time.Second):
			// Nothing that it has is kept.
			_ = d.cmd.Process.Kill()
			<-d.done
		}
	})
	return err
}
