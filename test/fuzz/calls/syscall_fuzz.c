// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Makes random system calls with random and half-valid arguments: for TestSyscallFuzz of
// vmexec. It reads "SEED COUNT" as its event, so that one snapshot serves all seeds,
// and never runs outside a machine: it says what it pleases to whatever kernel is there.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

// What a call takes, one letter an argument:
//   d descriptor  p path  b buffer  B buffer to read from  l length  i small number  f flags
//   t timespec  s structure  v iovec  m signal mask  g signal  n process or thread
//   a page of memory  w futex word  o offset  e epoll event  x anything
//   D socket  S address  L its length  M message  V level and N name of an option
struct call {
	int nr;
	const char *args;
};
static const struct call calls[] = {
    {SYS_read, "dbl"}, {SYS_write, "dBl"}, {SYS_open, "pff"}, {SYS_close, "d"}, {SYS_stat, "ps"}, {SYS_fstat, "ds"},
    {SYS_lstat, "ps"}, {SYS_poll, "sii"}, {SYS_lseek, "doi"}, {SYS_mmap, "alifdo"}, {SYS_mprotect, "ali"},
    {SYS_munmap, "al"}, {SYS_brk, "a"}, {SYS_rt_sigaction, "gssi"}, {SYS_rt_sigprocmask, "immi"}, {SYS_ioctl, "dxs"},
    {SYS_pread64, "dblo"}, {SYS_pwrite64, "dBlo"}, {SYS_readv, "dvi"}, {SYS_writev, "dvi"}, {SYS_access, "pi"},
    {SYS_pipe, "s"}, {SYS_select, "isss" "t"}, {SYS_sched_yield, ""}, {SYS_mremap, "allfa"}, {SYS_msync, "ali"},
    {SYS_mincore, "alb"}, {SYS_madvise, "ali"}, {SYS_dup, "d"}, {SYS_dup2, "dd"}, {SYS_nanosleep, "ts"},
    {SYS_getitimer, "is"}, {SYS_alarm, "i"}, {SYS_setitimer, "iss"}, {SYS_getpid, ""}, {SYS_sendfile, "ddsl"},
    {SYS_socket, "iii"}, {SYS_connect, "dsi"}, {SYS_accept, "dss"}, {SYS_sendto, "dBlfsi"}, {SYS_recvfrom, "dblfss"},
    {SYS_sendmsg, "dsf"}, {SYS_recvmsg, "dsf"}, {SYS_shutdown, "di"}, {SYS_bind, "dsi"}, {SYS_listen, "di"},
    {SYS_getsockname, "dss"}, {SYS_getpeername, "dss"}, {SYS_socketpair, "iiis"}, {SYS_setsockopt, "diisi"},
    {SYS_getsockopt, "diiss"}, {SYS_uname, "s"}, {SYS_fcntl, "dis"}, {SYS_fcntl, "dii"}, {SYS_flock, "di"}, {SYS_fsync, "d"},
    {SYS_fdatasync, "d"}, {SYS_truncate, "po"}, {SYS_ftruncate, "do"}, {SYS_getdents, "dbl"}, {SYS_getcwd, "bl"},
    {SYS_chdir, "p"}, {SYS_fchdir, "d"}, {SYS_rename, "pp"}, {SYS_mkdir, "pf"}, {SYS_rmdir, "p"}, {SYS_creat, "pf"},
    {SYS_link, "pp"}, {SYS_unlink, "p"}, {SYS_symlink, "pp"}, {SYS_readlink, "pbl"}, {SYS_chmod, "pf"}, {SYS_fchmod, "df"},
    {SYS_chown, "pii"}, {SYS_fchown, "dii"}, {SYS_umask, "i"}, {SYS_gettimeofday, "ss"}, {SYS_getrlimit, "is"},
    {SYS_getrusage, "is"}, {SYS_sysinfo, "s"}, {SYS_times, "s"}, {SYS_setpgid, "ni"}, {SYS_getgroups, "is"},
    {SYS_setresuid, "iii"}, {SYS_capget, "ss"}, {SYS_capset, "ss"}, {SYS_rt_sigpending, "mi"}, {SYS_rt_sigtimedwait, "msti"},
    {SYS_rt_sigqueueinfo, "ngs"}, {SYS_rt_sigsuspend, "mi"}, {SYS_sigaltstack, "ss"}, {SYS_utime, "ps"}, {SYS_mknod, "pfi"},
    {SYS_personality, "i"}, {SYS_statfs, "ps"}, {SYS_fstatfs, "ds"}, {SYS_getpriority, "in"}, {SYS_setpriority, "ini"},
    {SYS_sched_setparam, "ns"}, {SYS_sched_getparam, "ns"}, {SYS_sched_setscheduler, "nis"}, {SYS_sched_getscheduler, "n"},
    {SYS_sched_rr_get_interval, "ns"}, {SYS_mlock, "al"}, {SYS_munlock, "al"}, {SYS_prctl, "issss"}, {SYS_prctl, "iiiii"},
    {SYS_arch_prctl, "xs"}, {SYS_setrlimit, "is"}, {SYS_gettid, ""}, {SYS_readahead, "dol"}, {SYS_setxattr, "ppBli"},
    {SYS_getxattr, "ppbl"}, {SYS_listxattr, "pbl"}, {SYS_removexattr, "pp"}, {SYS_fgetxattr, "dpbl"}, {SYS_tkill, "ng"},
    {SYS_time, "s"}, {SYS_futex, "wiitwi"}, {SYS_futex, "wiiiwi"}, {SYS_sched_setaffinity, "nlm"}, {SYS_sched_getaffinity, "nlm"},
    {SYS_epoll_create, "i"}, {SYS_getdents64, "dbl"}, {SYS_set_tid_address, "w"}, {SYS_fadvise64, "dooi"},
    {SYS_timer_create, "iss"}, {SYS_timer_settime, "iiss"}, {SYS_timer_gettime, "is"}, {SYS_timer_getoverrun, "i"},
    {SYS_timer_delete, "i"}, {SYS_clock_gettime, "is"}, {SYS_clock_getres, "is"}, {SYS_clock_nanosleep, "iits"},
    {SYS_epoll_wait, "dsii"}, {SYS_epoll_ctl, "dide"}, {SYS_tgkill, "nng"}, {SYS_utimes, "ps"}, {SYS_mbind, "aliiii"},
    {SYS_set_mempolicy, "imi"}, {SYS_get_mempolicy, "smiai"}, {SYS_waitid, "insfs"}, {SYS_wait4, "nsfs"}, {SYS_ioprio_set, "ini"},
    {SYS_inotify_init1, "f"}, {SYS_inotify_add_watch, "dpx"}, {SYS_inotify_rm_watch, "di"}, {SYS_openat, "dpff"},
    {SYS_mkdirat, "dpf"}, {SYS_mknodat, "dpfi"}, {SYS_fchownat, "dpiif"}, {SYS_newfstatat, "dpsf"}, {SYS_unlinkat, "dpf"},
    {SYS_renameat, "dpdp"}, {SYS_linkat, "dpdpf"}, {SYS_symlinkat, "pdp"}, {SYS_readlinkat, "dpbl"}, {SYS_fchmodat, "dpf"},
    {SYS_faccessat, "dpi"}, {SYS_pselect6, "issst" "s"}, {SYS_ppoll, "sitmi"}, {SYS_set_robust_list, "al"},
    {SYS_get_robust_list, "nss"}, {SYS_splice, "dsdslf"}, {SYS_tee, "ddlf"}, {SYS_sync_file_range, "doof"}, {SYS_vmsplice, "dvif"},
    {SYS_utimensat, "dpsf"}, {SYS_epoll_pwait, "dsiimi"}, {SYS_signalfd, "dmi"}, {SYS_signalfd4, "dmif"}, {SYS_timerfd_create, "if"},
    {SYS_eventfd, "i"}, {SYS_fallocate, "dioo"}, {SYS_timerfd_settime, "diss"}, {SYS_timerfd_gettime, "ds"}, {SYS_accept4, "dssf"},
    {SYS_eventfd2, "if"}, {SYS_epoll_create1, "f"}, {SYS_dup3, "ddf"}, {SYS_pipe2, "sf"}, {SYS_preadv, "dvio"}, {SYS_pwritev, "dvio"},
    {SYS_rt_tgsigqueueinfo, "nngs"}, {SYS_recvmmsg, "dsift"}, {SYS_prlimit64, "niss"}, {SYS_syncfs, "d"}, {SYS_sendmmsg, "dsif"},
    {SYS_getcpu, "ss"}, {SYS_process_vm_readv, "nvivii"}, {SYS_process_vm_writev, "nvivii"}, {SYS_kcmp, "nniii"},
    {SYS_sched_setattr, "nsi"}, {SYS_sched_getattr, "nsii"}, {SYS_renameat2, "dpdpf"}, {SYS_seccomp, "iis"}, {SYS_getrandom, "blf"},
    {SYS_memfd_create, "pf"}, {SYS_execve, "pss"}, {SYS_execveat, "dpssf"}, {SYS_membarrier, "iii"}, {SYS_mlock2, "ali"},
    {SYS_copy_file_range, "dsdslf"}, {SYS_preadv2, "dviooi"}, {SYS_pwritev2, "dviooi"}, {SYS_statx, "dpfis"}, {SYS_rseq, "siii"},
    {SYS_pidfd_send_signal, "dgsi"}, {SYS_pidfd_open, "nf"}, {SYS_pidfd_getfd, "ddi"}, {SYS_close_range, "ddi"}, {SYS_openat2, "dpsl"},
    {SYS_faccessat2, "dpif"}, {SYS_process_madvise, "dviif"}, {SYS_epoll_pwait2, "dsitmi"}, {449 /* futex_waitv */, "siit" "i"},
    {452 /* fchmodat2 */, "dpff"}, {SYS_kill, "ng"}, {SYS_pause, ""},
    // With sockets that are live, and arguments that they understand.
    {SYS_connect, "DSL"}, {SYS_connect, "DSL"}, {SYS_bind, "DSL"}, {SYS_listen, "Di"}, {SYS_accept4, "Dssf"}, {SYS_accept, "Dss"},
    {SYS_sendto, "DBlfSL"}, {SYS_sendto, "DBlfSL"}, {SYS_recvfrom, "Dblfss"}, {SYS_sendmsg, "DMf"}, {SYS_sendmsg, "DMf"},
    {SYS_recvmsg, "DMf"}, {SYS_recvmsg, "DMf"}, {SYS_sendmmsg, "DMif"}, {SYS_recvmmsg, "DMift"}, {SYS_shutdown, "Di"},
    {SYS_setsockopt, "DVNsL"}, {SYS_setsockopt, "DVNsL"}, {SYS_getsockopt, "DVNss"}, {SYS_getsockname, "Dss"}, {SYS_getpeername, "Dss"},
    {SYS_read, "Dbl"}, {SYS_write, "DBl"}, {SYS_ioctl, "Dxs"}, {SYS_sendfile, "Ddsl"}, {SYS_splice, "dsDslf"}, {SYS_splice, "Dsdslf"},
    {SYS_epoll_ctl, "diDe"}, {SYS_dup2, "DD"}, {SYS_close, "D"},
};
#define NCALLS (sizeof calls / sizeof *calls)

