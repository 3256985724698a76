// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: who the program is and what it may have: user, group, session,
// capabilities, limits, scheduling, priority, locked memory, and old forms of
// the clock. Who runs the tests is not known, so only what holds for everybody.
#include "guest.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

static void *page;

int main(void) {
	uid_t u[3];
	gid_t g[3];
	CHECK_EQ(getresuid(&u[0], &u[1], &u[2]), 0);
	CHECK_EQ(getresgid(&g[0], &g[1], &g[2]), 0);
	CHECK(u[0] == getuid() && u[1] == geteuid() && g[0] == getgid() && g[1] == getegid());
	CHECK_EQ(syscall(SYS_setuid, u[0]), 0);
	CHECK_EQ(syscall(SYS_setgid, g[0]), 0);
	CHECK_EQ(syscall(SYS_setreuid, -1, u[1]), 0);
	CHECK_EQ(syscall(SYS_setregid, -1, g[1]), 0);
	CHECK_EQ(syscall(SYS_setresuid, -1, u[1], -1), 0);
	CHECK_EQ(syscall(SYS_setresgid, g[0], -1, -1), 0);
	CHECK_ERR(syscall(SYS_setuid, -1), EINVAL);
	CHECK_EQ(syscall(SYS_setfsuid, u[1]), u[1]);
	CHECK_EQ(syscall(SYS_setfsgid, g[1]), g[1]);
	CHECK(syscall(SYS_getgroups, 0, NULL) >= 0);
	CHECK_ERR(syscall(SYS_getgroups, -1, NULL), EINVAL);
	long r = syscall(SYS_setgroups, 0, NULL);
	CHECK(r == 0 || errno == EPERM);

	CHECK_EQ(getsid(0), getsid(getpid()));
	CHECK_ERR(setpgid(0, -1), EINVAL);
	CHECK_ERR(syscall(SYS_getsid, 99999999), ESRCH);
	if (getpgid(0) != getpid())
		CHECK_EQ(setsid(), getpid());
	CHECK_ERR(setsid(), EPERM);

	struct __user_cap_header_struct h = {0, 0};
	struct __user_cap_data_struct c[2];
	CHECK_EQ(syscall(SYS_capget, &h, NULL), 0);
	CHECK_EQ(h.version, _LINUX_CAPABILITY_VERSION_3);
	CHECK_EQ(syscall(SYS_capget, &h, c), 0);
	CHECK_EQ(syscall(SYS_capset, &h, c), 0);
	h.version = 1;
	CHECK_ERR(syscall(SYS_capset, &h, c), EINVAL);

	struct rlimit l, m;
	CHECK_EQ(syscall(SYS_getrlimit, RLIMIT_NOFILE, &l), 0);
	m.rlim_cur = 20, m.rlim_max = l.rlim_max;
	CHECK_EQ(syscall(SYS_setrlimit, RLIMIT_NOFILE, &m), 0);
	int last = -1, fd;
	while ((fd = dup(0)) >= 0)
		last = fd;
	CHECK_EQ(errno, EMFILE);
	CHECK_EQ(last, 19);
	CHECK_ERR(fcntl(0, F_DUPFD, 20), EINVAL);
	CHECK_ERR(dup2(0, 20), EBADF);
	m.rlim_cur = 2, m.rlim_max = 1;
	CHECK_ERR(syscall(SYS_setrlimit, RLIMIT_NOFILE, &m), EINVAL);
	CHECK_ERR(syscall(SYS_getrlimit, 99, &m), EINVAL);

	struct sched_param sp = {0};
	CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
	CHECK_EQ(sched_setscheduler(0, SCHED_OTHER, &sp), 0);
	CHECK_EQ(sched_setparam(0, &sp), 0);
	CHECK_EQ(sched_getparam(0, &sp), 0);
	CHECK_EQ(sp.sched_priority, 0);
	sp.sched_priority = 1;
	CHECK_ERR(sched_setparam(0, &sp), EINVAL);
	CHECK_ERR(sched_setscheduler(-1, SCHED_OTHER, &sp), EINVAL);
	printf("priorities %d to %d, %d to %d\n", sched_get_priority_min(SCHED_FIFO), sched_get_priority_max(SCHED_FIFO),
	       sched_get_priority_min(SCHED_OTHER), sched_get_priority_max(SCHED_OTHER));
	struct timespec ts = {-1, -1};
	CHECK_EQ(sched_rr_get_interval(0, &ts), 0);
	CHECK(ts.tv_sec == 0 && ts.tv_nsec >= 0);
	cpu_set_t set;
	CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
	CHECK_EQ(sched_setaffinity(0, sizeof set, &set), 0);
	CHECK_ERR(sched_setaffinity(-1, sizeof set, &set), ESRCH);
	unsigned attr[32] = {0};
	CHECK_EQ(syscall(SYS_sched_getattr, 0, attr, sizeof attr, 0), 0);
	CHECK(attr[0] >= 48 && attr[1] == SCHED_OTHER);
	unsigned cpu = -1, node = -1;
	CHECK_EQ(syscall(SYS_getcpu, &cpu, &node, NULL), 0);
	CHECK(cpu < 100000 && node < 100000);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) > 0);
	CHECK_ERR(syscall(SYS_membarrier, 3, 0, 0), EINVAL);

	CHECK_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 20);
	CHECK_EQ(syscall(SYS_setpriority, PRIO_PROCESS, 0, 0), 0);
	CHECK_ERR(syscall(SYS_getpriority, 9, 0), EINVAL);
	CHECK_ERR(syscall(SYS_getpriority, PRIO_PROCESS, 99999999), ESRCH);
	CHECK(syscall(SYS_ioprio_get, 1, 0) >= 0);
	CHECK_EQ(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 4), 0);
	CHECK_ERR(syscall(SYS_ioprio_get, 9, 0), EINVAL);
	CHECK(personality(0xffffffff) >= 0);

	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(mlock(page, 8192), 0);
	CHECK_EQ(munlock(page, 8192), 0);
	CHECK_EQ(syscall(SYS_mlock2, page, 4096, 1), 0);
	CHECK_ERR(syscall(SYS_mlock2, page, 4096, 2), EINVAL);
	CHECK_ERR(mlockall(0), EINVAL);
	CHECK_ERR(mlockall(MCL_ONFAULT), EINVAL);
	CHECK_EQ(munlockall(), 0);
	CHECK_EQ(munmap(page, 8192), 0);
	CHECK_ERR(mlock(page, 8192), ENOMEM);

	time_t t = 0, t2 = syscall(SYS_time, &t);
	CHECK_EQ(t, t2);
	struct timeval tv;
	struct timezone tz = {9, 9};
	CHECK_EQ(syscall(SYS_gettimeofday, &tv, &tz), 0);
	CHECK(tv.tv_sec - t >= 0 && tv.tv_sec - t < 100);
	siginfo_t si = {.si_code = SI_QUEUE};
	sigset_t usr;
	sigemptyset(&usr);
	sigaddset(&usr, SIGUSR1);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &usr, NULL), 0);
	si.si_value.sival_int = 42;
	CHECK_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGUSR1, &si), 0);
	memset(&si, 0, sizeof si);
	CHECK_EQ(sigwaitinfo(&usr, &si), SIGUSR1);
	CHECK_EQ(si.si_value.sival_int, 42);
	CHECK_ERR(syscall(SYS_rt_tgsigqueueinfo, 0, 1, SIGUSR1, &si), EINVAL);
	printf("done\n");
	return 0;
}
