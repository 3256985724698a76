// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// How connections end, and what each end sees of it: by shutdown of one half or of
// both, by close, by close with data that was not read, by SO_LINGER of 0. argv[1] is
// the kind of connection. Everything is printed: the native run says what is right.
#include "sock.h"

static char buf[64];
static volatile int pipes;
static void on_pipe(int sig, siginfo_t *info, void *ctx) {
	(void)sig, (void)info, (void)ctx;
	pipes++;
}

static void look(const char *what, int fd) { printf("%s: conditions %#x error %d\n", what, conditions(fd), get(fd, SOL_SOCKET, SO_ERROR)); }

static void sends(const char *what, int fd) {
	pipes = 0;
	ssize_t n = send(fd, "x", 1, 0);
	int err = errno;
	printf("%s: send %zd errno %d, %d SIGPIPE", what, n, n < 0 ? err : 0, pipes);
	n = send(fd, "x", 1, MSG_NOSIGNAL);
	err = errno;
	printf("; without signal %zd errno %d, %d SIGPIPE\n", n, n < 0 ? err : 0, pipes);
}

int main(int argc, char **argv) {
	CHECK(argc == 2);
	scratch();
	on(SIGPIPE, on_pipe, 0);
	const char *name = argv[1];
	int e[2];

	connected(name, SOCK_STREAM, e);
	look("connected", e[0]);
	CHECK(send(e[0], "abc", 3, 0) == 3 && shutdown(e[0], SHUT_WR) == 0);
	until(e[1], POLLRDHUP);
	look("writer closed its half", e[0]);
	look("reader of it, data left", e[1]);
	SHOW(recv(e[1], buf, 2, 0));
	SHOW(recv(e[1], buf, 2, 0));
	SHOW(recv(e[1], buf, 2, 0));
	SHOW(recv(e[1], buf, 2, 0));
	sends("half that is closed", e[0]);
	SHOW(send(e[1], "de", 2, 0));
	SHOW(recv(e[0], buf, 9, 0));
	SHOW(shutdown(e[0], SHUT_WR));
	SHOW(shutdown(e[1], SHUT_WR));
	until(e[0], POLLHUP);
	look("both halves closed", e[0]);
	look("both halves closed, other end", e[1]);
	SHOW(recv(e[0], buf, 9, 0));
	SHOW(shutdown(e[0], SHUT_RD) == 0 || errno == ENOTCONN);
	close(e[0]), close(e[1]);

	connected(name, SOCK_STREAM, e);
	CHECK(send(e[0], "abc", 3, 0) == 3 && close(e[0]) == 0);
	until(e[1], POLLRDHUP);
	look("closed, data left", e[1]);
	SHOW(recv(e[1], buf, 9, 0));
	SHOW(recv(e[1], buf, 9, 0));
	look("closed, all read", e[1]);
	pipes = 0;
	errno = 0;
	SHOW(send(e[1], "x", 1, 0));
	until(e[1], POLLHUP);
	look("closed, written to", e[1]);
	sends("closed", e[1]);
	SHOW(recv(e[1], buf, 9, 0));
	close(e[1]);

	connected(name, SOCK_STREAM, e);
	CHECK(send(e[0], "abc", 3, 0) == 3 && send(e[1], "def", 3, 0) == 3);
	until(e[1], POLLIN);
	CHECK(close(e[1]) == 0);
	until(e[0], POLLERR);
	printf("closed with unread data: conditions %#x\n", conditions(e[0]));
	SHOW(recv(e[0], buf, 9, 0));
	SHOW(recv(e[0], buf, 9, 0));
	SHOW(recv(e[0], buf, 9, 0));
	sends("broken off", e[0]);
	SHOW(getpeername(e[0], (struct sockaddr *)buf, &(socklen_t){sizeof buf}) == 0 || errno == ENOTCONN);
	close(e[0]);

	connected(name, SOCK_STREAM, e);
	CHECK(send(e[0], "abc", 3, 0) == 3 && send(e[1], "def", 3, 0) == 3);
	until(e[1], POLLIN);
	CHECK(close(e[1]) == 0);
	until(e[0], POLLERR);
	sends("broken off, not asked yet", e[0]);
	close(e[0]);

	connected(name, SOCK_STREAM, e);
	struct linger l = {1, 0};
	CHECK(setsockopt(e[1], SOL_SOCKET, SO_LINGER, &l, sizeof l) == 0 && close(e[1]) == 0);
	until(e[0], POLLRDHUP);
	look("closed with a linger time of 0", e[0]);
	SHOW(recv(e[0], buf, 9, 0));
	close(e[0]);

	connected(name, SOCK_STREAM, e);
	CHECK(shutdown(e[0], SHUT_RD) == 0);
	look("reads no more", e[0]);
	look("other end of one that reads no more", e[1]);
	SHOW(recv(e[0], buf, 9, 0));
	if (strcmp(name, "unix") == 0 || strcmp(name, "pair") == 0)
		sends("other end of one that reads no more", e[1]);
	CHECK(shutdown(e[0], SHUT_RDWR) == 0);
	until(e[1], POLLRDHUP);
	look("both at once", e[0]);
	sends("both at once", e[0]);
	SHOW(shutdown(e[0], 3));
	SHOW(shutdown(e[0], -1));
	close(e[0]), close(e[1]);

	// The usual death of a program whose reader is gone.
	connected(name, SOCK_STREAM, e);
	signal(SIGPIPE, SIG_DFL);
	close(e[0]);
	for (int i = 0; i < 100; i++)
		if (write(e[1], "x", 1) != 1)
			break;
	puts("not reached");
	return 0;
}
