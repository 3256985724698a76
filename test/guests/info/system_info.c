// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: uname, sysinfo, getrandom, umask, times and what they answer to wrong
// arguments; a machine's kernel says that it is Kontain.
#include "guest.h"
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

int main(void) {
	struct utsname u;
	CHECK_EQ(uname(&u), 0);
	printf("%s %s\n", u.sysname, u.machine);
	int major = 0, minor = 0;
	CHECK(sscanf(u.release, "%d.%d", &major, &minor) == 2 && major >= 4);
	CHECK(strcmp(u.nodename, "kontain") != 0 || strstr(u.release, "kontain") != NULL);
	SHOW(syscall(SYS_uname, BAD));
	SHOW(syscall(SYS_uname, page_end(100)));
	SHOW(syscall(SYS_uname, page_end(390)));
	struct sysinfo s;
	CHECK_EQ(sysinfo(&s), 0);
	CHECK(s.uptime >= 0 && s.totalram > 0 && s.freeram <= s.totalram && s.mem_unit >= 1 && s.procs >= 1);
	SHOW(syscall(SYS_sysinfo, BAD));
	SHOW(syscall(SYS_sysinfo, readonly_page()));
	SHOW(sysconf(_SC_PAGESIZE));
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);

	unsigned char a[64], b[64];
	SHOW(syscall(SYS_getrandom, a, 64, 0));
	SHOW(syscall(SYS_getrandom, b, 64, GRND_RANDOM | GRND_NONBLOCK));
	CHECK(memcmp(a, b, 64) != 0);
	SHOW(syscall(SYS_getrandom, a, 64, 4 /* GRND_INSECURE */));
	SHOW(syscall(SYS_getrandom, a, 64, 4 | GRND_RANDOM));
	SHOW(syscall(SYS_getrandom, a, 64, 8));
	SHOW(syscall(SYS_getrandom, a, 64, -1));
	SHOW(syscall(SYS_getrandom, a, 0, 0));
	SHOW(syscall(SYS_getrandom, BAD, 0, 0));
	SHOW(syscall(SYS_getrandom, BAD, 64, 0));
	SHOW(syscall(SYS_getrandom, readonly_page(), 64, 0));
	SHOW(syscall(SYS_getrandom, page_end(10), 64, 0));
	SHOW(syscall(SYS_getrandom, 0xffffffffffff0000, 64, 0));
	static char big[300000];
	SHOW(syscall(SYS_getrandom, big, sizeof big, 0));
	int zeros = 0;
	for (unsigned i = 0; i < sizeof big; i++)
		zeros += big[i] == 0;
	CHECK(zeros > 500 && zeros < 2500);
	SHOW(umask(077) >= 0);
	SHOW(umask(0xfffff));
	SHOW(umask(022));
	return 0;
}
