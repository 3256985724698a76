// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Descriptors that stand for processes: pidfd_open(2), CLONE_PIDFD, poll, signals and
// waitid by them, and descriptors of another process.
#include "process.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/epoll.h>

static int open_pidfd(pid_t pid, unsigned flags) { return syscall(SYS_pidfd_open, pid, flags); }
static int send(int fd, int sig, siginfo_t *si, unsigned flags) { return syscall(SYS_pidfd_send_signal, fd, sig, si, flags); }
static int getfd(int fd, int n, unsigned flags) { return syscall(SYS_pidfd_getfd, fd, n, flags); }

static int pauses(void *arg) {
	(void)arg;
	for (;;)
		pause();
}

static short ready(int fd, int ms) {
	struct pollfd p = {.fd = fd, .events = POLLIN};
	CHECK(poll(&p, 1, ms) >= 0);
	return p.revents & POLLIN;
}

int main(void) {
	SHOW(open_pidfd(0, 0));
	SHOW(open_pidfd(-1, 0));
	SHOW(open_pidfd(1 << 30, 0));
	SHOW(open_pidfd(getpid(), 1));
	SHOW(send(0, SIGUSR1, NULL, 0));
	SHOW(send(-1, SIGUSR1, NULL, 0));
	SHOW(getfd(0, 0, 0));
	int self = open_pidfd(getpid(), 0);
	CHECK(self >= 0 && fcntl(self, F_GETFD) == FD_CLOEXEC);
	SHOW(send(self, 0, NULL, 0));
	SHOW(send(self, 65, NULL, 0));
	SHOW(send(self, 0, BAD, 0));
	SHOW(read(self, &self, 1));
	CHECK_EQ(ready(self, 0), 0);

	// For signals a folder of /proc will do.
	int folder = open("/proc/self", O_RDONLY | O_DIRECTORY), path = open("/proc/self", O_PATH), below = open("/proc/self/fd", O_RDONLY);
	CHECK(folder >= 0 && path >= 0 && below >= 0);
	SHOW(send(folder, 0, NULL, 0));
	SHOW(send(folder, 0, NULL, 1 << 20));
	SHOW(send(folder, 65, NULL, 0));
	SHOW(send(path, 0, NULL, 0));
	SHOW(send(below, 0, NULL, 0));
	SHOW(getfd(folder, 0, 0));

	int p[2];
	CHECK(pipe(p) == 0);
	pid_t pid = start(pauses, NULL);
	int fd = open_pidfd(pid, 0), ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 77};
	CHECK(fd >= 0 && ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
	CHECK_EQ(ready(fd, 5), 0);
	int copy = getfd(fd, p[1], 0);
	CHECK(copy >= 0 && write(copy, "via", 3) == 3);
	char buf[4] = "";
	CHECK(read(p[0], buf, 4) == 3);
	printf("copied descriptor: %s, close-on-exec %d\n", buf, fcntl(copy, F_GETFD));
	SHOW(getfd(fd, 1000, 0));
	SHOW(getfd(fd, p[1], 1));
	siginfo_t si;
	memset(&si, 0, sizeof si);
	SHOW(waitid(P_PIDFD, self, &si, WEXITED | WNOHANG));
	CHECK(send(fd, SIGSTOP, NULL, 0) == 0);
	CHECK(waitid(P_PIDFD, fd, &si, WSTOPPED) == 0 && si.si_pid == pid && si.si_code == CLD_STOPPED);
	CHECK_EQ(ready(fd, 0), 0);
	char name[32];
	sprintf(name, "/proc/%d", pid);
	folder = open(name, O_RDONLY);
	CHECK(folder >= 0 && send(folder, SIGKILL, NULL, 0) == 0);
	CHECK_EQ(ready(fd, 5000), POLLIN);
	CHECK(epoll_wait(ep, &ev, 1, 5000) == 1 && ev.data.u32 == 77);
	SHOW(getfd(fd, p[1], 0));
	SHOW(send(fd, SIGTERM, NULL, 0)); // a zombie takes it
	CHECK(waitid(P_PIDFD, fd, &si, WEXITED) == 0 && si.si_pid == pid);
	printf("code %d status %d\n", si.si_code, si.si_status);
	SHOW(send(fd, SIGTERM, NULL, 0));
	SHOW(send(folder, SIGTERM, NULL, 0));
	CHECK_EQ(ready(fd, 0), POLLIN);
	SHOW(waitid(P_PIDFD, fd, &si, WEXITED));
	SHOW(open_pidfd(pid, 0));

	// From clone, and one that does not block.
	int made = -1;
	fflush(stdout);
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &made, 0, 0);
	if (pid == 0)
		_exit(fcntl(made, F_GETFD) == -1 ? 0 : 1);
	CHECK(made >= 0 && fcntl(made, F_GETFD) == FD_CLOEXEC);
	CHECK(waitid(P_PIDFD, made, &si, WEXITED) == 0);
	printf("clone: %d\n", si.si_status);
	struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&made, .exit_signal = SIGCHLD};
	pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		pauses(NULL);
	CHECK(made >= 0);
	fd = open_pidfd(pid, O_NONBLOCK);
	CHECK(fd >= 0);
	SHOW(waitid(P_PIDFD, fd, &si, WEXITED));
	CHECK(send(made, SIGINT, NULL, 0) == 0 && ready(made, 5000));
	SHOW(waitid(P_PIDFD, fd, &si, WEXITED));
	printf("clone3: code %d status %d\n", si.si_code, si.si_status);
}