static const char *const paths[] = {
    "/", ".", "..", "/tmp", "/tmp/a", "/tmp/b", "/tmp/d", "/tmp/d/x", "/tmp/link", "/data", "/data/one", "/data/sub/two", "/data/link",
    "/proc/self/maps", "/proc/self/fd/3", "/proc/self/exe", "/proc/self/status", "/proc/self", "/proc/1/stat", "/dev/null", "/dev/zero",
    "/dev/urandom", "/dev/tty", "/proc/self/mem", "/proc/self/comm", "/proc/meminfo", "", "/../../../etc/passwd", "a", "d/../a",
    "/proc/self/cwd/tmp", "/proc/self/root/data", "/tmp/fifo", "/sys", "/sys/devices/system/cpu/online", "/dev/fd/0", "/fuzz",
};

static __thread uint64_t state;
static uint64_t rnd(void) { // xorshift64*
	state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
	return state * 2685821657736338717ull;
}
static unsigned below(unsigned n) { return (rnd() >> 20) % n; }

enum { PAGES = 64 };
static char *arena;     // PAGES pages, some of which calls protect and unmap
static char *guard_end; // the end of a page with nothing behind it
static int first_fd, last_fd;

static uint64_t odd(void) { // interesting numbers
	static const uint64_t v[] = {0, 1, 2, 3, 7, 8, 16, 63, 64, 255, 256, 1000, 4095, 4096, 4097, 8192, 65535, 65536, 1 << 20, 1u << 31,
	    0x7fffffff, 0xffffffff, 1ull << 32, 1ull << 40, 1ull << 47, (1ull << 47) - 4096, 1ull << 62, 1ull << 63, -1ull, -2ull, -4096ull,
	    -100ull, 0x8000000000000001ull, 999999999, 1000000000, 0x7ffffffffffff000ull};
	return v[below(sizeof v / sizeof *v)];
}
static char *where(void) {
	switch (below(12)) {
	case 0: return guard_end - below(64);
	case 1: return (char *)odd();
	case 2: return arena + 4096 * below(PAGES) - below(16);
	case 3: return NULL;
	default: return arena + (rnd() % (PAGES * 4096 - 4096) & ~7ull);
	}
}
// room returns a place that can very likely be written, or 0 when it is not.
static int writable(char *p, int n) {
	unsigned char vec[2];
	return p >= arena && p + n <= arena + PAGES * 4096 && syscall(SYS_mincore, (long)p & -4096, 4096 + (((long)p & 4095) + n > 4096) * 4096, vec) == 0;
}

