// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"fmt"
	"io"
	"strconv"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// sink makes a file that shows s and takes what is written to it without effect, as
// a setting that makes no difference here.
func sink(name, s string) dynEntry {
	e := str(name, s)
	e.mode |= 0o200
	e.set = func(*FS, []byte) abi.Errno { return 0 }
	return e
}

// uuid makes a random UUID of version 4; RFC 9562.
func (fs *FS) uuid() ([]byte, abi.Errno) {
	var b [16]byte
	if _, err := io.ReadFull(fs.rand, b[:]); err != nil {
		return nil, abi.EIO
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Appendf(nil, "%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), 0
}

// boot is the number of this start of the VM, another one in each clone.
func (fs *FS) boot() ([]byte, abi.Errno) {
	var errno abi.Errno
	if fs.bootID == nil {
		fs.bootID, errno = fs.uuid()
	}
	return fs.bootID, errno
}

// sysctls is /proc/sys: what programs and libraries ask for. Values are those of a
// Linux of one's own, limits are the VM's.
func sysctls(sys func(func(System) string) func(*FS) ([]byte, abi.Errno)) table {
	return table{
		folder("crypto", table{str("fips_enabled", "0\n")}),
		folder("fs", table{
			str("aio-max-nr", "65536\n"), str("file-max", "1048576\n"), str("nr_open", "1048576\n"),
			folder("inotify", table{
				str("max_queued_events", strconv.Itoa(maxQueuedEvents)+"\n"), str("max_user_instances", "128\n"), str("max_user_watches", "65536\n"),
			}),
			str("overflowgid", "65534\n"), str("overflowuid", "65534\n"), str("pipe-max-size", "1048576\n"),
			str("protected_hardlinks", "0\n"), str("protected_symlinks", "0\n"),
		}),
		folder("kernel", table{
			str("cap_last_cap", "40\n"), str("core_pattern", "core\n"), str("core_uses_pid", "0\n"), str("domainname", "(none)\n"),
			text("hostname", func(fs *FS) ([]byte, abi.Errno) { return []byte(fs.hostname + "\n"), 0 }),
			str("kptr_restrict", "2\n"), str("msgmax", "8192\n"), str("ngroups_max", "65536\n"),
			text("osrelease", sys(func(s System) string { return s.Release + "\n" })), str("ostype", "Linux\n"),
			str("overflowgid", "65534\n"), str("overflowuid", "65534\n"), str("perf_event_paranoid", "4\n"), str("pid_max", "32768\n"),
			folder("random", table{
				text("boot_id", (*FS).boot), str("entropy_avail", "256\n"), str("poolsize", "256\n"),
				text("uuid", (*FS).uuid),
			}),
			str("randomize_va_space", "0\n"), str("sched_autogroup_enabled", "0\n"),
			str("shmall", "18446744073692774399\n"), str("shmmax", "18446744073692774399\n"), str("threads-max", "32768\n"),
			str("unprivileged_userns_clone", "0\n"), text("version", sys(func(s System) string { return s.Version + "\n" })),
		}),
		folder("net", table{
			folder("core", table{
				str("rmem_default", "212992\n"), str("rmem_max", "212992\n"), str("somaxconn", "4096\n"),
				str("wmem_default", "212992\n"), str("wmem_max", "212992\n"),
			}),
			folder("ipv4", table{
				str("ip_forward", "0\n"), str("ip_local_port_range", "32768\t60999\n"), str("ip_unprivileged_port_start", "1024\n"),
				str("tcp_keepalive_intvl", "75\n"), str("tcp_keepalive_probes", "9\n"), str("tcp_keepalive_time", "7200\n"),
				str("tcp_syncookies", "1\n"),
			}),
			folder("ipv6", table{folder("conf", table{folder("all", table{str("disable_ipv6", "0\n")})})}),
		}),
		folder("vm", table{
			str("max_map_count", "65530\n"), str("mmap_min_addr", "65536\n"), str("nr_hugepages", "0\n"),
			str("overcommit_memory", "1\n"), str("overcommit_ratio", "50\n"), str("swappiness", "0\n"),
		}),
	}
}

// sysRoot is /sys: one CPU on one node, no transparent huge pages, no devices.
var sysRoot = table{
	folder("block", table{}), folder("bus", table{}), folder("class", table{}), folder("dev", table{}),
	folder("devices", table{folder("system", table{
		folder("cpu", table{
			folder("cpu0", table{
				str("online", "1\n"),
				folder("topology", table{
					str("cluster_cpus_list", "0\n"), str("core_cpus", "1\n"), str("core_cpus_list", "0\n"), str("core_id", "0\n"),
					str("core_siblings", "1\n"), str("core_siblings_list", "0\n"), str("die_id", "0\n"), str("package_cpus_list", "0\n"),
					str("physical_package_id", "0\n"), str("thread_siblings", "1\n"), str("thread_siblings_list", "0\n"),
				}),
			}),
			str("isolated", "\n"), str("kernel_max", "0\n"), str("offline", "\n"), str("online", "0\n"), str("possible", "0\n"), str("present", "0\n"),
		}),
		folder("node", table{
			str("has_cpu", "0\n"), str("has_memory", "0\n"),
			folder("node0", table{str("cpulist", "0\n"), str("cpumap", "1\n"), str("distance", "10\n")}),
			str("online", "0\n"), str("possible", "0\n"),
		}),
	})}),
	folder("firmware", table{}),
	folder("fs", table{folder("cgroup", table{})}),
	folder("kernel", table{folder("mm", table{
		folder("hugepages", table{}),
		folder("transparent_hugepage", table{
			str("defrag", "always defer defer+madvise madvise [never]\n"), str("enabled", "always madvise [never]\n"),
			str("hpage_pmd_size", "2097152\n"), str("shmem_enabled", "always within_size advise [never] deny force\n"), str("use_zero_page", "0\n"),
		}),
	})}),
	folder("module", table{}),
}

// namespaces are the links of /proc/<pid>/ns: one of each kind, with the number that
// Linux gives the first.
func namespaces() table {
	var t table
	for _, n := range []struct {
		name, kind string
		ino        uint32
	}{
		{"cgroup", "cgroup", 4026531835},
		{"ipc", "ipc", 4026531839},
		{"mnt", "mnt", 4026531841},
		{"net", "net", 4026531840},
		{"pid", "pid", 4026531836},
		{"pid_for_children", "pid", 4026531836},
		{"time", "time", 4026531834},
		{"time_for_children", "time", 4026531834},
		{"user", "user", 4026531837},
		{"uts", "uts", 4026531838},
	} {
		to := fmt.Sprintf("%s:[%d]", n.kind, n.ino)
		t = append(t, symlink(n.name, func(*FS) (string, abi.Errno) { return to, 0 }))
	}
	return t
}

// fdInfoDir is /proc/<pid>/fdinfo.
type fdInfoDir int

func (d fdInfoDir) list(fs *FS) []dynEntry {
	es := fdDir(d).list(fs)
	for i := range es {
		es[i] = text(es[i].name, nil)
	}
	return es
}

func (d fdInfoDir) find(fs *FS, name string) (dynEntry, bool) {
	n, ok := number(name)
	if !ok || n > 1<<30 {
		return dynEntry{}, false
	}
	if _, errno := fdDir(d).open(fs, int32(n)); errno != 0 {
		return dynEntry{}, false
	}
	return text(name, func(fs *FS) ([]byte, abi.Errno) { return d.info(fs, int32(n)) }), true
}

// info is /proc/<pid>/fdinfo/<n>; see proc_pid_fdinfo(5).
func (d fdInfoDir) info(fs *FS, n int32) ([]byte, abi.Errno) {
	desc, errno := fdDir(d).open(fs, n)
	if errno != 0 {
		return nil, errno
	}
	flags := desc.StatusFlags()
	if on, _ := fs.process(int(d)).Table().Cloexec(n); on {
		flags |= unix.O_CLOEXEC
	}
	pos := int64(0)
	st, _ := desc.Stat()
	mnt := uint64(0)
	if l, ok := desc.File.(Located); ok {
		at, _ := l.Path().Attr()
		mnt = at.MntID
		if k := st.Mode & unix.S_IFMT; k == unix.S_IFREG || k == unix.S_IFDIR {
			pos, _ = desc.Lseek(0, unix.SEEK_CUR)
		}
	}
	return fmt.Appendf(nil, "pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", pos, flags, mnt, st.Ino), 0
}

// smapsRollup is /proc/<pid>/smaps_rollup, as far as it is known.
func smapsRollup(s Status) []byte {
	kb := s.RSS >> 10
	b := fmt.Appendf(nil, "%08x-%08x ---p 00000000 00:00 0                          [rollup]\n", s.StartCode, s.StartStack)
	for _, l := range []struct {
		name string
		kb   uint64
	}{
		{"Rss", kb},
		{"Pss", kb},
		{"Shared_Clean", 0},
		{"Shared_Dirty", 0},
		{"Private_Clean", 0},
		{"Private_Dirty", kb},
		{"Referenced", kb},
		{"Anonymous", kb},
		{"LazyFree", 0},
		{"AnonHugePages", 0},
		{"Swap", 0},
		{"SwapPss", 0},
		{"Locked", 0},
	} {
		b = fmt.Appendf(b, "%-16s%8d kB\n", l.name+":", l.kb)
	}
	return b
}
