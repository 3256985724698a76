// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: prctl: each option that programs use: what it sets is read back, what it
// refuses; names of threads.
#include "guest.h"
#include <pthread.h>
#include <sys/prctl.h>

#define P(...) syscall(SYS_prctl, __VA_ARGS__)
static void *thread(void *arg) {
	char name[16] = "";
	CHECK_EQ(P(PR_GET_NAME, name, 0, 0, 0), 0);
	printf("new thread: %s\n", name);
	CHECK_EQ(P(PR_SET_NAME, "other", 0, 0, 0), 0);
	return NULL;
}

int main(void) {
	drop_privileges();
	char name[32];
	memset(name, 'x', sizeof name);
	SHOW(P(PR_SET_NAME, "0123456789abcdefgh", 0, 0, 0));
	SHOW(P(PR_GET_NAME, name, 0, 0, 0));
	printf("name %.16s after %c\n", name, name[16]);
	pthread_t t;
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, NULL);
	SHOW(P(PR_GET_NAME, name, 0, 0, 0));
	printf("name %s\n", name);
	char *end = page_end(3);
	memcpy(end, "ab", 3);
	SHOW(P(PR_SET_NAME, end, 0, 0, 0));
	memcpy(end, "abc", 3);
	SHOW(P(PR_SET_NAME, end, 0, 0, 0));
	SHOW(P(PR_SET_NAME, BAD, 0, 0, 0));
	SHOW(P(PR_GET_NAME, end, 0, 0, 0));
	SHOW(P(PR_SET_NAME, "", 0, 0, 0));
	SHOW(P(PR_GET_NAME, name, 0, 0, 0));
	printf("name '%s'\n", name);

	int v = -1;
	SHOW(P(PR_GET_PDEATHSIG, &v, 0, 0, 0));
	SHOW(v);
	SHOW(P(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0));
	SHOW(P(PR_GET_PDEATHSIG, &v, 0, 0, 0));
	SHOW(v);
	SHOW(P(PR_SET_PDEATHSIG, 65, 0, 0, 0));
	SHOW(P(PR_SET_PDEATHSIG, 0, 0, 0, 0));
	SHOW(P(PR_GET_PDEATHSIG, BAD, 0, 0, 0));
	SHOW(P(PR_SET_DUMPABLE, 1, 0, 0, 0));
	SHOW(P(PR_GET_DUMPABLE, 0, 0, 0, 0));
	SHOW(P(PR_SET_DUMPABLE, 0, 0, 0, 0));
	SHOW(P(PR_GET_DUMPABLE, 0, 0, 0, 0));
	SHOW(P(PR_SET_DUMPABLE, 2, 0, 0, 0));
	SHOW(P(PR_SET_DUMPABLE, 1, 0, 0, 0));
	SHOW(P(PR_GET_KEEPCAPS, 0, 0, 0, 0));
	SHOW(P(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	SHOW(P(PR_GET_KEEPCAPS, 0, 0, 0, 0));
	SHOW(P(PR_SET_KEEPCAPS, 2, 0, 0, 0));
	SHOW(P(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	SHOW(P(PR_SET_TIMERSLACK, 12345, 0, 0, 0));
	SHOW(P(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	SHOW(P(PR_SET_TIMERSLACK, 0, 0, 0, 0)); // back to what it was
	SHOW(P(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	SHOW(P(PR_GET_TIMING, 0, 0, 0, 0));
	SHOW(P(PR_SET_TIMING, 0, 0, 0, 0));
	SHOW(P(PR_SET_TIMING, 1, 0, 0, 0));
	SHOW(P(PR_GET_SECCOMP, 0, 0, 0, 0));
	SHOW(P(PR_GET_SECUREBITS, 0, 0, 0, 0));
	SHOW(P(PR_CAPBSET_READ, 0, 0, 0, 0) >= 0);
	SHOW(P(PR_CAPBSET_READ, 99, 0, 0, 0));
	SHOW(P(PR_CAPBSET_DROP, 0, 0, 0, 0));
	SHOW(P(PR_CAPBSET_DROP, 99, 0, 0, 0));
	SHOW(P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 0, 0));
	SHOW(P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0));
	SHOW(P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	SHOW(P(PR_CAP_AMBIENT, 99, 0, 0, 0));
	SHOW(P(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	SHOW(P(PR_SET_NO_NEW_PRIVS, 1, 0, 1, 0));
	SHOW(P(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SHOW(P(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	SHOW(P(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SHOW(P(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	SHOW(P(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	SHOW(P(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	SHOW(P(PR_SET_THP_DISABLE, 0, 0, 0, 0));
	SHOW(P(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	SHOW(P(PR_GET_CHILD_SUBREAPER, &v, 0, 0, 0));
	SHOW(v);
	SHOW(P(PR_GET_CHILD_SUBREAPER, BAD, 0, 0, 0));
	SHOW(P(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0));
	void *addr = NULL;
	SHOW(syscall(SYS_set_tid_address, &v) == syscall(SYS_gettid));
	long r = P(PR_GET_TID_ADDRESS, &addr, 0, 0, 0);
	CHECK(r == 0 ? addr == &v : errno == EINVAL); // not every kernel is built with it
	SHOW(P(PR_GET_TSC, &v, 0, 0, 0));
	SHOW(v);
	SHOW(P(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0));
	SHOW(P(PR_MCE_KILL_GET, 0, 0, 0, 0));
	SHOW(P(PR_GET_UNALIGN, &v, 0, 0, 0));
	SHOW(P(PR_GET_ENDIAN, &v, 0, 0, 0));
	SHOW(P(-1, 0, 0, 0, 0));
	SHOW(P(9999, 0, 0, 0, 0));
	return 0;
}