enum { SOCKETS = 24 };
static int sockets[SOCKETS]; // live ones, all of which do not wait
static unsigned nsockets;

static void keep(int fd) {
	if (fd >= 0 && fd < 1000)
		sockets[nsockets++ % SOCKETS] = fd;
}

// address makes one of a socket that may be there, or nonsense, and returns its length.
static socklen_t address(void *p) {
	struct sockaddr_storage *a = p;
	socklen_t n = sizeof *a;
	memset(a, 0, sizeof *a);
	switch (below(8)) {
	case 0: case 1: // where a socket is
		if (getsockname(sockets[below(SOCKETS)], p, &n) == 0 && n <= sizeof *a)
			return n;
		return 0;
	case 2: case 3:
		*(struct sockaddr_in *)p = (struct sockaddr_in){AF_INET, below(2) ? below(4) : rnd(), {htonl(below(3) ? INADDR_LOOPBACK : rnd())}, {0}};
		return sizeof(struct sockaddr_in);
	case 4:
		*(struct sockaddr_in6 *)p = (struct sockaddr_in6){AF_INET6, below(2) ? below(4) : rnd(), rnd(), IN6ADDR_LOOPBACK_INIT, below(3)};
		return sizeof(struct sockaddr_in6) - (below(8) ? 0 : 4);
	case 5: case 6: {
		struct sockaddr_un *u = p;
		u->sun_family = AF_UNIX;
		strcpy(u->sun_path + below(2), below(2) ? "/tmp/s" : "x");
		return 3 + below(10);
	}
	}
	for (int i = 0; i < 16; i++)
		((uint64_t *)p)[i] = below(3) ? odd() : below(20);
	return below(130);
}

