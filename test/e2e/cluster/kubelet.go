// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kontain.dev/eventing/test/e2e/cluster/programs"
	"kontain.dev/eventing/test/e2e/cluster/sandbox"
	"kontain.dev/eventing/test/e2e/cluster/service"
)

const (
	// NodeName is the name of the node of a cluster with a kubelet.
	NodeName = "node"

	pauseImage = "localhost/pause:1"

	koRegistry = "ko.local/"
	koTag      = ":module" // A kubelet would always pull one with the tag latest.

	controlGroups = "/sys/fs/cgroup"
	podsGroup     = "kontain-pods"
)

// koImage is an image in Knative's manifests as its module has them: what ko is to build.
var koImage = regexp.MustCompile(`ko://([a-z0-9._/-]+)`)

// prepareNode has what a cluster with a kubelet needs besides the programs of others.
func prepareNode(ctx context.Context, root, module, cache string, out io.Writer) error {
	debian, err := programs.Debian(ctx, cache, out)
	if err != nil {
		return err
	}
	pause := filepath.Join(root, "bin", "cluster", "pause")
	if err := programs.Build(ctx, module, "./cmd/pause", pause); err != nil {
		return err
	}
	release := filepath.Join(root, "bin", "cluster", "release")
	if err := programs.Release(ctx, root, release); err != nil {
		return err
	}
	return errors.Join(os.Setenv(envDebian, debian), os.Setenv(envPause, pause), os.Setenv(envRelease, release))
}

// Release is the manifest of what make release makes.
func (c *Cluster) Release() string { return filepath.Join(c.release, "kontain-eventing.yaml") }

// startNode starts containerd, kubelet, kube-scheduler and kube-proxy, loads the images, and
// waits until the node is ready.
func (c *Cluster) startNode(ctx context.Context, log io.Writer) error {
	// containerd looks for runc and its shim, kube-proxy for nft.
	err := errors.Join(
		os.Setenv("PATH", filepath.Join(c.debian, "usr/sbin")+":"+filepath.Join(c.debian, "usr/bin")+":"+os.Getenv("PATH")),
		os.Setenv("LD_LIBRARY_PATH", filepath.Join(c.debian, "usr/lib/x86_64-linux-gnu")+":"+filepath.Join(c.debian, "lib/x86_64-linux-gnu")),
		makeGroup(),
	)
	if err != nil {
		return err
	}
	for file, text := range map[string]string{
		"containerd.toml": c.containerdConfig(), "cni/10-pods.conflist": c.networkConfig(), "kubelet.yaml": c.kubeletConfig(),
	} {
		file = filepath.Join(c.Dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil { //nolint:gosec // No secrets.
			return err
		}
	}
	if _, err := c.daemonAt(filepath.Join(c.debian, "usr/bin/containerd"), "--config", filepath.Join(c.Dir, "containerd.toml")); err != nil {
		return err
	}
	err = Eventually(ctx, Patience, func(ctx context.Context) error { return c.ctr(ctx, "version") })
	if err != nil {
		return fmt.Errorf("containerd: %w: see logs/containerd.log", err)
	}
	if err := c.loadImages(ctx); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	if _, err := c.daemon("kube-scheduler", "--kubeconfig="+c.Kubeconfig(), "--leader-elect=false",
		"--cert-dir="+filepath.Join(c.Dir, "pki", "scheduler"),
		"--authentication-kubeconfig="+c.Kubeconfig(), "--authorization-kubeconfig="+c.Kubeconfig()); err != nil {
		return err
	}
	if _, err := c.daemon("kube-proxy", "--kubeconfig="+c.Kubeconfig(), "--proxy-mode=nftables", "--hostname-override="+NodeName,
		"--cluster-cidr="+sandbox.Pods,
		// The machine's own limits stay as they are.
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"); err != nil {
		return err
	}
	if _, err := c.daemon("kubelet", "--config="+filepath.Join(c.Dir, "kubelet.yaml"), "--kubeconfig="+c.Kubeconfig(),
		"--root-dir="+filepath.Join(c.Dir, "kubelet"), "--cert-dir="+filepath.Join(c.Dir, "pki", "kubelet"),
		"--hostname-override="+NodeName, "--node-ip="+sandbox.Gateway); err != nil {
		return err
	}
	if err := service.StartDNS(ctx, c.Kube, sandbox.Gateway+":53", log); err != nil {
		return err
	}
	if err := c.Apply(ctx, dnsService); err != nil {
		return err
	}
	return Eventually(ctx, Patience, func(ctx context.Context) error {
		n, err := c.Kube.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range n.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("the node is not ready: %v: see logs/kubelet.log", n.Status.Conditions)
	})
}

// endNode ends what the container runtime has left running, and takes its mounts away, so
// that the cluster's folder can be removed. In the sandbox there is nothing else.
func (c *Cluster) endNode() error {
	if os.Getpid() != 1 {
		return nil // Not in a sandbox, where -1 would be everybody.
	}
	if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			break // None is left.
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines) // The last one is on top.
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], c.Dir+"/") {
			if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmounting %s: %w", fields[1], err)
			}
		}
	}
	return removeGroup()
}

