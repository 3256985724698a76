// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Mount is a folder or file of the machine that a container sees.
type Mount struct {
	Source   string // path on the machine
	Target   string // absolute path in the container
	ReadOnly bool
}

// Container is a program, what it sees and what it may do. Its root is a tmpfs
// with nothing but what is named here and what every image has (/etc/passwd,
// CA certificates, /tmp, /dev, /proc, /sys): as little as the images have.
type Container struct {
	Hostname   string
	Namespace  string // for the search list of resolv.conf
	Args       []string
	Env        []string
	Dir        string
	Mounts     []Mount
	UID, GID   int
	Groups     []int
	Privileged bool // all capabilities
	NoNewPrivs bool
	Drop, Add  []string // capabilities, without CAP_
	KVM        bool     // has /dev/kvm
	ReadOnly   bool     // root file system
}

// capabilities that containerd gives a container, by name.
var capabilities = map[string]int{
	"CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "FSETID": unix.CAP_FSETID,
	"FOWNER": unix.CAP_FOWNER, "MKNOD": unix.CAP_MKNOD, "NET_RAW": unix.CAP_NET_RAW,
	"SETGID": unix.CAP_SETGID, "SETUID": unix.CAP_SETUID, "SETFCAP": unix.CAP_SETFCAP,
	"SETPCAP": unix.CAP_SETPCAP, "NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE,
	"SYS_CHROOT": unix.CAP_SYS_CHROOT, "KILL": unix.CAP_KILL, "AUDIT_WRITE": unix.CAP_AUDIT_WRITE,
}

// more can be added by name.
var more = map[string]int{
	"SYS_ADMIN": unix.CAP_SYS_ADMIN, "SYS_PTRACE": unix.CAP_SYS_PTRACE, "SYS_RESOURCE": unix.CAP_SYS_RESOURCE,
	"NET_ADMIN": unix.CAP_NET_ADMIN, "PERFMON": unix.CAP_PERFMON, "BPF": unix.CAP_BPF,
}

// Start starts a container in the network namespace, with further namespaces of
// its own; what it prints goes to output. It is the first process of its PID
// namespace, as the program of a container is.
func (c Container) Start(network *Network, output *os.File) (*exec.Cmd, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("a container without a program")
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close() //nolint:errcheck // Only read.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{podArg0}, Env: []string{},
		Stdout: output, Stderr: output, ExtraFiles: []*os.File{read, network.file},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Setsid:     true,
		},
	}
	err = cmd.Start()
	if err != nil {
		write.Close() //nolint:errcheck // The first error counts.
		return nil, fmt.Errorf("new namespaces for a container: %w", err)
	}
	err = json.NewEncoder(write).Encode(c)
	if err = errors.Join(err, write.Close()); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("telling a container what it is: %w", err)
	}
	return cmd, nil
}

// becomeContainer reads a Container from descriptor 3, takes on the network
// namespace of descriptor 4 and becomes the program. It returns only an error.
func becomeContainer() error {
	// Namespace and capabilities are those of the thread that calls execve.
	runtime.LockOSThread()
	var c Container
	in := os.NewFile(3, "container")
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	if err := unix.Setns(4, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	unix.CloseOnExec(4)
	if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := c.root(); err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := c.drop(); err != nil {
		return err
	}
	return &os.PathError{Op: "execve", Path: c.Args[0], Err: syscall.Exec(c.Args[0], c.Args, c.Env)}
}

// root builds the file system of the container and makes it the root.
func (c Container) root() error {
	const root = "/mnt" // any folder of the machine: what is mounted on it is seen here only
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("root", root, "tmpfs", 0, "mode=755,size=1g"); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	for _, dir := range []string{"dev", "etc/ssl", "home/nonroot", "old", "proc", "sys", "tmp", "run", "var/tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil { //nolint:gosec // As in images.
			return err
		}
	}
	if err := os.Symlink("../run", root+"/var/run"); err != nil {
		return err
	}
	files := map[string]string{ //nolint:gosec // There is no password in it.
		"etc/passwd":        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
		"etc/group":         "root:x:0:\nnonroot:x:65532:\n",
		"etc/nsswitch.conf": "hosts: files dns\n",
		"etc/hosts":         "127.0.0.1 localhost\n",
		"etc/hostname":      c.Hostname + "\n",
		"etc/resolv.conf":   resolvConf(c.Namespace),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil { //nolint:gosec // As in images.
			return err
		}
	}
	for _, dir := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(root, dir), os.ModeSticky|0o777); err != nil {
			return err
		}
	}
	if err := os.Chown(root+"/home/nonroot", 65532, 65532); err != nil {
		return err
	}
	mounts := []Mount{{"/sys", "/sys", !c.Privileged}}
	if _, err := os.Stat("/etc/ssl/certs"); err == nil {
		mounts = append(mounts, Mount{"/etc/ssl/certs", "/etc/ssl/certs", true})
	}
	for _, m := range append(mounts, c.Mounts...) {
		if err := m.mount(root); err != nil {
			return fmt.Errorf("mounting %s: %w", m.Target, err)
		}
	}
	if err := unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := c.devices(root + "/dev"); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, root+"/old"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the machine's files: %w", err)
	}
	if err := os.Remove("/old"); err != nil {
		return err
	}
	if c.ReadOnly {
		// Bind mounts on it keep their own flags; /tmp is not one, as in Kubernetes.
		if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("read-only root: %w", err)
		}
	}
	return nil
}

func (m Mount) mount(root string) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	target := filepath.Join(root, m.Target)
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755) //nolint:gosec // As container runtimes do.
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil { //nolint:gosec // As container runtimes do.
		err = os.WriteFile(target, nil, 0o644) //nolint:gosec // Only a place to mount on.
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !m.ReadOnly {
		return nil
	}
	return unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

func (c Container) devices(dev string) error {
	if err := unix.Mount("dev", dev, "tmpfs", unix.MS_NOSUID, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	devices := map[string][2]uint32{
		"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0},
	}
	if c.KVM {
		devices["kvm"] = [2]uint32{10, 232}
	}
	for name, number := range devices {
		path := filepath.Join(dev, name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(number[0], number[1]))); err != nil {
			return fmt.Errorf("making %s: %w", path, err)
		}
		// Whatever the umask is: udev gives /dev/kvm these permissions too.
		if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // Devices for everybody.
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dev+"/shm", 0o755); err != nil { //nolint:gosec // Mounted on.
		return err
	}
	return unix.Mount("shm", dev+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=64m")
}

// drop takes away what the container may not do. No seccomp filter is put in
// place: container runtimes have one by default, this one does not.
func (c Container) drop() error {
	if !c.Privileged {
		keep := map[int]bool{}
		for _, n := range capabilities {
			keep[n] = true
		}
		for _, name := range c.Drop {
			if n, ok := capabilities[name]; ok {
				delete(keep, n)
			} else if name == "ALL" {
				clear(keep)
			}
		}
		for _, name := range c.Add {
			n, ok := capabilities[name]
			if !ok {
				n, ok = more[name]
			}
			if !ok {
				return fmt.Errorf("capability %s is not known here", name)
			}
			keep[n] = true
		}
		for n := range unix.CAP_LAST_CAP + 1 {
			if keep[n] {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("dropping capability %d: %w", n, err)
			}
		}
	}
	if err := syscall.Setgroups(c.Groups); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setgid(c.GID); err != nil {
		return fmt.Errorf("group %d: %w", c.GID, err)
	}
	if err := syscall.Setuid(c.UID); err != nil {
		return fmt.Errorf("user %d: %w", c.UID, err)
	}
	if c.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}
	return nil
}