// message fills in a struct msghdr, or several, and what hangs on it.
static void message(char *p) {
	struct mmsghdr *m = (struct mmsghdr *)p;
	struct iovec *v = (struct iovec *)(p + 256);
	char *control = p + 320;
	memset(p, 0, 1024);
	for (int i = 0; i < 3; i++) {
		v[i] = (struct iovec){below(20) ? arena + below(4096) : (char *)odd(), below(20) ? below(3000) : odd()};
		m[i].msg_hdr = (struct msghdr){.msg_iov = v, .msg_iovlen = below(20) ? below(4) : odd()};
		if (below(3) == 0)
			m[i].msg_hdr.msg_name = p + 800, m[i].msg_hdr.msg_namelen = address(p + 800);
		if (below(2)) {
			m[i].msg_hdr.msg_control = control;
			m[i].msg_hdr.msg_controllen = below(6) ? 64 + below(64) : odd();
		}
	}
	for (struct cmsghdr *c = (struct cmsghdr *)control; (char *)c < control + 128; c = (struct cmsghdr *)((char *)c + 32)) {
		static const int kinds[][2] = {{SOL_SOCKET, SCM_RIGHTS}, {SOL_SOCKET, SCM_RIGHTS}, {SOL_SOCKET, SCM_CREDENTIALS}, {IPPROTO_IP, IP_TTL},
		    {IPPROTO_IP, IP_TOS}, {IPPROTO_IPV6, IPV6_HOPLIMIT}, {IPPROTO_IPV6, IPV6_TCLASS}, {IPPROTO_IP, IP_PKTINFO}};
		unsigned k = below(9);
		c->cmsg_level = k < 8 ? kinds[k][0] : (int)odd(), c->cmsg_type = k < 8 ? kinds[k][1] : (int)odd();
		c->cmsg_len = below(8) ? CMSG_LEN(4 * below(4)) : odd();
		int *fds = (int *)CMSG_DATA(c);
		for (int i = 0; i < 3; i++)
			fds[i] = below(3) ? sockets[below(SOCKETS)] : (int)below(70);
	}
}

