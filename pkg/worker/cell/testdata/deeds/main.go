// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Deeds tries what is forbidden in a cell, with nothing else in its way: neither
// seccomp nor Landlock. It prints what came of it.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		return // how a cell is tried out
	}
	deed, ok := deeds[os.Args[1]]
	if !ok {
		fmt.Println("unknown deed")
		os.Exit(2)
	}
	fmt.Println("did:", deed(append(os.Args[2:], "")[0]))
}

// folderFD is where the test passes a folder or a file.
const folderFD = 3

var deeds = map[string]func(string) error{
	"nothing": func(string) error { return nil },
	"wait":    func(string) error { time.Sleep(time.Hour); return nil },
	"say":     func(string) error { fmt.Println("ready"); time.Sleep(time.Hour); return nil },
	"open":    func(path string) error { return open(unix.AT_FDCWD, path, unix.O_RDONLY) },
	"list": func(path string) error {
		// An error unless something is there that the cell is not made of.
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		self := strconv.Itoa(pidInProc())
		var names []string
		for _, e := range entries {
			switch e.Name() {
			case "kontain-worker", "proc", "self", "thread-self", self:
			default:
				names = append(names, e.Name())
			}
		}
		if len(names) == 0 {
			return errors.New("nothing is there")
		}
		return nil
	},
	"write": func(path string) error { return open(unix.AT_FDCWD, path, unix.O_CREAT|unix.O_WRONLY) },
	"kill": func(pid string) error {
		n, _ := strconv.Atoi(pid)
		return unix.Kill(n, 0)
	},
	"kill all": func(string) error { return unix.Kill(-1, 0) },
	"connect": func(port string) error {
		n, _ := strconv.Atoi(port)
		return connect(unix.AF_INET, &unix.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}})
	},
	"abstract": func(name string) error { return connect(unix.AF_UNIX, &unix.SockaddrUnix{Name: name}) },
	"raw socket": func(string) error {
		_, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
		return err
	},
	"shared memory": func(key string) error {
		n, _ := strconv.Atoi(key)
		_, err := unix.SysvShmGet(n, 4096, 0)
		return err
	},
	"mount":       func(string) error { return unix.Mount("x", "/proc", "tmpfs", 0, "") },
	"remount":     func(string) error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
	"unmount":     func(string) error { return unix.Unmount("/proc", unix.MNT_DETACH) },
	"chroot":      func(string) error { return unix.Chroot("/") },
	"unshare":     func(string) error { return unix.Unshare(unix.CLONE_NEWNET) },
	"setuid":      func(string) error { return unix.Setuid(0) },
	"setgid":      func(string) error { return unix.Setgid(0) },
	"setgroups":   func(string) error { return unix.Setgroups([]int{0}) },
	"device":      func(string) error { return unix.Mknodat(folderFD, "d", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) },
	"set name":    func(name string) error { return unix.Sethostname([]byte(name)) },
	"name":        hostName,
	"capability":  capability,
	"nice":        func(string) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -5) },
	"file":        func(name string) error { return open(folderFD, name, unix.O_RDONLY) },
	"change file": func(name string) error { return open(folderFD, name, unix.O_WRONLY) },
	"threads": func(n string) error {
		most, _ := strconv.Atoi(n)
		for range most {
			go func() {
				runtime.LockOSThread()
				time.Sleep(time.Hour)
			}()
		}
		time.Sleep(time.Second)
		return nil
	},
	"memory": func(mib string) error {
		n, _ := strconv.Atoi(mib)
		b := make([]byte, n<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Println("has", len(b), "bytes")
		return nil
	},
}

// pidInProc is the number of this process as /proc has it.
func pidInProc() int {
	l, _ := os.Readlink("/proc/self")
	n, _ := strconv.Atoi(l)
	return n
}

func open(dir int, path string, flags int) error {
	fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func connect(family int, to unix.Sockaddr) error {
	s, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.Connect(s, to)
}

// hostName fails unless the name is that of the host.
func hostName(host string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	if name := string(bytes.TrimRight(u.Nodename[:], "\x00")); name != host {
		return errors.New("it is " + name)
	}
	return nil
}

// capability fails unless there is one.
func capability(string) error {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		for _, set := range []string{"CapPrm:", "CapEff:", "CapInh:", "CapAmb:"} {
			if v, ok := strings.CutPrefix(line, set); ok && strings.Trim(strings.TrimSpace(v), "0") != "" {
				return nil
			}
		}
	}
	return errors.New("there is none")
}