// makeGroup makes the control group that pods are under, in all hierarchies.
func makeGroup() error {
	hierarchies, err := groupHierarchies()
	if err != nil {
		return err
	}
	if err := removeGroup(); err != nil { // of a cluster that was killed
		return err
	}
	for _, h := range hierarchies {
		dir := filepath.Join(h, podsGroup)
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // As others.
			return fmt.Errorf("control group: %w", err)
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			// A new group of version 1 has none.
			if value, err := os.ReadFile(filepath.Join(h, file)); err == nil {
				if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
					return fmt.Errorf("control group: %w", err)
				}
			}
		}
	}
	return nil
}

// groupHierarchies are the hierarchies of control groups: one of version 2, or those of
// version 1.
func groupHierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(controlGroups, "cgroup.controllers")); err == nil {
		return []string{controlGroups}, nil
	}
	entries, err := os.ReadDir(controlGroups)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() { // Links are other names.
			all = append(all, filepath.Join(controlGroups, e.Name()))
		}
	}
	return all, nil
}

// removeGroup removes the control groups of pods, which fails while something runs in them.
func removeGroup() error {
	hierarchies, err := groupHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(h, podsGroup), func(file string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, file)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		slices.Reverse(dirs) // what is in them first
		for _, dir := range dirs {
			// Those that were killed take a moment to leave.
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				if err = os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
					break
				}
				if time.Now().After(end) {
					return fmt.Errorf("control group: %w", err)
				}
			}
		}
	}
	return nil
}

// ctr runs containerd's own client, in the namespace of the kubelet's images.
func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	all := append([]string{"-a", filepath.Join(c.Dir, "containerd.sock"), "-n", "k8s.io"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(c.debian, "usr/bin/ctr"), all...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, bytes.TrimSpace(out))
	}
	return nil
}

// PullToNode has the node's containerd pull an image of Registry, which has no certificate.
func (c *Cluster) PullToNode(ctx context.Context, ref string) error {
	return c.ctr(ctx, "images", "pull", "--plain-http", ref)
}

// loadImages loads the images of pods into containerd: this project's as they are released,
// Knative's made of its programs as ko does.
func (c *Cluster) loadImages(ctx context.Context) error {
	archives, err := filepath.Glob(filepath.Join(c.release, "*.tar"))
	if err != nil {
		return err
	}
	made := map[string]string{pauseImage: c.pause}
	for file, pkg := range programs.Upstream {
		if strings.HasPrefix(pkg, "knative.dev/") {
			made[koRegistry+pkg+koTag] = filepath.Join(c.upstream, file)
		}
	}
	for ref, program := range made {
		archive := filepath.Join(c.Dir, "image.tar")
		if err := writeImage(archive, ref, program); err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		if err := c.ctr(ctx, "images", "import", archive); err != nil {
			return err
		}
		if err := os.Remove(archive); err != nil {
			return err
		}
	}
	for _, archive := range archives {
		if err := c.ctr(ctx, "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// writeImage writes an image of one program, as an archive of docker save.
func writeImage(archive, ref, program string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	inside := "ko-app/" + path.Base(tag.RepositoryStr())
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err = errors.Join(
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}),
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inside, Mode: 0o755, Size: int64(len(data))}),
	)
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{User: fmt.Sprintf("%d:%d", nonroot, nonroot), Entrypoint: []string{"/" + inside}, Env: []string{"PATH=/ko-app"}}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	return tarball.WriteToFile(archive, tag, img)
}

func (c *Cluster) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = %[1]q
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = %[2]q
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = %[3]q
# Root in a container may not lower the score.
restrict_oom_score_adj = true
# A container that is not root may open the devices that it is given.
device_ownership_from_security_context = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = %[4]q
conf_dir = %[5]q
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = %[6]q
SystemdCgroup = false
`, filepath.Join(c.Dir, "containerd"), filepath.Join(c.Dir, "containerd.sock"), pauseImage,
		filepath.Join(c.debian, "usr/lib/cni"), filepath.Join(c.Dir, "cni"), filepath.Join(c.debian, "usr/sbin/runc"))
}

func (c *Cluster) networkConfig() string {
	return fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": %q, "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q, "gateway": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}`, sandbox.Bridge, filepath.Join(c.Dir, "addresses"), sandbox.Pods, sandbox.Gateway)
}

// kubeletConfig leaves all that has to do with speed at its default.
func (c *Cluster) kubeletConfig() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /%s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0 # root in a container may not lower it
containerRuntimeEndpoint: unix://%s/containerd.sock
clusterDNS: [%s]
clusterDomain: %s
resolvConf: /etc/resolv.conf
podLogsDir: %[2]s/pods
volumePluginDir: %[2]s/volume-plugins
evictionHard: {memory.available: 100Mi}
`, podsGroup, c.Dir, sandbox.DNS, sandbox.Domain)
}

// dnsService is where pods find the name server, as in other clusters.
var dnsService = fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: %s, ports: [{name: dns, port: 53, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}]
endpoints: [{addresses: [%s]}]
`, sandbox.DNS, sandbox.Gateway)