static int64_t brief(void) { return below(20) ? below(2000000) : (int64_t)odd(); }
static uint64_t structure(void);
static __thread socklen_t length; // of the address made last

static uint64_t make(char kind) {
	char *p;
	switch (kind) {
	case 'd': {
		unsigned k = below(20);
		return k == 0 ? -100ull : k == 1 ? odd() : k == 2 ? below(3) : first_fd + below(last_fd - first_fd + 8);
	}
	case 'p':
		if (below(8) == 0)
			return (uint64_t)where();
		return (uint64_t)paths[below(sizeof paths / sizeof *paths)];
	case 'b': case 'B': case 's': case 'v': case 't': case 'm': case 'e':
		if (below(6) == 0)
			return (uint64_t)where();
		p = arena + (rnd() % (PAGES * 4096 - 4096) & ~7ull);
		if (!writable(p, 512))
			return (uint64_t)p;
		if (kind == 'b' || kind == 'B')
			return (uint64_t)p;
		if (kind == 't') {
			int64_t *ts = (int64_t *)p;
			ts[0] = below(10) ? 0 : odd(), ts[1] = brief();
			return (uint64_t)p;
		}
		if (kind == 'm') {
			*(uint64_t *)p = below(2) ? rnd() & rnd() : odd();
			return (uint64_t)p;
		}
		for (int i = 0; i < 64; i++) // words of many kinds: some make sense to whoever reads them
			((uint64_t *)p)[i] = structure();
		if (kind == 'e')
			*(uint32_t *)p = below(4) ? 1u << below(32) | 1u << below(5) : rnd();
		if (kind == 'v')
			for (int i = 0; i < 8; i++) {
				((uint64_t *)p)[2 * i] = (uint64_t)where();
				((uint64_t *)p)[2 * i + 1] = below(8) ? below(9000) : odd();
			}
		return (uint64_t)p;
	case 'D': return below(12) ? (uint64_t)sockets[below(SOCKETS)] : make('d');
	case 'S': case 'M':
		p = arena + (rnd() % ((PAGES - 1) * 4096) & ~7ull);
		if (below(12) == 0 || !writable(p, 1024))
			return (uint64_t)where();
		if (kind == 'S')
			length = address(p);
		else
			message(p);
		return (uint64_t)p;
	case 'L': return below(10) ? (below(2) && length ? length : below(130)) : odd();
	case 'V': return below(8) ? (uint64_t)((const int[]){SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP, IPPROTO_IPV6})[below(4)] : odd();
	case 'N': return below(12) ? below(76) : odd();
	case 'l': return below(8) ? below(3 * 4096) : odd();
	case 'i': return below(10) ? below(24) : odd();
	case 'f': return below(3) ? (1ull << below(24)) | (below(2) ? 1ull << below(24) : 0) | below(4) : odd();
	case 'g': return below(10) ? below(66) : odd();
	case 'n': {
		unsigned k = below(8);
		return k < 4 ? 0 : k == 4 ? getpid() : k == 5 ? syscall(SYS_gettid) : k == 6 ? getpid() + below(6) : odd();
	}
	case 'a': return below(8) ? (uint64_t)(arena + 4096 * below(PAGES)) : (uint64_t)where();
	case 'w': return (uint64_t)(arena + 4 * below(4));
	case 'o': return below(4) ? below(20000) : odd();
	}
	return below(2) ? odd() : rnd();
}

