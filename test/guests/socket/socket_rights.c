// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Descriptors and credentials in messages: SCM_RIGHTS with several, with
// MSG_CMSG_CLOEXEC, with too little room, peeked at, of sockets that are sent over
// themselves; SCM_CREDENTIALS, SO_PASSCRED, SO_PEERCRED. argv[1] is the type.
#include "sock.h"

static int e[2];

// pass sends bytes with descriptors.
static ssize_t pass(int fd, const char *text, const int *fds, int n) {
	char control[1200] = {0};
	struct iovec v = {(void *)text, strlen(text)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	if (n > 0) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	return sendmsg(fd, &m, 0);
}

// take receives a message into room bytes of control data, and says what it was.
static int take(int fd, size_t size, size_t room, int flags, int *fds) {
	char control[1200], buf[64];
	memset(control, 0x55, sizeof control);
	struct iovec v = {buf, size};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
	if (room == 0)
		m.msg_control = NULL;
	ssize_t n = recvmsg(fd, &m, flags);
	if (n < 0) {
		printf("errno %d\n", errno);
		return 0;
	}
	printf("%zd bytes %.*s flags %#x control %zu:", n, (int)n, buf, m.msg_flags, m.msg_controllen);
	int count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		printf(" type %d length %zu", c->cmsg_type, (size_t)c->cmsg_len);
		if (c->cmsg_type == SCM_RIGHTS) {
			count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(c), count * sizeof(int));
			for (int i = 0; i < count; i++)
				printf(" fd flags %d", fcntl(fds[i], F_GETFD));
		} else {
			struct ucred u;
			memcpy(&u, CMSG_DATA(c), sizeof u);
			printf(" %s", u.pid == getpid() && u.uid == getuid() && u.gid == getgid() ? "mine" : "not mine");
		}
	}
	puts("");
	return count;
}

static int lowest(void) {
	int n = dup(0);
	close(n);
	return n;
}

