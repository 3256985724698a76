// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Sockets between processes: a pair across fork, credentials that are the child's own,
// a descriptor passed to a process that did not have it, the end of data when a process
// ends, a server that forks.
#include "sock.h"
#include <sys/wait.h>

static void ended(pid_t child, int want) {
	int status;
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_EQ(WEXITSTATUS(status), want);
}

int main(void) {
	scratch();
	int e[2], p[2];
	char buf[64] = "";
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, e) == 0);
	CHECK(set(e[0], SOL_SOCKET, SO_PASSCRED, 1) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		close(e[0]);
		CHECK(pipe(p) == 0);
		char control[CMSG_SPACE(4)] = {0};
		struct iovec v = {"child", 5};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(4);
		memcpy(CMSG_DATA(h), &p[0], 4);
		CHECK(sendmsg(e[1], &m, 0) == 5);
		CHECK(write(p[1], "by the child", 12) == 12);
		CHECK(recv(e[1], buf, 64, 0) == 6);
		_exit(7);
	}
	close(e[1]);
	char control[256];
	struct iovec v = {buf, 64};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	CHECK(recvmsg(e[0], &m, 0) == 5);
	int got = -1;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		struct ucred u;
		if (h->cmsg_type == SCM_RIGHTS) {
			memcpy(&got, CMSG_DATA(h), 4);
			continue;
		}
		memcpy(&u, CMSG_DATA(h), sizeof u);
		printf("from the child: %d\n", u.pid == child);
	}
	CHECK(got >= 0);
	memset(buf, 0, sizeof buf);
	CHECK(read(got, buf, 12) == 12);
	puts(buf);
	CHECK(send(e[0], "answer", 6, 0) == 6);
	ended(child, 7);
	SHOW(recv(e[0], buf, 64, 0));
	SHOW(read(got, buf, 64));

	// A server that forks for each client.
	struct addr at;
	int l = listener("inet", SOCK_STREAM, 5, &at);
	pid_t server = fork();
	CHECK(server >= 0);
	if (server == 0) {
		for (int i = 0; i < 3; i++) {
			int c = accept(l, NULL, NULL);
			CHECK(c >= 0);
			pid_t worker = fork();
			CHECK(worker >= 0);
			if (worker == 0) {
				ssize_t n = recv(c, buf, 64, 0);
				CHECK(n > 0 && send(c, buf, n, 0) == n);
				_exit(0);
			}
			close(c);
			ended(worker, 0);
		}
		_exit(9);
	}
	close(l);
	for (int i = 0; i < 3; i++) {
		int s = dial(&at, SOCK_STREAM);
		CHECK(send(s, "ping", 4, 0) == 4);
		CHECK(recv(s, buf, 64, MSG_WAITALL) == 4);
		CHECK(recv(s, buf, 64, 0) == 0);
		close(s);
	}
	ended(server, 9);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_ERR(connect(s, &at.sa, at.len), ECONNREFUSED);

	// Who connected, as the other end sees it.
	l = listener("unix", SOCK_STREAM, 5, &at);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		s = dial(&at, SOCK_STREAM);
		_exit(recv(s, buf, 1, 0));
	}
	int c = accept(l, NULL, NULL);
	struct ucred u;
	socklen_t n = sizeof u;
	CHECK(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &u, &n) == 0);
	printf("connected by the child: %d\n", u.pid == child);
	CHECK(send(c, "x", 1, 0) == 1);
	ended(child, 1);
	return 0;
}