static uint64_t structure(void) {
	switch (below(9)) {
	case 0: return odd();
	case 1: return (uint64_t)where();
	case 2: return below(100) | (uint64_t)below(100) << 32;
	case 3: return first_fd + below(last_fd - first_fd + 3) | (uint64_t)below(16) << 32; // pollfd and its like
	case 4: return below(2000000);
	case 5: return 1 + below(2) | (uint64_t)rnd() << 16; // a family and a port
	case 6: return 1ull << below(64);
	case 7: return (uint64_t)paths[below(sizeof paths / sizeof *paths)];
	}
	return 0;
}

static void nothing(int s) { (void)s; }

// live makes sockets that are connected, that listen, and that anybody can send to.
static void live(void) {
	int p[2];
	switch (below(5)) {
	case 0: case 1: {
		int domain = below(2) ? AF_INET : AF_INET6;
		struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		socklen_t n = sizeof a;
		if (domain == AF_INET)
			*(struct sockaddr_in *)&a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, n = sizeof(struct sockaddr_in);
		int type = below(3) ? SOCK_STREAM : SOCK_DGRAM;
		int l = socket(domain, type | SOCK_NONBLOCK, 0), c = socket(domain, type | SOCK_NONBLOCK, 0);
		bind(l, (struct sockaddr *)&a, n);
		listen(l, 2);
		getsockname(l, (struct sockaddr *)&a, &n);
		connect(c, (struct sockaddr *)&a, n);
		keep(l), keep(c);
		if (below(2))
			keep(accept4(l, NULL, NULL, SOCK_NONBLOCK));
		break;
	}
	case 2: case 3:
		if (socketpair(AF_UNIX, ((const int[]){SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET})[below(3)] | SOCK_NONBLOCK, 0, p) == 0)
			keep(p[0]), keep(p[1]);
		break;
	case 4: {
		struct sockaddr_un u = {AF_UNIX, {0}};
		sprintf(u.sun_path + 1, "live%u", below(4));
		int l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		bind(l, (struct sockaddr *)&u, 8);
		listen(l, 1);
		connect(c, (struct sockaddr *)&u, 8);
		keep(l), keep(c), keep(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, 0));
	}
	}
}

// execute has a child execute something. What is started ends at once; see main.
static void execute(void) {
	static char *const good[] = {"/fuzz", "stop", NULL};
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (syscall(SYS_fork) != 0)
		return;
	alarm(1);
	char **list = (char **)arena; // half-valid arguments
	if (below(3) && writable(arena, 512)) {
		for (int i = 0; i < 63; i++)
			list[i] = below(12) ? (char *)paths[below(sizeof paths / sizeof *paths)] : where();
		list[1 + below(63)] = NULL;
	} else
		list = (char **)good;
	char **env = below(3) ? list : (char **)make('s');
	for (int i = 0; i < 4; i++)
		if (below(2)) {
			static const char *const programs[] = {"/fuzz", "/fuzz", "/data/script", "/data/loop", "/data/one", "/proc/self/exe", "/dev/fd/0", "/data/broken"};
			syscall(SYS_execve, below(6) ? programs[below(8)] : (char *)make('p'), below(4) ? (char **)good : list, env);
		} else
			syscall(SYS_execveat, make('d'), below(2) ? "" : (char *)make('p'), list, env, below(2) ? 0x1000 /* AT_EMPTY_PATH */ : make('f'));
	_exit(0);
}

