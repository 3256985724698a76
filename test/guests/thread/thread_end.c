// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the end of threads: the first one goes before the others, the word of
// set_tid_address is cleared and woken, robust lists are walked, also damaged ones.
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static char stack[65536] __attribute__((aligned(16)));
static atomic_int tid_word, go;
struct robust {
	struct robust *next;
};
static struct {
	struct robust *list;
	long offset;
	struct robust *pending;
} head;
static struct {
	struct robust link;
	atomic_uint word;
} locks[4];

static int child(void *arg) {
	int me = syscall(SYS_gettid);
	int kind = (int)(long)arg;
	head.list = (void *)&head;
	head.offset = sizeof(struct robust);
	head.pending = NULL;
	CHECK_EQ(syscall(SYS_set_robust_list, &head, sizeof head), 0);
	for (int i = 0; i < 4; i++) {
		locks[i].word = me | (i == 1 ? FUTEX_WAITERS : 0);
		locks[i].link.next = i < 3 ? &locks[i + 1].link : (void *)&head;
	}
	locks[2].word = me + 1; // another's
	head.list = &locks[0].link;
	switch (kind) {
	case 1: locks[3].link.next = &locks[0].link; break;    // a circle
	case 2: locks[1].link.next = (void *)64; break;        // leads nowhere
	case 3: head.list = (void *)&head, head.pending = &locks[3].link; break;
	case 4: head.offset = sizeof(struct robust) + 1; break; // not aligned
	case 5: head.list = NULL; break;
	}
	while (!go)
		sched_yield();
	syscall(SYS_exit, 0);
	return 0;
}

static pthread_t first;
static void *last(void *arg) {
	void *v = NULL;
	CHECK_EQ(pthread_join(first, &v), 0);
	printf("the first thread ended with %ld\n", (long)v);
	char b[64];
	CHECK(getpid() > 0);
	CHECK_EQ(kill(getpid(), 0), 0);
	printf("and the process goes on\n");
	exit(7);
}

int main(void) {
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
	                  CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID;
	for (long kind = 0; kind < 6; kind++) {
		go = 0;
		tid_word = -1;
		int parent = 0;
		int tid = clone(child, stack + sizeof stack, flags, (void *)kind, &parent, NULL, (void *)&tid_word);
		CHECK(tid > 0);
		CHECK_EQ(parent, tid);
		go = 1;
		int v;
		while ((v = tid_word) != 0)
			syscall(SYS_futex, &tid_word, FUTEX_WAIT, v, NULL, NULL, 0); // not private: as the kernel wakes it
		printf("kind %ld:", kind);
		for (int i = 0; i < 4; i++)
			printf(" %s%s%s", locks[i].word & FUTEX_OWNER_DIED ? "died" : "-", locks[i].word & FUTEX_WAITERS ? "+waiters" : "",
			       (int)(locks[i].word & FUTEX_TID_MASK) == tid ? "+owned" : "");
		printf("\n");
	}
	SHOW(syscall(SYS_set_robust_list, &head, 23));
	SHOW(syscall(SYS_set_robust_list, BAD, 24)); // looked at only at the end
	void *h = NULL;
	size_t len = 0;
	SHOW(syscall(SYS_get_robust_list, 0, &h, &len));
	printf("head %d length %zu\n", h == BAD, len);
	SHOW(syscall(SYS_get_robust_list, 0, BAD, &len));
	SHOW(syscall(SYS_get_robust_list, 0, &h, BAD));
	SHOW(syscall(SYS_get_robust_list, 0x3ffffff, &h, &len));
	SHOW(syscall(SYS_set_robust_list, NULL, 24));
	first = pthread_self();
	pthread_t t;
	CHECK_EQ(pthread_create(&t, NULL, last, NULL), 0);
	pthread_exit((void *)11);
}
