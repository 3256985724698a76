// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: uname, limits, sysconf, ids, priorities, prctl names, umask and
// sched calls that libraries make at start answer sensibly.
#include "guest.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

int main(void) {
	struct utsname u;
	CHECK_EQ(uname(&u), 0);
	CHECK(u.nodename[0] && u.release[0] >= '4' && u.version[0]);
	printf("%s %s\n", u.sysname, u.machine);
	struct rlimit lim, lim2;
	CHECK_EQ(getrlimit(RLIMIT_STACK, &lim), 0);
	CHECK(lim.rlim_cur >= 1 << 20 && lim.rlim_max >= lim.rlim_cur);
	CHECK_EQ(prlimit(0, RLIMIT_STACK, NULL, &lim2), 0);
	CHECK(lim.rlim_cur == lim2.rlim_cur && lim.rlim_max == lim2.rlim_max);
	lim.rlim_cur = 4 << 20;
	CHECK_EQ(prlimit(0, RLIMIT_STACK, &lim, NULL), 0);
	CHECK_EQ(getrlimit(RLIMIT_STACK, &lim2), 0);
	CHECK_EQ(lim2.rlim_cur, 4 << 20);
	lim.rlim_max = 1;
	CHECK_ERR(setrlimit(RLIMIT_STACK, &lim), EINVAL);
	CHECK_ERR(getrlimit(99, &lim), EINVAL);
	CHECK_EQ(sysconf(_SC_PAGESIZE), 4096);
	CHECK_EQ(sysconf(_SC_CLK_TCK), 100);
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1 && sysconf(_SC_NPROCESSORS_CONF) >= 1 && sysconf(_SC_OPEN_MAX) >= 16);
	struct sysinfo si;
	CHECK_EQ(sysinfo(&si), 0);
	CHECK(si.totalram > 0 && si.mem_unit > 0);

	CHECK(getpid() > 0 && getppid() >= 0);
	// A clone of a snapshot has a new process number, and its threads keep theirs.
	CHECK(getpid() == (int)syscall(SYS_gettid) || getenv("GUEST_WAIT"));
	CHECK(getuid() == geteuid() && getgid() == getegid());
	uid_t r, e, s;
	CHECK_EQ(getresuid(&r, &e, &s), 0);
	CHECK(r == getuid() && e == r && s == r);
	CHECK(getpgrp() > 0 && getpgid(0) == getpgrp());

	cpu_set_t set;
	CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
	CHECK(CPU_COUNT(&set) >= 1);
	CHECK(sched_getcpu() >= 0);
	CHECK_EQ(sched_yield(), 0);
	char name[16];
	CHECK_EQ(prctl(PR_SET_NAME, "a-name-that-is-cut"), 0);
	CHECK_EQ(prctl(PR_GET_NAME, name), 0);
	printf("name %s\n", name);
	CHECK_ERR(prctl(98765), EINVAL);
	umask(027);
	CHECK_EQ(umask(022), 027);
	CHECK_ERR(syscall(9999), ENOSYS);
	CHECK_ERR(syscall(-5l), ENOSYS);
	printf("system ok\n");
	return 0;
}
