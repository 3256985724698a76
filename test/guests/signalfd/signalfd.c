// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// signalfd(2): signals of kill, sigqueue, threads and timers as records; several in
// one read; masks that change; poll and epoll; a read that waits; errors.
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

static sigset_t set(int a, int b) {
	sigset_t s;
	sigemptyset(&s);
	if (a)
		sigaddset(&s, a);
	if (b)
		sigaddset(&s, b);
	return s;
}

static void show(const struct signalfd_siginfo *s) {
	printf("signal %u code %d errno %d", s->ssi_signo, s->ssi_code, s->ssi_errno);
	if (s->ssi_code != SI_TIMER)
		printf(" mine %d", s->ssi_pid == (uint32_t)getpid() && s->ssi_uid == getuid());
	printf(" value %d %llx tid %d overrun %d\n", s->ssi_int, (unsigned long long)s->ssi_ptr, s->ssi_code == SI_TIMER ? 0 : (int)s->ssi_tid, s->ssi_overrun);
}

static int revents(int fd) {
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void *sender(void *arg) {
	sleep_ms(5);
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	return arg;
}

static void nothing(int sig, siginfo_t *si, void *uc) {
	(void)sig, (void)si, (void)uc;
}

static void *poker(void *arg) {
	sleep_ms(5);
	CHECK_EQ(pthread_kill(*(pthread_t *)arg, SIGHUP), 0);
	return arg;
}

int main(void) {
	struct signalfd_siginfo s[4];
	sigset_t m = set(SIGUSR1, SIGUSR2);
	sigaddset(&m, SIGRTMIN);
	sigaddset(&m, SIGALRM);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &m, NULL), 0);
	int fd = signalfd(-1, &m, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	printf("flags %x, ready %x\n", fcntl(fd, F_GETFL), revents(fd));
	CHECK_ERR(read(fd, s, sizeof s), EAGAIN);

	CHECK_EQ(kill(getpid(), SIGUSR2), 0);
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = -5}), 0);
	CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_ptr = (void *)0x123456789}), 0);
	printf("ready %x\n", revents(fd));
	CHECK_EQ(read(fd, s, 2 * sizeof *s + 5), 2 * sizeof *s);
	show(&s[0]);
	show(&s[1]);
	CHECK_EQ(read(fd, s, sizeof s), 2 * sizeof *s);
	show(&s[0]);
	show(&s[1]);
	CHECK_ERR(read(fd, s, sizeof *s - 1), EINVAL);

	// Of a thread, of a timer.
	CHECK_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	CHECK_EQ(read(fd, s, sizeof s), sizeof *s);
	show(&s[0]);
	timer_t t;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_int = 9};
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
	struct itimerspec it = {.it_value.tv_nsec = 1000000};
	CHECK_EQ(timer_settime(t, 0, &it, NULL), 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 5000), 1);
	CHECK_EQ(read(fd, s, sizeof s), sizeof *s);
	show(&s[0]);

	// Another mask; what is not in it stays pending.
	m = set(SIGUSR2, 0);
	CHECK_EQ(signalfd(fd, &m, 0), fd);
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	printf("ready %x\n", revents(fd));
	CHECK_ERR(read(fd, s, sizeof s), EAGAIN);
	m = set(SIGUSR1, SIGKILL);
	CHECK_EQ(signalfd(fd, &m, 0), fd);
	CHECK_EQ(read(fd, s, sizeof s), sizeof *s);

	// epoll, and a read that waits.
	int ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 3};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	pthread_t th;
	CHECK_EQ(pthread_create(&th, NULL, sender, NULL), 0);
	CHECK_EQ(epoll_wait(ep, &e, 1, 5000), 1);
	CHECK_EQ(e.data.u32, 3);
	CHECK_EQ(pthread_join(th, NULL), 0);
	CHECK_EQ(read(fd, s, sizeof s), sizeof *s);
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 0);
	CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
	CHECK_EQ(pthread_create(&th, NULL, sender, NULL), 0);
	CHECK_EQ(read(fd, s, sizeof s), sizeof *s);
	show(&s[0]);
	CHECK_EQ(pthread_join(th, NULL), 0);
	on(SIGHUP, nothing, 0);
	pthread_t self = pthread_self();
	CHECK_EQ(pthread_create(&th, NULL, poker, &self), 0);
	CHECK_ERR(read(fd, s, sizeof s), EINTR);
	CHECK_EQ(pthread_join(th, NULL), 0);

	// Errors.
	CHECK_ERR(write(fd, s, sizeof *s), EINVAL);
	CHECK_ERR(syscall(SYS_signalfd4, -1, &m, 4, 0), EINVAL);
	CHECK_ERR(syscall(SYS_signalfd4, -1, &m, 8, 1), EINVAL);
	CHECK_ERR(syscall(SYS_signalfd4, -1, 8, 8, 0), EFAULT);
	CHECK_ERR(syscall(SYS_signalfd4, 99, &m, 8, 0), EBADF);
	CHECK_ERR(syscall(SYS_signalfd4, 0, &m, 8, 0), EINVAL);
	CHECK_EQ(syscall(SYS_signalfd, fd, &m, 8), fd);
	char name[64], to[64];
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(name, to, sizeof to);
	printf("%.*s\n", (int)n, to);
	return 0;
}
