// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package strace

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// flag is a bit, or several, with its name.
type flag struct {
	bits uint64
	name string
}

// flagText shows a set of flags. Flags of several bits stand before those they hold.
func flagText(v uint64, names []flag) string {
	var parts []string
	for _, f := range names {
		if f.bits == 0 {
			if v == 0 && len(parts) == 0 {
				return f.name
			}
			continue
		}
		if v&f.bits == f.bits {
			parts = append(parts, f.name)
			v &^= f.bits
		}
	}
	if v != 0 || len(parts) == 0 {
		if v == 0 {
			return "0"
		}
		parts = append(parts, fmt.Sprintf("%#x", v))
	}
	return strings.Join(parts, "|")
}

// valueText shows one of several values.
func valueText(v uint64, names []flag) string {
	for _, f := range names {
		if v == f.bits {
			return f.name
		}
	}
	return fmt.Sprintf("%#x", v)
}

func openFlags(v uint64) string {
	v &= 0xffffffff
	access := [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[v&unix.O_ACCMODE]
	if v &^= unix.O_ACCMODE; v == 0 {
		return access
	}
	return access + "|" + flagText(v, oFlags)
}

func signalName(sig uint64) string {
	if name := unix.SignalName(unix.Signal(int32(uint32(sig)))); name != "" {
		return name
	}
	if sig >= 32 && sig <= 64 {
		return fmt.Sprintf("SIGRT_%d", sig-32)
	}
	return fmt.Sprint(int32(uint32(sig)))
}

// signalSet shows a mask, as strace does: the shorter of the set and what is not in it.
func signalSet(v uint64) string {
	list := func(v uint64) string {
		var names []string
		for sig := uint64(1); sig <= 64; sig++ {
			if v&(1<<(sig-1)) != 0 {
				names = append(names, strings.TrimPrefix(signalName(sig), "SIG"))
			}
		}
		return "[" + strings.Join(names, " ") + "]"
	}
	in, out := list(v), list(^v)
	if len(in) > len(out)+1 {
		return "~" + out
	}
	return in
}

var (
	oFlags = []flag{
		{unix.O_TMPFILE, "O_TMPFILE"},
		{unix.O_SYNC, "O_SYNC"},
		{unix.O_CREAT, "O_CREAT"},
		{unix.O_EXCL, "O_EXCL"},
		{unix.O_NOCTTY, "O_NOCTTY"},
		{unix.O_TRUNC, "O_TRUNC"},
		{unix.O_APPEND, "O_APPEND"},
		{unix.O_NONBLOCK, "O_NONBLOCK"},
		{unix.O_DSYNC, "O_DSYNC"},
		{unix.O_ASYNC, "FASYNC"},
		{unix.O_DIRECT, "O_DIRECT"},
		{0x8000, "O_LARGEFILE"},
		{unix.O_DIRECTORY, "O_DIRECTORY"},
		{unix.O_NOFOLLOW, "O_NOFOLLOW"},
		{unix.O_NOATIME, "O_NOATIME"},
		{unix.O_CLOEXEC, "O_CLOEXEC"},
		{unix.O_PATH, "O_PATH"},
	}
	fdFlags    = []flag{{unix.FD_CLOEXEC, "FD_CLOEXEC"}}
	memoryProt = []flag{
		{0, "PROT_NONE"},
		{unix.PROT_READ, "PROT_READ"},
		{unix.PROT_WRITE, "PROT_WRITE"},
		{unix.PROT_EXEC, "PROT_EXEC"},
		{unix.PROT_GROWSDOWN, "PROT_GROWSDOWN"},
		{unix.PROT_GROWSUP, "PROT_GROWSUP"},
	}
	mapFlags = []flag{
		{unix.MAP_SHARED_VALIDATE, "MAP_SHARED_VALIDATE"},
		{unix.MAP_SHARED, "MAP_SHARED"},
		{unix.MAP_PRIVATE, "MAP_PRIVATE"},
		{unix.MAP_FIXED, "MAP_FIXED"},
		{unix.MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"},
		{unix.MAP_ANONYMOUS, "MAP_ANONYMOUS"},
		{unix.MAP_32BIT, "MAP_32BIT"},
		{unix.MAP_GROWSDOWN, "MAP_GROWSDOWN"},
		{unix.MAP_DENYWRITE, "MAP_DENYWRITE"},
		{unix.MAP_EXECUTABLE, "MAP_EXECUTABLE"},
		{unix.MAP_LOCKED, "MAP_LOCKED"},
		{unix.MAP_NORESERVE, "MAP_NORESERVE"},
		{unix.MAP_POPULATE, "MAP_POPULATE"},
		{unix.MAP_NONBLOCK, "MAP_NONBLOCK"},
		{unix.MAP_STACK, "MAP_STACK"},
		{unix.MAP_HUGETLB, "MAP_HUGETLB"},
		{unix.MAP_SYNC, "MAP_SYNC"},
	}
	mremapFlags = []flag{{unix.MREMAP_MAYMOVE, "MREMAP_MAYMOVE"}, {unix.MREMAP_FIXED, "MREMAP_FIXED"}, {unix.MREMAP_DONTUNMAP, "MREMAP_DONTUNMAP"}}
	msyncFlags  = []flag{{unix.MS_ASYNC, "MS_ASYNC"}, {unix.MS_INVALIDATE, "MS_INVALIDATE"}, {unix.MS_SYNC, "MS_SYNC"}}
	advice      = []flag{
		{unix.MADV_NORMAL, "MADV_NORMAL"},
		{unix.MADV_RANDOM, "MADV_RANDOM"},
		{unix.MADV_SEQUENTIAL, "MADV_SEQUENTIAL"},
		{unix.MADV_WILLNEED, "MADV_WILLNEED"},
		{unix.MADV_DONTNEED, "MADV_DONTNEED"},
		{unix.MADV_FREE, "MADV_FREE"},
		{unix.MADV_REMOVE, "MADV_REMOVE"},
		{unix.MADV_DONTFORK, "MADV_DONTFORK"},
		{unix.MADV_DOFORK, "MADV_DOFORK"},
		{unix.MADV_MERGEABLE, "MADV_MERGEABLE"},
		{unix.MADV_HUGEPAGE, "MADV_HUGEPAGE"},
		{unix.MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE"},
		{unix.MADV_DONTDUMP, "MADV_DONTDUMP"},
		{unix.MADV_DODUMP, "MADV_DODUMP"},
		{unix.MADV_WIPEONFORK, "MADV_WIPEONFORK"},
		{unix.MADV_KEEPONFORK, "MADV_KEEPONFORK"},
		{unix.MADV_COLD, "MADV_COLD"},
		{unix.MADV_PAGEOUT, "MADV_PAGEOUT"},
		{unix.MADV_POPULATE_READ, "MADV_POPULATE_READ"},
		{unix.MADV_POPULATE_WRITE, "MADV_POPULATE_WRITE"},
		{unix.MADV_COLLAPSE, "MADV_COLLAPSE"},
	}
	atFlags = []flag{
		{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
		{unix.AT_REMOVEDIR, "AT_REMOVEDIR"},
		{unix.AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW"},
		{unix.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"},
		{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
		{unix.AT_STATX_FORCE_SYNC, "AT_STATX_FORCE_SYNC"},
		{unix.AT_STATX_DONT_SYNC, "AT_STATX_DONT_SYNC"},
	}
	accessAtFlags = []flag{{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_EACCESS, "AT_EACCESS"}, {unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"}}
	accessModes   = []flag{{0, "F_OK"}, {4, "R_OK"}, {2, "W_OK"}, {1, "X_OK"}}
	renameFlags   = []flag{{unix.RENAME_NOREPLACE, "RENAME_NOREPLACE"}, {unix.RENAME_EXCHANGE, "RENAME_EXCHANGE"}, {unix.RENAME_WHITEOUT, "RENAME_WHITEOUT"}}
	statxMask     = []flag{{unix.STATX_ALL, "STATX_ALL"}, {unix.STATX_BASIC_STATS, "STATX_BASIC_STATS"}, {unix.STATX_TYPE, "STATX_TYPE"}, {unix.STATX_MODE, "STATX_MODE"}, {unix.STATX_NLINK, "STATX_NLINK"}, {unix.STATX_UID, "STATX_UID"}, {unix.STATX_GID, "STATX_GID"}, {unix.STATX_ATIME, "STATX_ATIME"}, {unix.STATX_MTIME, "STATX_MTIME"}, {unix.STATX_CTIME, "STATX_CTIME"}, {unix.STATX_INO, "STATX_INO"}, {unix.STATX_SIZE, "STATX_SIZE"}, {unix.STATX_BLOCKS, "STATX_BLOCKS"}, {unix.STATX_BTIME, "STATX_BTIME"}, {unix.STATX_MNT_ID, "STATX_MNT_ID"}}
	fallocModes   = []flag{{unix.FALLOC_FL_KEEP_SIZE, "FALLOC_FL_KEEP_SIZE"}, {unix.FALLOC_FL_PUNCH_HOLE, "FALLOC_FL_PUNCH_HOLE"}, {unix.FALLOC_FL_COLLAPSE_RANGE, "FALLOC_FL_COLLAPSE_RANGE"}, {unix.FALLOC_FL_ZERO_RANGE, "FALLOC_FL_ZERO_RANGE"}, {unix.FALLOC_FL_INSERT_RANGE, "FALLOC_FL_INSERT_RANGE"}}
	flockOps      = []flag{{unix.LOCK_SH, "LOCK_SH"}, {unix.LOCK_EX, "LOCK_EX"}, {unix.LOCK_NB, "LOCK_NB"}, {unix.LOCK_UN, "LOCK_UN"}}
	whences       = []flag{{0, "SEEK_SET"}, {1, "SEEK_CUR"}, {2, "SEEK_END"}, {3, "SEEK_DATA"}, {4, "SEEK_HOLE"}}
	pipeFlags     = []flag{{unix.O_CLOEXEC, "O_CLOEXEC"}, {unix.O_NONBLOCK, "O_NONBLOCK"}, {unix.O_DIRECT, "O_DIRECT"}}
	epollFlags    = []flag{{unix.EPOLL_CLOEXEC, "EPOLL_CLOEXEC"}}
	epollOps      = []flag{{unix.EPOLL_CTL_ADD, "EPOLL_CTL_ADD"}, {unix.EPOLL_CTL_DEL, "EPOLL_CTL_DEL"}, {unix.EPOLL_CTL_MOD, "EPOLL_CTL_MOD"}}
	epollEvents   = []flag{{unix.EPOLLIN, "EPOLLIN"}, {unix.EPOLLPRI, "EPOLLPRI"}, {unix.EPOLLOUT, "EPOLLOUT"}, {unix.EPOLLERR, "EPOLLERR"}, {unix.EPOLLHUP, "EPOLLHUP"}, {unix.EPOLLRDNORM, "EPOLLRDNORM"}, {unix.EPOLLWRNORM, "EPOLLWRNORM"}, {unix.EPOLLRDHUP, "EPOLLRDHUP"}, {unix.EPOLLEXCLUSIVE, "EPOLLEXCLUSIVE"}, {unix.EPOLLWAKEUP, "EPOLLWAKEUP"}, {unix.EPOLLONESHOT, "EPOLLONESHOT"}, {unix.EPOLLET & 0xffffffff, "EPOLLET"}}
	pollEvents    = []flag{{unix.POLLIN, "POLLIN"}, {unix.POLLPRI, "POLLPRI"}, {unix.POLLOUT, "POLLOUT"}, {unix.POLLERR, "POLLERR"}, {unix.POLLHUP, "POLLHUP"}, {unix.POLLNVAL, "POLLNVAL"}, {0x40, "POLLRDNORM"}, {0x100, "POLLWRNORM"}, {unix.POLLRDHUP, "POLLRDHUP"}}
	eventfdFlags  = []flag{{unix.EFD_SEMAPHORE, "EFD_SEMAPHORE"}, {unix.EFD_CLOEXEC, "EFD_CLOEXEC"}, {unix.EFD_NONBLOCK, "EFD_NONBLOCK"}}
	timerfdFlags  = []flag{{unix.TFD_CLOEXEC, "TFD_CLOEXEC"}, {unix.TFD_NONBLOCK, "TFD_NONBLOCK"}}
	timerFlags    = []flag{{1, "TIMER_ABSTIME"}, {2, "TFD_TIMER_CANCEL_ON_SET"}}
	memfdFlags    = []flag{{unix.MFD_CLOEXEC, "MFD_CLOEXEC"}, {unix.MFD_ALLOW_SEALING, "MFD_ALLOW_SEALING"}, {unix.MFD_HUGETLB, "MFD_HUGETLB"}, {unix.MFD_NOEXEC_SEAL, "MFD_NOEXEC_SEAL"}, {unix.MFD_EXEC, "MFD_EXEC"}}
	randomFlags   = []flag{{unix.GRND_NONBLOCK, "GRND_NONBLOCK"}, {unix.GRND_RANDOM, "GRND_RANDOM"}, {unix.GRND_INSECURE, "GRND_INSECURE"}}
	closeRanges   = []flag{{unix.CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_UNSHARE"}, {unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"}}
	spliceFlags   = []flag{{unix.SPLICE_F_MOVE, "SPLICE_F_MOVE"}, {unix.SPLICE_F_NONBLOCK, "SPLICE_F_NONBLOCK"}, {unix.SPLICE_F_MORE, "SPLICE_F_MORE"}, {unix.SPLICE_F_GIFT, "SPLICE_F_GIFT"}}
	waitOptions   = []flag{{unix.WNOHANG, "WNOHANG"}, {unix.WUNTRACED, "WUNTRACED"}, {unix.WEXITED, "WEXITED"}, {unix.WCONTINUED, "WCONTINUED"}, {unix.WNOWAIT, "WNOWAIT"}, {unix.WNOTHREAD, "__WNOTHREAD"}, {unix.WALL, "__WALL"}, {unix.WCLONE, "__WCLONE"}}
	cloneFlags    = []flag{
		{unix.CLONE_VM, "CLONE_VM"},
		{unix.CLONE_FS, "CLONE_FS"},
		{unix.CLONE_FILES, "CLONE_FILES"},
		{unix.CLONE_SIGHAND, "CLONE_SIGHAND"},
		{unix.CLONE_PIDFD, "CLONE_PIDFD"},
		{unix.CLONE_PTRACE, "CLONE_PTRACE"},
		{unix.CLONE_VFORK, "CLONE_VFORK"},
		{unix.CLONE_PARENT, "CLONE_PARENT"},
		{unix.CLONE_THREAD, "CLONE_THREAD"},
		{unix.CLONE_NEWNS, "CLONE_NEWNS"},
		{unix.CLONE_SYSVSEM, "CLONE_SYSVSEM"},
		{unix.CLONE_SETTLS, "CLONE_SETTLS"},
		{unix.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID"},
		{unix.CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID"},
		{unix.CLONE_DETACHED, "CLONE_DETACHED"},
		{unix.CLONE_UNTRACED, "CLONE_UNTRACED"},
		{unix.CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID"},
		{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
		{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
		{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
		{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
		{unix.CLONE_NEWPID, "CLONE_NEWPID"},
		{unix.CLONE_NEWNET, "CLONE_NEWNET"},
		{unix.CLONE_IO, "CLONE_IO"},
	}
	futexOps = []flag{
		{0, "FUTEX_WAIT"},
		{1, "FUTEX_WAKE"},
		{2, "FUTEX_FD"},
		{3, "FUTEX_REQUEUE"},
		{4, "FUTEX_CMP_REQUEUE"},
		{5, "FUTEX_WAKE_OP"},
		{6, "FUTEX_LOCK_PI"},
		{7, "FUTEX_UNLOCK_PI"},
		{8, "FUTEX_TRYLOCK_PI"},
		{9, "FUTEX_WAIT_BITSET"},
		{10, "FUTEX_WAKE_BITSET"},
		{11, "FUTEX_WAIT_REQUEUE_PI"},
		{12, "FUTEX_CMP_REQUEUE_PI"},
		{13, "FUTEX_LOCK_PI2"},
	}
	sigHows   = []flag{{0, "SIG_BLOCK"}, {1, "SIG_UNBLOCK"}, {2, "SIG_SETMASK"}}
	saFlags   = []flag{{1, "SA_NOCLDSTOP"}, {2, "SA_NOCLDWAIT"}, {4, "SA_SIGINFO"}, {0x08000000, "SA_ONSTACK"}, {0x10000000, "SA_RESTART"}, {0x40000000, "SA_NODEFER"}, {0x80000000, "SA_RESETHAND"}, {0x04000000, "SA_RESTORER"}}
	ssFlags   = []flag{{1, "SS_ONSTACK"}, {2, "SS_DISABLE"}, {1 << 31, "SS_AUTODISARM"}}
	clocks    = []flag{{0, "CLOCK_REALTIME"}, {1, "CLOCK_MONOTONIC"}, {2, "CLOCK_PROCESS_CPUTIME_ID"}, {3, "CLOCK_THREAD_CPUTIME_ID"}, {4, "CLOCK_MONOTONIC_RAW"}, {5, "CLOCK_REALTIME_COARSE"}, {6, "CLOCK_MONOTONIC_COARSE"}, {7, "CLOCK_BOOTTIME"}, {8, "CLOCK_REALTIME_ALARM"}, {9, "CLOCK_BOOTTIME_ALARM"}, {11, "CLOCK_TAI"}}
	itimers   = []flag{{0, "ITIMER_REAL"}, {1, "ITIMER_VIRTUAL"}, {2, "ITIMER_PROF"}}
	rlimits   = []flag{{0, "RLIMIT_CPU"}, {1, "RLIMIT_FSIZE"}, {2, "RLIMIT_DATA"}, {3, "RLIMIT_STACK"}, {4, "RLIMIT_CORE"}, {5, "RLIMIT_RSS"}, {6, "RLIMIT_NPROC"}, {7, "RLIMIT_NOFILE"}, {8, "RLIMIT_MEMLOCK"}, {9, "RLIMIT_AS"}, {10, "RLIMIT_LOCKS"}, {11, "RLIMIT_SIGPENDING"}, {12, "RLIMIT_MSGQUEUE"}, {13, "RLIMIT_NICE"}, {14, "RLIMIT_RTPRIO"}, {15, "RLIMIT_RTTIME"}}
	rusageWho = []flag{{0, "RUSAGE_SELF"}, {^uint64(0), "RUSAGE_CHILDREN"}, {0xffffffff, "RUSAGE_CHILDREN"}, {1, "RUSAGE_THREAD"}}
	archCodes = []flag{{0x1001, "ARCH_SET_GS"}, {0x1002, "ARCH_SET_FS"}, {0x1003, "ARCH_GET_FS"}, {0x1004, "ARCH_GET_GS"}, {0x1011, "ARCH_GET_CPUID"}, {0x1012, "ARCH_SET_CPUID"}, {0x3001, "ARCH_CET_STATUS"}}
	fcntlCmds = []flag{
		{0, "F_DUPFD"},
		{1, "F_GETFD"},
		{2, "F_SETFD"},
		{3, "F_GETFL"},
		{4, "F_SETFL"},
		{5, "F_GETLK"},
		{6, "F_SETLK"},
		{7, "F_SETLKW"},
		{8, "F_SETOWN"},
		{9, "F_GETOWN"},
		{10, "F_SETSIG"},
		{11, "F_GETSIG"},
		{15, "F_SETOWN_EX"},
		{16, "F_GETOWN_EX"},
		{36, "F_OFD_GETLK"},
		{37, "F_OFD_SETLK"},
		{38, "F_OFD_SETLKW"},
		{1024, "F_SETLEASE"},
		{1025, "F_GETLEASE"},
		{1026, "F_NOTIFY"},
		{1030, "F_DUPFD_CLOEXEC"},
		{1031, "F_SETPIPE_SZ"},
		{1032, "F_GETPIPE_SZ"},
		{1033, "F_ADD_SEALS"},
		{1034, "F_GET_SEALS"},
	}
	ioctls = []flag{
		{unix.TCGETS, "TCGETS"},
		{unix.TCSETS, "TCSETS"},
		{unix.TCSETSW, "TCSETSW"},
		{unix.TCSETSF, "TCSETSF"},
		{unix.TIOCGWINSZ, "TIOCGWINSZ"},
		{unix.TIOCSWINSZ, "TIOCSWINSZ"},
		{unix.TIOCGPGRP, "TIOCGPGRP"},
		{unix.TIOCSPGRP, "TIOCSPGRP"},
		{unix.TIOCSCTTY, "TIOCSCTTY"},
		{unix.TIOCNOTTY, "TIOCNOTTY"},
		{unix.TIOCGPTN, "TIOCGPTN"},
		{0x541b, "FIONREAD"},
		{0x5421, "FIONBIO"},
		{0x5451, "FIOCLEX"},
		{0x5450, "FIONCLEX"},
		{0x5452, "FIOASYNC"},
		{unix.FICLONE, "FICLONE"},
		{unix.SIOCGIFCONF, "SIOCGIFCONF"},
		{unix.SIOCGIFFLAGS, "SIOCGIFFLAGS"},
		{unix.SIOCGIFINDEX, "SIOCGIFINDEX"},
	}
	prctls = []flag{
		{1, "PR_SET_PDEATHSIG"},
		{2, "PR_GET_PDEATHSIG"},
		{3, "PR_GET_DUMPABLE"},
		{4, "PR_SET_DUMPABLE"},
		{8, "PR_SET_KEEPCAPS"},
		{15, "PR_SET_NAME"},
		{16, "PR_GET_NAME"},
		{21, "PR_GET_SECCOMP"},
		{22, "PR_SET_SECCOMP"},
		{23, "PR_CAPBSET_READ"},
		{29, "PR_SET_TIMERSLACK"},
		{30, "PR_GET_TIMERSLACK"},
		{36, "PR_SET_CHILD_SUBREAPER"},
		{37, "PR_GET_CHILD_SUBREAPER"},
		{38, "PR_SET_NO_NEW_PRIVS"},
		{39, "PR_GET_NO_NEW_PRIVS"},
		{41, "PR_SET_THP_DISABLE"},
		{42, "PR_GET_THP_DISABLE"},
		{0x53564d41, "PR_SET_VMA"},
		{0x59616d61, "PR_SET_PTRACER"},
	}
	families    = []flag{{0, "AF_UNSPEC"}, {1, "AF_UNIX"}, {2, "AF_INET"}, {10, "AF_INET6"}, {16, "AF_NETLINK"}, {17, "AF_PACKET"}, {40, "AF_VSOCK"}, {38, "AF_ALG"}}
	socketTypes = []flag{{1, "SOCK_STREAM"}, {2, "SOCK_DGRAM"}, {3, "SOCK_RAW"}, {5, "SOCK_SEQPACKET"}}
	socketFlags = []flag{{unix.SOCK_CLOEXEC, "SOCK_CLOEXEC"}, {unix.SOCK_NONBLOCK, "SOCK_NONBLOCK"}}
	protocols   = []flag{{0, "IPPROTO_IP"}, {1, "IPPROTO_ICMP"}, {6, "IPPROTO_TCP"}, {17, "IPPROTO_UDP"}, {58, "IPPROTO_ICMPV6"}, {262, "IPPROTO_MPTCP"}}
	shutdowns   = []flag{{0, "SHUT_RD"}, {1, "SHUT_WR"}, {2, "SHUT_RDWR"}}
	levels      = []flag{{1, "SOL_SOCKET"}, {0, "SOL_IP"}, {6, "SOL_TCP"}, {17, "SOL_UDP"}, {41, "SOL_IPV6"}}
	msgFlags    = []flag{{unix.MSG_OOB, "MSG_OOB"}, {unix.MSG_PEEK, "MSG_PEEK"}, {unix.MSG_DONTROUTE, "MSG_DONTROUTE"}, {unix.MSG_CTRUNC, "MSG_CTRUNC"}, {unix.MSG_TRUNC, "MSG_TRUNC"}, {unix.MSG_DONTWAIT, "MSG_DONTWAIT"}, {unix.MSG_EOR, "MSG_EOR"}, {unix.MSG_WAITALL, "MSG_WAITALL"}, {unix.MSG_NOSIGNAL, "MSG_NOSIGNAL"}, {unix.MSG_MORE, "MSG_MORE"}, {unix.MSG_WAITFORONE, "MSG_WAITFORONE"}, {unix.MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC"}}
	sockOptions = []flag{{1, "SO_DEBUG"}, {2, "SO_REUSEADDR"}, {3, "SO_TYPE"}, {4, "SO_ERROR"}, {5, "SO_DONTROUTE"}, {6, "SO_BROADCAST"}, {7, "SO_SNDBUF"}, {8, "SO_RCVBUF"}, {9, "SO_KEEPALIVE"}, {10, "SO_OOBINLINE"}, {13, "SO_LINGER"}, {15, "SO_REUSEPORT"}, {16, "SO_PASSCRED"}, {17, "SO_PEERCRED"}, {18, "SO_RCVLOWAT"}, {20, "SO_RCVTIMEO_OLD"}, {21, "SO_SNDTIMEO_OLD"}, {30, "SO_ACCEPTCONN"}, {38, "SO_PROTOCOL"}, {39, "SO_DOMAIN"}}
	tcpOptions  = []flag{{1, "TCP_NODELAY"}, {2, "TCP_MAXSEG"}, {3, "TCP_CORK"}, {4, "TCP_KEEPIDLE"}, {5, "TCP_KEEPINTVL"}, {6, "TCP_KEEPCNT"}, {9, "TCP_DEFER_ACCEPT"}, {11, "TCP_INFO"}, {12, "TCP_QUICKACK"}, {18, "TCP_USER_TIMEOUT"}, {23, "TCP_FASTOPEN"}}
	idTypes     = []flag{{0, "P_ALL"}, {1, "P_PID"}, {2, "P_PGID"}, {3, "P_PIDFD"}}
	policies    = []flag{{0, "SCHED_OTHER"}, {1, "SCHED_FIFO"}, {2, "SCHED_RR"}, {3, "SCHED_BATCH"}, {5, "SCHED_IDLE"}, {6, "SCHED_DEADLINE"}}
	membarriers = []flag{{0, "MEMBARRIER_CMD_QUERY"}, {1, "MEMBARRIER_CMD_GLOBAL"}, {8, "MEMBARRIER_CMD_PRIVATE_EXPEDITED"}, {16, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED"}, {32, "MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE"}, {64, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE"}}
	inotifyMask = []flag{{0xfff, "IN_ALL_EVENTS"}, {1, "IN_ACCESS"}, {2, "IN_MODIFY"}, {4, "IN_ATTRIB"}, {8, "IN_CLOSE_WRITE"}, {16, "IN_CLOSE_NOWRITE"}, {32, "IN_OPEN"}, {64, "IN_MOVED_FROM"}, {128, "IN_MOVED_TO"}, {256, "IN_CREATE"}, {512, "IN_DELETE"}, {1024, "IN_DELETE_SELF"}, {2048, "IN_MOVE_SELF"}}
)
