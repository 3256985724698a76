// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// A program that has children when its event comes: one that waits in a pipe, one that
// is stopped, one that has ended, one that waits for a lock in shared memory, one made by
// vfork that waits, and a grandchild. All of them are in every clone, as they were.
#include "process.h"
#include <poll.h>
#include <pthread.h>

static struct shared {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int go, count;
	volatile int hits;
} *s;

static void word(int fd, char *b, size_t n) {
	ssize_t got = read(fd, b, n - 1);
	CHECK(got >= 0);
	b[got] = 0;
}

static void hit(int sig, siginfo_t *si, void *uc) { (void)sig, (void)si, (void)uc, s->hits++; }

int main(void) {
	s = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	CHECK(pthread_mutexattr_init(&ma) == 0 && pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_condattr_init(&ca) == 0 && pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutex_init(&s->lock, &ma) == 0 && pthread_cond_init(&s->changed, &ca) == 0);
	int work[2], answers[2];
	CHECK(pipe(work) == 0 && pipe(answers) == 0);
	static char data[65536];
	memset(data, 'd', sizeof data);

	pid_t worker = fork(); // waits in a pipe, with a child of its own
	if (worker == 0) {
		close(work[1]);
		pid_t grand = fork();
		if (grand == 0) {
			on(SIGUSR1, hit, 0);
			s->hits = 1;
			for (;;)
				pause();
		}
		while (s->hits == 0)
			sleep_ms(1);
		char b[100];
		data[5] = 'w';
		while (word(work[0], b, sizeof b), b[0]) {
			data[10]++;
			char out[200];
			int n = sprintf(out, "%s by the worker, %c%c%c", b, data[0], data[5], data[10]);
			CHECK(write(answers[1], out, n) == n);
			int before = s->hits;
			CHECK(kill(grand, SIGUSR1) == 0);
			while (s->hits == before)
				sleep_ms(1);
		}
		CHECK(kill(grand, SIGTERM) == 0);
		int st = wait_for(grand, 0);
		_exit(WIFSIGNALED(st) ? 21 : 1);
	}
	pid_t stopped = fork();
	if (stopped == 0) {
		close(work[1]);
		raise(SIGSTOP);
		_exit(22);
	}
	pid_t zombie = fork();
	if (zombie == 0)
		_exit(23);
	pid_t locks = fork();
	if (locks == 0) {
		close(work[1]);
		CHECK(pthread_mutex_lock(&s->lock) == 0);
		while (!s->go)
			CHECK(pthread_cond_wait(&s->changed, &s->lock) == 0);
		s->count++;
		CHECK(pthread_mutex_unlock(&s->lock) == 0);
		_exit(24);
	}
	int held[2];
	CHECK(pipe(held) == 0);
	pid_t maker = fork(); // waits for its child, made by vfork, to end
	if (maker == 0) {
		close(work[1]);
		close(held[1]);
		volatile int got = 0;
		pid_t pid = vfork();
		if (pid == 0) {
			char c;
			got = read(held[0], &c, 1);
			_exit(5);
		}
		_exit(20 + WEXITSTATUS(wait_for(pid, 0)) + got);
	}
	close(work[0]);
	siginfo_t si;
	CHECK(waitid(P_PID, stopped, &si, WSTOPPED) == 0);
	CHECK(waitid(P_PID, zombie, &si, WEXITED | WNOWAIT) == 0);
	int pidfd = syscall(SYS_pidfd_open, worker, 0);
	CHECK(pidfd >= 0);

	char event[100], b[200];
	word(0, event, sizeof event); // here the machine is frozen
	data[5] = 'p';
	for (int i = 0; i < 3; i++) {
		int n = sprintf(b, "%s %d", event, i);
		CHECK(write(work[1], b, n) == n);
		word(answers[0], b, sizeof b);
		printf("%s\n", b);
	}
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 0), 0);
	close(work[1]);
	CHECK_EQ(poll(&p, 1, 20000), 1);
	show_status("worker", wait_for(worker, 0));
	printf("grandchild hit: %d\n", s->hits);
	CHECK(kill(stopped, SIGCONT) == 0);
	show_status("stopped", wait_for(stopped, 0));
	show_status("zombie", wait_for(zombie, 0));
	CHECK(pthread_mutex_lock(&s->lock) == 0);
	s->go = 1;
	CHECK(pthread_cond_broadcast(&s->changed) == 0 && pthread_mutex_unlock(&s->lock) == 0);
	show_status("locks", wait_for(locks, 0));
	printf("count %d\n", s->count);
	CHECK(write(held[1], "x", 1) == 1);
	show_status("maker", wait_for(maker, 0));
	CHECK_ERR(wait(NULL), ECHILD);
	// A child of the event itself.
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		data[5] = 'n';
		_exit(25);
	}
	show_status("new", wait_for(pid, 0));
	printf("%c%c\n", data[5], data[10]);
}
