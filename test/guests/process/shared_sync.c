// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Locks between processes: mutexes, conditions, semaphores and barriers in shared
// memory, and one whose owner dies.
#include "process.h"
#include <pthread.h>
#include <semaphore.h>

enum { WORKERS = 4, ROUNDS = 300 };

static struct {
	pthread_mutex_t lock, robust;
	pthread_cond_t changed;
	pthread_barrier_t barrier;
	sem_t sem;
	long count, order;
} *s;

static int works(void *arg) {
	long me = (long)(intptr_t)arg;
	pthread_barrier_wait(&s->barrier);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK(pthread_mutex_lock(&s->lock) == 0);
		while (s->order % WORKERS != me)
			CHECK(pthread_cond_wait(&s->changed, &s->lock) == 0);
		s->order++;
		s->count += me;
		CHECK(pthread_cond_broadcast(&s->changed) == 0);
		CHECK(pthread_mutex_unlock(&s->lock) == 0);
	}
	CHECK(sem_post(&s->sem) == 0);
	return 0;
}

static int dies(void *arg) {
	(void)arg;
	CHECK(pthread_mutex_lock(&s->robust) == 0);
	CHECK(sem_post(&s->sem) == 0);
	raise(SIGKILL);
	return 0;
}

int main(void) {
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(s != MAP_FAILED);
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	pthread_barrierattr_t ba;
	CHECK(pthread_mutexattr_init(&ma) == 0 && pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_condattr_init(&ca) == 0 && pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_barrierattr_init(&ba) == 0 && pthread_barrierattr_setpshared(&ba, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutex_init(&s->lock, &ma) == 0 && pthread_cond_init(&s->changed, &ca) == 0);
	CHECK(pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST) == 0 && pthread_mutex_init(&s->robust, &ma) == 0);
	CHECK(pthread_barrier_init(&s->barrier, &ba, WORKERS + 1) == 0 && sem_init(&s->sem, 1, 0) == 0);
	pid_t pids[WORKERS];
	for (long i = 0; i < WORKERS; i++)
		pids[i] = start(works, (void *)i);
	pthread_barrier_wait(&s->barrier);
	for (int i = 0; i < WORKERS; i++)
		while (sem_wait(&s->sem) != 0)
			CHECK(errno == EINTR);
	for (int i = 0; i < WORKERS; i++)
		CHECK_EQ(wait_for(pids[i], 0), 0);
	printf("count %ld, order %ld\n", s->count, s->order);
	pid_t pid = start(dies, NULL);
	while (sem_wait(&s->sem) != 0)
		CHECK(errno == EINTR);
	CHECK_EQ(pthread_mutex_lock(&s->robust), EOWNERDEAD);
	CHECK(pthread_mutex_consistent(&s->robust) == 0 && pthread_mutex_unlock(&s->robust) == 0);
	show_status("owner", wait_for(pid, 0));

	// A private futex at the same address is another one in another process.
	static int word;
	fflush(stdout);
	if ((pid = fork()) == 0) {
		struct timespec ts = {0, 30000000};
		_exit(syscall(SYS_futex, &word, 128, 0, &ts, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : 1);
	}
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(syscall(SYS_futex, &word, 129, 1, NULL, NULL, 0), 0);
		sleep_ms(2);
	}
	show_status("private futex", wait_for(pid, 0));
}
