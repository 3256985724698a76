// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: signals among threads: each has its mask and its queue, a signal to the
// process goes to a thread that does not block it, sigwait in a thread takes it, a
// handler changes the mask of its thread alone.
#include "guest.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

static atomic_int who, count;
static __thread int me;
static void handler(int s, siginfo_t *si, void *c) { who = me, count++; }
static sem_t go, done;
static atomic_int command;

static void *worker(void *arg) {
	me = (int)(long)arg;
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGRTMIN);
	CHECK_EQ(pthread_sigmask(me == 2 ? SIG_UNBLOCK : SIG_BLOCK, &s, NULL), 0);
	sem_post(&done);
	if (me == 2) {
		while (command == 0)
			sleep_ms(1);
	} else {
		siginfo_t si;
		sigset_t rt;
		sigemptyset(&rt);
		sigaddset(&rt, SIGRTMIN);
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(sigwaitinfo(&rt, &si), SIGRTMIN);
			printf("waited: value %d code %d\n", si.si_value.sival_int, si.si_code);
			sem_post(&done);
		}
	}
	return NULL;
}

int main(void) {
	on(SIGUSR1, handler, SA_RESTART);
	on(SIGRTMIN, handler, SA_RESTART);
	me = 1;
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGRTMIN);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &s, NULL), 0);
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	pthread_t two, three;
	CHECK_EQ(pthread_create(&two, NULL, worker, (void *)2), 0);
	sem_wait(&done);
	for (int i = 0; i < 5; i++) {
		count = 0;
		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
		while (count == 0)
			sleep_ms(1);
		CHECK_EQ(who, 2);
	}
	CHECK_EQ(pthread_kill(pthread_self(), SIGUSR1), 0); // blocked here: nobody else's
	sleep_ms(3);
	CHECK_EQ(count, 1);
	uint64_t pending = 0;
	CHECK_EQ(syscall(SYS_rt_sigpending, &pending, 8), 0);
	CHECK_EQ(pending, 1u << (SIGUSR1 - 1));
	CHECK_EQ(pthread_kill(two, SIGUSR1), 0);
	while (count == 1)
		sleep_ms(1);
	CHECK_EQ(who, 2);
	command = 1;
	pthread_join(two, NULL);
	// Only the first thread is left, and blocks it: it waits for the process.
	CHECK_EQ(kill(getpid(), SIGRTMIN), 0);
	CHECK_EQ(pthread_create(&three, NULL, worker, (void *)3), 0);
	sem_wait(&done);
	sem_wait(&done); // took what was pending
	CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5}), 0);
	sem_wait(&done);
	CHECK_EQ(pthread_sigqueue(three, SIGRTMIN, (union sigval){.sival_int = 6}), 0);
	sem_wait(&done);
	pthread_join(three, NULL);
	count = 0;
	CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &s, NULL), 0);
	printf("handled at once: %d by %d\n", count, who);
	return 0;
}
