// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what the C library builds on futexes: condition variables on both clocks and
// with broadcast, read-write locks, barriers, semaphores, spin locks, once, keys with
// destructors, detached threads, names.
#include "guest.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t bar;
static pthread_spinlock_t spin;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t sem;
static atomic_int ready, readers, most, serial, inits, destroyed, detached, n;
static int turn;

static void init(void) { inits++; }
static void destroy(void *p) { destroyed += (int)(long)p; }

static void *worker(void *arg) {
	pthread_once(&once, init);
	pthread_setspecific(key, (void *)1);
	if (pthread_barrier_wait(&bar) == PTHREAD_BARRIER_SERIAL_THREAD)
		serial++;
	pthread_mutex_lock(&m);
	ready++;
	while (turn == 0)
		pthread_cond_wait(&c, &m);
	pthread_mutex_unlock(&m);
	pthread_rwlock_rdlock(&rw);
	int r = ++readers;
	if (r > most)
		most = r;
	sched_yield();
	readers--;
	pthread_rwlock_unlock(&rw);
	pthread_rwlock_wrlock(&rw);
	CHECK_EQ(readers, 0);
	pthread_rwlock_unlock(&rw);
	for (int i = 0; i < 300; i++) {
		pthread_spin_lock(&spin);
		turn++;
		pthread_spin_unlock(&spin);
	}
	sem_post(&sem);
	return arg;
}
static void *alone(void *arg) {
	detached = 1;
	return NULL;
}

int main(void) {
	pthread_condattr_t ca;
	pthread_condattr_init(&ca);
	CHECK_EQ(pthread_condattr_setclock(&ca, CLOCK_MONOTONIC), 0);
	CHECK_EQ(pthread_cond_init(&c, &ca), 0);
	CHECK_EQ(pthread_barrier_init(&bar, NULL, 8), 0);
	pthread_spin_init(&spin, 0);
	sem_init(&sem, 0, 0);
	pthread_key_create(&key, destroy);
	pthread_t t[8];
	for (long i = 0; i < 8; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, worker, (void *)i), 0);
	while (ready < 8)
		sleep_ms(1);
	pthread_mutex_lock(&m);
	turn = 1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < 8; i++)
		sem_wait(&sem);
	long sum = 0;
	for (int i = 0; i < 8; i++) {
		void *v;
		CHECK_EQ(pthread_join(t[i], &v), 0);
		sum += (long)v;
	}
	printf("turn %d sum %ld serial %d inits %d destroyed %d readers at once %d\n", turn, sum, serial, inits, destroyed, most >= 1);

	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec -= 1;
	pthread_mutex_lock(&m);
	printf("cond %d", pthread_cond_timedwait(&c, &m, &ts));
	ts.tv_nsec = -1;
	printf(" %d", pthread_cond_timedwait(&c, &m, &ts));
	pthread_cond_t real = PTHREAD_COND_INITIALIZER;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec = (ts.tv_nsec + 3000000) % 1000000000;
	ts.tv_sec += ts.tv_nsec < 3000000;
	printf(" %d\n", pthread_cond_timedwait(&real, &m, &ts));
	pthread_mutex_unlock(&m);
	SHOW(sem_trywait(&sem));
	SHOW(sem_timedwait(&sem, &ts));
	pthread_rwlock_wrlock(&rw);
	printf("rwlock %d", pthread_rwlock_trywrlock(&rw));
	printf(" %d", pthread_rwlock_tryrdlock(&rw));
	printf(" %d\n", pthread_rwlock_timedrdlock(&rw, &ts) != 0);

	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	CHECK_EQ(pthread_create(&t[0], &a, alone, NULL), 0);
	while (!detached)
		sleep_ms(1);
	char name[16];
	CHECK_EQ(pthread_setname_np(pthread_self(), "guest"), 0);
	CHECK_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
	printf("name %s, too long %d\n", name, pthread_setname_np(pthread_self(), "0123456789abcdef"));
	return 0;
}
