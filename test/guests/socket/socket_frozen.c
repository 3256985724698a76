// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Sockets in a snapshot: buffers, connections that wait to be accepted, a queue that is
// full, descriptors on their way, ends of data, errors, epoll sets, and threads that wait
// in accept, recv, connect, send, recvmmsg and epoll_wait, all from before the program
// reads its event.
#include "sock.h"

static struct addr at, full;
static int ready;

static void *accepts(void *arg) {
	int l = (int)(intptr_t)arg;
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	int c = accept(l, NULL, NULL);
	CHECK(c >= 0);
	char b[16] = "";
	CHECK(recv(c, b, 5, MSG_WAITALL) == 5);
	printf("accepted, and got %s\n", b);
	close(c);
	return NULL;
}

static void *reads(void *arg) {
	int s = (int)(intptr_t)arg;
	char b[16] = "";
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	CHECK(recv(s, b, 6, MSG_WAITALL) == 6); // half of it is there already
	printf("read %s\n", b);
	return NULL;
}

static void *connects(void *arg) {
	(void)arg;
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	int s = dial(&full, SOCK_STREAM);
	printf("connected at last\n");
	return (void *)(intptr_t)s;
}

static char big[3 << 20];
static void *writes(void *arg) {
	int s = (int)(intptr_t)arg;
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	CHECK_EQ(write(s, big, sizeof big), sizeof big);
	return NULL;
}

static void *polls(void *arg) {
	int ep = (int)(intptr_t)arg;
	struct epoll_event e;
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	CHECK_EQ(epoll_wait(ep, &e, 1, -1), 1);
	printf("epoll says %#x of %d\n", e.events, e.data.u32);
	return NULL;
}

static void *several(void *arg) {
	int s = (int)(intptr_t)arg;
	char b[3][8] = {{0}};
	struct iovec v[3] = {{b[0], 7}, {b[1], 7}, {b[2], 7}};
	struct mmsghdr m[3] = {{.msg_hdr = {.msg_iov = &v[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &v[1], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &v[2], .msg_iovlen = 1}}};
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	CHECK_EQ(recvmmsg(s, m, 3, 0, NULL), 3);
	printf("messages %s %s %s\n", b[0], b[1], b[2]);
	return NULL;
}

static void start(pthread_t *t, void *(*f)(void *), int fd) {
	int before = __atomic_load_n(&ready, __ATOMIC_SEQ_CST);
	CHECK(pthread_create(t, NULL, f, (void *)(intptr_t)fd) == 0);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) == before)
		sched_yield();
}

int main(void) {
	scratch();
	int l = listener("inet", SOCK_STREAM, 5, &at), lf = listener("unix", SOCK_STREAM, 0, &full);
	int a[2], b[2], c[2], d[2], e[2], f[2], g[2], lw = listener("inet6", SOCK_STREAM, 5, &(struct addr){0});
	struct addr wa = name_of(lw);
	connected("inet", SOCK_STREAM, a);
	connected("pair", SOCK_STREAM, b);
	connected("pair", SOCK_DGRAM, c);
	connected("inet6", SOCK_STREAM, d);
	connected("inet", SOCK_STREAM, e);
	connected("pair", SOCK_STREAM, f);
	connected("pair", SOCK_DGRAM, g);

	// Data, an end of data, a reset, and messages with descriptors.
	CHECK(send(a[0], "kept data", 9, 0) == 9 && shutdown(a[0], SHUT_WR) == 0);
	struct linger no = {1, 0};
	CHECK(setsockopt(e[0], SOL_SOCKET, SO_LINGER, &no, sizeof no) == 0 && close(e[0]) == 0);
	CHECK(send(c[0], "one", 3, 0) == 3 && send(c[0], "", 0, 0) == 0 && send(c[0], "three", 5, 0) == 5);
	int p[2];
	CHECK(pipe(p) == 0);
	char control[CMSG_SPACE(8)] = {0};
	struct iovec v = {"fds", 3};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(8);
	memcpy(CMSG_DATA(h), (int[2]){p[1], b[0]}, 8);
	CHECK(sendmsg(b[0], &m, 0) == 3 && close(p[1]) == 0);
	// Waits to be accepted, with data.
	int early = dial(&wa, SOCK_STREAM), u = dial(&full, SOCK_STREAM);
	CHECK(send(early, "early", 5, 0) == 5);
	CHECK(set(a[1], SOL_SOCKET, SO_RCVBUF, 30000) == 0 && set(a[1], IPPROTO_TCP, TCP_NODELAY, 1) == 0);
	CHECK(send(d[0], "123", 3, 0) == 3);
	int ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u32 = 77};
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, d[0], &ev) == 0);
	CHECK(send(g[0], "m1", 2, 0) == 2);

	pthread_t t[6];
	start(&t[0], accepts, l);
	start(&t[1], reads, d[1]);
	start(&t[2], connects, -1);
	start(&t[3], writes, f[0]);
	start(&t[4], polls, ep);
	start(&t[5], several, g[1]);

	char x[64] = "";
	ssize_t n = read(0, x, sizeof x);
	printf("event of %zd bytes\n", n);
	SHOW(recv(a[1], x, 64, 0));
	SHOW(recv(a[1], x, 64, 0));
	SHOW(get(a[1], SOL_SOCKET, SO_RCVBUF));
	SHOW(recv(e[1], x, 64, 0));
	SHOW(recv(c[1], x, 64, 0));
	SHOW(recv(c[1], x, 64, 0));
	SHOW(recv(c[1], x, 64, 0));
	SHOW(recv(c[1], x, 64, MSG_DONTWAIT));
	memset(control, 0, sizeof control);
	v.iov_base = x;
	m.msg_controllen = sizeof control;
	SHOW(recvmsg(b[1], &m, 0));
	int fds[2];
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), 8);
	CHECK(write(fds[0], "through", 7) == 7 && read(p[0], x, 64) == 7);
	CHECK(send(fds[1], "itself", 6, 0) == 6 && recv(b[1], x, 64, 0) == 6);
	int w = accept(lw, NULL, NULL);
	SHOW(recv(w, x, 64, 0));

	int s = dial(&at, SOCK_STREAM);
	CHECK(send(s, "hello", 5, 0) == 5);
	CHECK(pthread_join(t[0], NULL) == 0);
	CHECK(send(d[0], "456", 3, 0) == 3);
	CHECK(pthread_join(t[1], NULL) == 0);
	int first = accept(lf, NULL, NULL);
	void *last;
	CHECK(pthread_join(t[2], &last) == 0);
	int second = accept(lf, NULL, NULL);
	CHECK(send(u, "u", 1, 0) == 1 && recv(first, x, 1, 0) == 1 && send((int)(intptr_t)last, "v", 1, 0) == 1 && recv(second, x, 1, 0) == 1);
	size_t total = 0;
	while (total < sizeof big) {
		static char sink[70000];
		ssize_t k = recv(f[1], sink, sizeof sink, 0);
		CHECK(k > 0);
		total += k;
	}
	printf("%zu bytes\n", total);
	CHECK(pthread_join(t[3], NULL) == 0);
	CHECK(send(d[1], "!", 1, 0) == 1);
	CHECK(pthread_join(t[4], NULL) == 0);
	CHECK(send(g[0], "m2", 2, 0) == 2 && send(g[0], "m3", 2, 0) == 2);
	CHECK(pthread_join(t[5], NULL) == 0);
	return 0;
}
