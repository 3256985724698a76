// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: resource limits: kept, never raised beyond the hard limit, read by prlimit,
// wrong resources and addresses; limits on files and descriptors that have effect.
#include "guest.h"
#include <fcntl.h>
#include <sys/resource.h>

static long pr(int pid, int res, void *n, void *o) { return syscall(SYS_prlimit64, pid, res, n, o); }

int main(void) {
	drop_privileges();
	struct rlimit l, o, was;
	for (int r = 0; r < 16; r++) {
		CHECK_EQ(getrlimit(r, &was), 0);
		if (r == RLIMIT_STACK || r == RLIMIT_AS || r == RLIMIT_DATA || r == RLIMIT_CPU || r == RLIMIT_FSIZE || r == RLIMIT_RSS)
			continue;
		l = (struct rlimit){was.rlim_max > 64 ? 64 : was.rlim_max, was.rlim_max > 100 ? 100 : was.rlim_max};
		CHECK_EQ(pr(0, r, &l, &o), 0);
		CHECK(o.rlim_cur == was.rlim_cur && o.rlim_max == was.rlim_max);
		CHECK_EQ(getrlimit(r, &o), 0);
		CHECK(o.rlim_cur == l.rlim_cur && o.rlim_max == l.rlim_max);
		if (l.rlim_max == 100) {
			l.rlim_max = 101;
			CHECK_ERR(setrlimit(r, &l), EPERM);
			l.rlim_max = 100, l.rlim_cur = 100;
			CHECK_EQ(setrlimit(r, &l), 0);
			l.rlim_cur = 101;
			CHECK_ERR(setrlimit(r, &l), EINVAL);
		}
	}
	l = (struct rlimit){10, 10};
	SHOW(pr(0, 16, &l, NULL));
	SHOW(pr(0, -1, &l, NULL));
	SHOW(pr(-1, 0, NULL, &o));
	SHOW(pr(0x3ffffff, 0, NULL, &o));
	SHOW(pr(getpid(), RLIMIT_NOFILE, NULL, &o));
	SHOW(pr(0, RLIMIT_NOFILE, BAD, NULL));
	SHOW(pr(0, RLIMIT_NOFILE, NULL, BAD));
	SHOW(pr(0, RLIMIT_NOFILE, NULL, NULL));
	SHOW(syscall(SYS_getrlimit, RLIMIT_NOFILE, BAD));
	SHOW(syscall(SYS_setrlimit, RLIMIT_NOFILE, BAD));
	SHOW(syscall(SYS_setrlimit, 16, &l));
	l = (struct rlimit){5, 10};
	SHOW(pr(0, RLIMIT_NOFILE, &l, readonly_page())); // set before the old one is told
	SHOW(getrlimit(RLIMIT_NOFILE, &o));
	SHOW(o.rlim_cur);
	close(3), close(4);
	SHOW(open("/", O_RDONLY));
	SHOW(dup(0));
	SHOW(dup(0));
	SHOW(fcntl(0, F_DUPFD, 5));
	SHOW(dup2(0, 4));
	SHOW(dup2(0, 5));
	l.rlim_cur = 0;
	SHOW(setrlimit(RLIMIT_NOFILE, &l));
	SHOW(dup2(0, 4)); // also what is open already
	SHOW(write(2, "", 0));
	return 0;
}
