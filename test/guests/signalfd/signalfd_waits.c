// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// A signalfd with a signal that waits, and one that an epoll set watches, while the
// program waits for its event.
#include "guest.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>

int main(void) {
	char buf[16];
	struct signalfd_siginfo s;
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigaddset(&m, SIGUSR2);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &m, NULL), 0);
	int fd = signalfd(-1, &m, SFD_NONBLOCK), ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	CHECK_EQ(raise(SIGUSR2), 0);

	CHECK_EQ(read(0, buf, sizeof buf), 5);

	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 1);
	CHECK_EQ(read(fd, &s, sizeof s), sizeof s);
	printf("%d\n", s.ssi_signo);
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 0);
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	CHECK_EQ(epoll_wait(ep, &e, 1, 1000), 1);
	CHECK_EQ(read(fd, &s, sizeof s), sizeof s);
	printf("%d\n", s.ssi_signo);
	return 0;
}
