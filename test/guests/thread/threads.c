// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: pthreads as programs use them: 64 at once with results, 200 one after
// the other, mutexes, condition variables, barriers, read-write locks, once,
// thread-local storage, semaphores, detached threads.
#include "guest.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t sem;
static _Thread_local long tls = 40;
static long counter, phases[10], onces, queue[8], head, tail_;
static atomic_long destroyed, detached;

static void *square(void *arg) {
	long n = (long)arg;
	return (void *)(n * n);
}
static void first(void) { onces++; }
static void destroy(void *p) { destroyed += (long)p; }

static void *work(void *arg) {
	long id = (long)arg;
	pthread_once(&once, first);
	tls += id;
	pthread_setspecific(key, (void *)(id + 1));
	for (int i = 0; i < 300; i++) {
		pthread_mutex_lock(&mu);
		counter++;
		pthread_mutex_unlock(&mu);
	}
	for (int p = 0; p < 10; p++) {
		pthread_rwlock_wrlock(&rw);
		phases[p]++;
		pthread_rwlock_unlock(&rw);
		pthread_barrier_wait(&barrier);
		pthread_rwlock_rdlock(&rw);
		CHECK_EQ(phases[p], 8);
		pthread_rwlock_unlock(&rw);
	}
	CHECK_EQ(tls, 40 + id);
	CHECK((long)pthread_getspecific(key) == id + 1);
	return NULL;
}

static void *producer(void *arg) {
	(void)arg;
	for (int i = 1; i <= 500; i++) {
		pthread_mutex_lock(&mu);
		while (head - tail_ == 8)
			pthread_cond_wait(&cond, &mu);
		queue[head++ % 8] = i;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mu);
	}
	return NULL;
}

static void *poster(void *arg) {
	for (int i = 0; i < 50; i++)
		sem_post(&sem);
	return arg;
}
static void *lone(void *arg) {
	(void)arg;
	detached++;
	return NULL;
}

int main(void) {
	pthread_t t[64];
	long sum = 0;
	for (long i = 0; i < 64; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, square, (void *)i), 0);
	for (int i = 0; i < 64; i++) {
		void *r;
		CHECK_EQ(pthread_join(t[i], &r), 0);
		sum += (long)r;
	}
	printf("64 at once: %ld\n", sum);

	sum = 0;
	for (long i = 0; i < 200; i++) {
		void *r;
		CHECK_EQ(pthread_create(&t[0], NULL, square, (void *)i), 0);
		CHECK_EQ(pthread_join(t[0], &r), 0);
		sum += (long)r;
	}
	printf("200 in turn: %ld\n", sum);

	pthread_barrier_init(&barrier, NULL, 8);
	pthread_key_create(&key, destroy);
	for (long i = 0; i < 8; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, work, (void *)i), 0);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
	printf("counter %ld once %ld destroyed %ld\n", counter, onces, (long)destroyed);
	CHECK_EQ(tls, 40);

	CHECK_EQ(pthread_create(&t[0], NULL, producer, NULL), 0);
	sum = 0;
	for (int i = 1; i <= 500; i++) {
		pthread_mutex_lock(&mu);
		while (head == tail_)
			pthread_cond_wait(&cond, &mu);
		CHECK_EQ(queue[tail_ % 8], i);
		sum += queue[tail_++ % 8];
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mu);
	}
	pthread_join(t[0], NULL);
	printf("queue %ld\n", sum);

	sem_init(&sem, 0, 0);
	CHECK_ERR(sem_trywait(&sem), EAGAIN);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, poster, NULL);
	for (int i = 0; i < 200; i++)
		CHECK_EQ(sem_wait(&sem), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 2000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	CHECK_ERR(sem_timedwait(&sem, &ts), ETIMEDOUT);
	pthread_mutex_lock(&mu);
	CHECK_EQ(pthread_cond_timedwait(&cond, &mu, &ts), ETIMEDOUT);
	pthread_mutex_unlock(&mu);

	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(pthread_create(&t[0], &attr, lone, NULL), 0);
	while (detached < 20)
		sched_yield();
	printf("threads ok\n");
	return 0;
}
