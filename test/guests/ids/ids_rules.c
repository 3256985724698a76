// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: user and group ids for a process without capabilities that is user 0: what it
// may become and what not, supplementary groups, capabilities, sessions, personality.
#include "guest.h"
#include <sys/fsuid.h>
#include <sys/personality.h>

struct head {
	uint32_t version;
	int pid;
};

int main(void) {
	drop_privileges();
	unsigned a, b, c;
	unsigned me = getuid(), grp = getgid(), other = me + 1000;
	CHECK_EQ(setuid(me), 0);
	CHECK_EQ(syscall(SYS_setresuid, me, me, me), 0);
	SHOW(syscall(SYS_setuid, other));
	SHOW(syscall(SYS_setgid, grp + 1000));
	SHOW(syscall(SYS_setuid, -1));
	SHOW(syscall(SYS_setgid, -1));
	SHOW(syscall(SYS_setreuid, other, -1));
	SHOW(syscall(SYS_setreuid, -1, other));
	SHOW(syscall(SYS_setreuid, -1, -1));
	SHOW(syscall(SYS_setregid, grp + 1000, -1));
	SHOW(syscall(SYS_setresuid, -1, -1, other));
	SHOW(syscall(SYS_setresuid, -1, -1, -1));
	SHOW(syscall(SYS_setresgid, -1, grp + 1000, -1));
	SHOW(syscall(SYS_setresgid, -1, -1, -1));
	CHECK_EQ(setfsuid(other), me);
	CHECK_EQ(setfsuid(-1), me);
	CHECK_EQ(setfsgid(grp + 1000), grp);
	SHOW(syscall(SYS_getresuid, &a, &b, BAD));
	SHOW(syscall(SYS_getresuid, BAD, &b, &c));
	SHOW(syscall(SYS_getresgid, &a, BAD, &c));
	SHOW(syscall(SYS_setgroups, 1, &grp));
	SHOW(syscall(SYS_setgroups, 65537, &grp));
	SHOW(syscall(SYS_getgroups, -1, NULL));

	struct head h = {0x20080522, 0};
	uint32_t d[6];
	SHOW(syscall(SYS_capget, &h, d));
	for (int i = 0; i < 6; i++)
		printf(" %x", d[i]);
	printf("\n");
	d[0] = 1;
	SHOW(syscall(SYS_capset, &h, d));
	d[0] = 0, d[2] = 1; // inheritable, beyond what is permitted
	SHOW(syscall(SYS_capset, &h, d));
	d[2] = 0;
	SHOW(syscall(SYS_capset, &h, d));
	SHOW(syscall(SYS_capset, &h, BAD));
	SHOW(syscall(SYS_capset, BAD, d));
	SHOW(syscall(SYS_capget, BAD, d));
	SHOW(syscall(SYS_capget, &h, BAD));
	h.pid = -1;
	SHOW(syscall(SYS_capget, &h, d));
	h.pid = 0x3ffffff;
	SHOW(syscall(SYS_capget, &h, d));
	SHOW(syscall(SYS_capset, &h, d));
	h.version = 77, h.pid = 0;
	SHOW(syscall(SYS_capget, &h, d));
	printf("version %x\n", h.version);
	h.version = 77;
	SHOW(syscall(SYS_capset, &h, d));
	printf("version %x\n", h.version);
	h.version = 0x19980330;
	SHOW(syscall(SYS_capget, &h, d));

	SHOW(setpgid(-1, 0));
	SHOW(setpgid(0x3ffffff, 0));
	SHOW(setpgid(0, -1));
	SHOW(getpgid(-1));
	SHOW(getpgid(0x3ffffff));
	SHOW(getsid(0x3ffffff));
	SHOW(getsid(-1));
	SHOW(personality(0xffffffff));
	SHOW(personality(ADDR_NO_RANDOMIZE));
	SHOW(personality(0xffffffff));
	SHOW(personality(0));
	return 0;
}