// refresh undoes what would keep the rest from being interesting.
static void refresh(void) {
	uint64_t none = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
	struct sigaction a = {.sa_handler = nothing};
	for (int s = 1; s < 32; s++)
		if (s != SIGKILL && s != SIGSTOP && s != SIGSEGV && s != SIGBUS && s != SIGILL && s != SIGFPE)
			sigaction(s, &a, NULL);
	for (int s = 34; s < 65; s++)
		sigaction(s, &a, NULL);
	struct itimerval it = {{0, 2000}, {0, 2000}};
	setitimer(ITIMER_REAL, &it, NULL);
	if (mmap(arena, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(3);
	if (below(2))
		live();
	if (below(8) == 0)
		execute();
	int p[2];
	if (pipe2(p, O_NONBLOCK) == 0)
		last_fd = p[1] < 900 ? p[1] : last_fd;
	if (last_fd > first_fd + 60)
		for (int i = first_fd; i <= last_fd + 40; i++)
			close(i);
}

static void stop_child(void) {
	for (int i = 0; i < 20; i++)
		syscall(calls[below(NCALLS)].nr == SYS_pause ? SYS_getpid : SYS_sched_yield);
	_exit(0);
}

static void one(void) {
	uint64_t a[6];
	long nr;
	const char *args = "xxxxxx";
	if (below(12) == 0)
		nr = below(520);
	else {
		const struct call *c = &calls[below(NCALLS)];
		nr = c->nr, args = c->args;
	}
	switch (nr) {
	case SYS_exit: case SYS_exit_group: case SYS_rt_sigreturn:
		return;
	case SYS_fork: case SYS_vfork: case SYS_clone: case SYS_clone3:
		if (nr != SYS_clone3 && below(4) == 0 && syscall(SYS_fork) == 0)
			stop_child();
		return;
	case SYS_execve: case SYS_execveat:
		if (below(40)) // most of them succeed only in ending the series
			return;
	}
	size_t n = strlen(args);
	for (size_t i = 0; i < 6; i++)
		a[i] = i < n ? make(args[i]) : rnd();
	if ((nr == SYS_kill || nr == SYS_tkill) && (a[1] == SIGKILL || a[1] == SIGSTOP))
		return;
	if (nr == SYS_rt_sigsuspend || nr == SYS_pause) {
		struct itimerval it = {{0, 2000}, {0, 2000}};
		setitimer(ITIMER_REAL, &it, NULL);
	}
	syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long count;
static uint64_t seed;
static void *second(void *arg) {
	state = seed * 77 + 5;
	for (long i = 0; i < count; i++)
		one();
	return NULL;
}

int main(int argc, char **argv) {
	(void)argv;
	struct utsname u;
	if (argc > 1) // execute has made a call that succeeds
		return 0;
	if (uname(&u) != 0 || strstr(u.release, "kontain") == NULL) {
		fprintf(stderr, "syscall_fuzz runs in a machine only\n");
		return 2;
	}
	state = 1;
	memset(sockets, -1, sizeof sockets);
	arena = mmap(NULL, (PAGES + 2) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	guard_end = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(guard_end + 4096, 4096);
	guard_end += 4096;
	int p[2];
	first_fd = 3;
	pipe2(p, O_NONBLOCK);
	open("/tmp/a", O_RDWR | O_CREAT, 0600);
	open("/tmp", O_RDONLY | O_DIRECTORY);
	open("/dev/urandom", O_RDONLY);
	syscall(SYS_eventfd2, 1, O_NONBLOCK);
	syscall(SYS_epoll_create1, 0);
	syscall(SYS_timerfd_create, CLOCK_MONOTONIC, O_NONBLOCK);
	syscall(SYS_memfd_create, "m", 0);
	syscall(SYS_socketpair, 1, 1 | O_NONBLOCK, 0, p);
	syscall(SYS_socket, 2, 1 | O_NONBLOCK, 0);
	syscall(SYS_socket, 2, 2 | O_NONBLOCK, 0);
	syscall(SYS_inotify_init1, O_NONBLOCK);
	for (int i = 0; i < 4; i++)
		live();
	mkdir("/tmp/d", 0700);
	symlink("a", "/tmp/link");
	last_fd = open("/data/one", O_RDONLY);
	if (last_fd < 0)
		last_fd = dup(0);

	char event[64] = {0};
	if (read(0, event, sizeof event - 1) <= 0)
		return 4;
	seed = strtoull(event, NULL, 10);
	count = atol(strchr(event, ' ') ? strchr(event, ' ') : " 100");
	state = seed * 0x9e3779b97f4a7c15ull + 1;
	int null = open("/dev/null", O_RDWR);
	dup2(null, 1), dup2(null, 2);
	pthread_t t;
	if (seed % 3 == 0)
		pthread_create(&t, NULL, second, NULL);
	for (long i = 0; i < count; i++) {
		if (i % 32 == 0)
			refresh();
		one();
	}
	_exit(0);
}