int main(int argc, char **argv) {
	CHECK(argc == 2);
	int type = strcmp(argv[1], "stream") == 0 ? SOCK_STREAM : strcmp(argv[1], "dgram") == 0 ? SOCK_DGRAM : SOCK_SEQPACKET;
	CHECK(socketpair(AF_UNIX, type, 0, e) == 0);
	int p[2], got[300];
	char c;
	CHECK(pipe(p) == 0);
	int first = lowest();

	SHOW(pass(e[0], "one", &p[1], 1));
	CHECK(close(p[1]) == 0); // it is on its way: the pipe has a writer still
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	SHOW(read(p[0], &c, 1));
	CHECK_EQ(take(e[1], 64, 256, 0, got), 1);
	CHECK(write(got[0], "z", 1) == 1 && read(p[0], &c, 1) == 1 && c == 'z');
	CHECK(close(got[0]) == 0);
	SHOW(read(p[0], &c, 1));

	CHECK(pipe(p) == 0);
	int three[3] = {p[0], p[1], e[0]};
	CHECK(pass(e[0], "three", three, 3) == 5);
	CHECK_EQ(take(e[1], 64, 256, MSG_CMSG_CLOEXEC, got), 3);
	CHECK(write(got[1], "y", 1) == 1 && read(p[0], &c, 1) == 1 && c == 'y');
	for (int i = 0; i < 3; i++)
		close(got[i]);

	// Peeked at, they are there twice.
	CHECK(pass(e[0], "peek", three, 2) == 4);
	CHECK_EQ(take(e[1], 64, 256, MSG_PEEK, got), 2);
	close(got[0]), close(got[1]);
	CHECK_EQ(take(e[1], 64, 256, 0, got), 2);
	close(got[0]), close(got[1]);

	// Too little room: for one of them, for none, for not even a header.
	size_t rooms[] = {CMSG_SPACE(4), CMSG_LEN(4), CMSG_LEN(0), 8, 0};
	for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
		CHECK(pass(e[0], "room", three, 3) == 4);
		int n = take(e[1], 64, rooms[i], 0, got);
		while (n > 0)
			close(got[--n]);
	}
	// read(2) drops them.
	CHECK(pass(e[0], "drop", three, 3) == 4);
	char buf[64];
	SHOW(read(e[1], buf, 64));
	SHOW(lowest() == first || lowest() == first + 1);

	// On a stream they stay with their bytes.
	CHECK(pass(e[0], "ab", NULL, 0) == 2 && pass(e[0], "cd", three, 1) == 2 && pass(e[0], "ef", NULL, 0) == 2);
	for (int i = 0; i < 3 && ioctl(e[1], FIONREAD, &i) == 0 && i > 0; i = 0) {
		int n = take(e[1], 64, 256, MSG_DONTWAIT, got);
		while (n > 0)
			close(got[--n]);
	}

	// Errors.
	int bad[2] = {p[0], 999};
	SHOW(pass(e[0], "bad", bad, 2));
	int many[260];
	for (int i = 0; i < 260; i++)
		many[i] = p[0];
	SHOW(pass(e[0], "many", many, 254));
	SHOW(pass(e[0], "most", many, 253));
	int n = take(e[1], 64, sizeof buf + 1100, 0, got);
	while (n > 0)
		close(got[--n]);
	char control[64] = {0};
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(4)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = 3;
	SHOW(sendmsg(e[0], &m, 0));
	h->cmsg_len = CMSG_LEN(40);
	SHOW(sendmsg(e[0], &m, 0));
	h->cmsg_len = CMSG_LEN(4), h->cmsg_type = 77;
	SHOW(sendmsg(e[0], &m, 0));
	m.msg_controllen = 1 << 24;
	SHOW(sendmsg(e[0], &m, 0));

	// A socket within itself, and two in each other: nobody can receive them.
	for (int i = 0; i < 400; i++) {
		int a[2], b[2];
		CHECK(socketpair(AF_UNIX, type, 0, a) == 0 && socketpair(AF_UNIX, type, 0, b) == 0);
		CHECK(pass(a[0], "x", &a[1], 1) == 1);
		CHECK(pass(a[0], "x", &b[1], 1) == 1 && pass(b[0], "x", &a[1], 1) == 1);
		close(a[0]), close(a[1]), close(b[0]), close(b[1]);
	}

	// Credentials.
	drop_privileges();
	CHECK(set(e[1], SOL_SOCKET, SO_PASSCRED, 1) == 0);
	CHECK(pass(e[0], "cred", NULL, 0) == 4);
	take(e[1], 64, 256, 0, got);
	CHECK(pass(e[0], "both", three, 1) == 4);
	CHECK(take(e[1], 64, 256, 0, got) == 1 && close(got[0]) == 0);
	CHECK(pass(e[0], "none", NULL, 0) == 4);
	take(e[1], 64, 0, 0, got);
	struct ucred u = {getpid(), getuid(), getgid()};
	char cc[CMSG_SPACE(sizeof u)] = {0};
	m = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1, .msg_control = cc, .msg_controllen = sizeof cc};
	h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_CREDENTIALS, h->cmsg_len = CMSG_LEN(sizeof u);
	memcpy(CMSG_DATA(h), &u, sizeof u);
	SHOW(sendmsg(e[0], &m, 0));
	take(e[1], 64, 256, 0, got);
	u.pid = 1;
	memcpy(CMSG_DATA(h), &u, sizeof u);
	SHOW(sendmsg(e[0], &m, 0));
	u.pid = getpid(), u.uid = 4321;
	memcpy(CMSG_DATA(h), &u, sizeof u);
	SHOW(sendmsg(e[0], &m, 0));
	socklen_t len = sizeof u;
	CHECK(getsockopt(e[0], SOL_SOCKET, SO_PEERCRED, &u, &len) == 0);
	printf("peer %s, %u bytes\n", u.pid == getpid() && u.uid == getuid() ? "mine" : "not mine", len);
	int s = socket(AF_UNIX, type, 0);
	CHECK(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0);
	printf("nobody: %d %d %d\n", u.pid, (int)u.uid, (int)u.gid);
	return 0;
}
