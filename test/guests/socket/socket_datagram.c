// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Datagrams: boundaries, names of senders, truncation, peeking, connected and not,
// empty ones, several with one call, a receiver that is not there. argv[1] is the family.
#include "sock.h"

static char buf[128];
static int unix_family;

// a second and a third address of the family
static struct addr another(const char *name, int i) {
	struct addr a = local(name);
	if (a.sa.sa_family == AF_UNIX && a.un.sun_path[0])
		a.len = offsetof(struct sockaddr_un, sun_path) + sprintf(a.un.sun_path, "other%d", i) + 1;
	else if (a.sa.sa_family == AF_UNIX)
		a.un.sun_path[1] = '0' + i;
	return a;
}

static int make(struct addr *a) {
	int fd = socket(a->sa.sa_family, SOCK_DGRAM, 0);
	CHECK(fd >= 0 && bind(fd, &a->sa, a->len) == 0);
	*a = name_of(fd);
	return fd;
}

static void from(int fd, int flags, size_t size, struct addr *want) {
	struct addr a = {.len = sizeof a.ss};
	memset(buf, 0, sizeof buf);
	ssize_t n = recvfrom(fd, buf, size, flags, &a.sa, &a.len);
	printf("%zd bytes %.5s from %s\n", n, buf, a.len == 0 ? "nobody" : a.len == want->len && memcmp(&a.ss, &want->ss, a.len) == 0 ? "the right one" : "somebody else");
}

int main(int argc, char **argv) {
	CHECK(argc == 2);
	scratch();
	unix_family = family(argv[1]) == AF_UNIX;
	struct addr aa = local(argv[1]), ba = another(argv[1], 1), ca = another(argv[1], 2);
	int a = make(&aa), b = make(&ba), c = make(&ca);
	printf("fresh: %#x\n", conditions(a));
	SHOW(send(a, "x", 1, 0));
	SHOW(recv(a, buf, 1, MSG_DONTWAIT));
	SHOW(sendto(a, "hello", 5, 0, &ba.sa, ba.len));
	SHOW(sendto(a, "", 0, 0, &ba.sa, ba.len));
	SHOW(sendto(c, "world", 5, 0, &ba.sa, ba.len));
	printf("three: %#x\n", conditions(b));
	int n = -1;
	CHECK(ioctl(b, FIONREAD, &n) == 0);
	printf("%d to read\n", n);
	from(b, MSG_PEEK, 2, &aa);
	from(b, MSG_PEEK | MSG_TRUNC, 2, &aa);
	from(b, 0, 2, &aa);
	from(b, 0, 64, &aa);
	from(b, MSG_TRUNC, 2, &ca);
	SHOW(recv(b, buf, 64, MSG_DONTWAIT));

	struct iovec v[2] = {{buf, 2}, {buf + 8, 2}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2, .msg_flags = -1};
	CHECK(sendto(a, "12345", 5, 0, &ba.sa, ba.len) == 5);
	SHOW(recvmsg(b, &m, 0));
	printf("flags %#x, name of %d, control of %zu\n", m.msg_flags, m.msg_namelen, m.msg_controllen);
	CHECK(sendto(a, "12345", 5, 0, &ba.sa, ba.len) == 5);
	SHOW(read(b, buf, 3));
	SHOW(recv(b, buf, 3, MSG_DONTWAIT));

	SHOW(connect(a, &ba.sa, ba.len));
	SHOW(send(a, "con", 3, 0));
	SHOW(write(a, "nect", 4));
	SHOW(writev(a, v, 2));
	from(b, 0, 64, &aa);
	from(b, 0, 64, &aa);
	from(b, 0, 64, &aa);
	// Only its peer may send to a connected one.
	SHOW(sendto(c, "no", 2, 0, &aa.sa, aa.len));
	SHOW(sendto(b, "yes", 3, 0, &aa.sa, aa.len));
	SHOW(recv(a, buf, 64, MSG_DONTWAIT));
	SHOW(recv(a, buf, 64, MSG_DONTWAIT));
	struct addr got = {.len = sizeof got.ss};
	SHOW(getpeername(a, &got.sa, &got.len));
	SHOW(getpeername(b, &got.sa, &got.len));
	SHOW(sendto(a, "elsewhere", 9, 0, &ca.sa, ca.len));
	SHOW(recv(c, buf, 64, MSG_DONTWAIT));

	// Several at once.
	struct mmsghdr out[4], in[4];
	char text[4][8], place[4][8];
	struct iovec ov[4], iv[4];
	memset(out, 0, sizeof out), memset(in, 0, sizeof in);
	for (int i = 0; i < 4; i++) {
		memset(text[i], '0' + i, 8);
		ov[i] = (struct iovec){text[i], i + 1};
		iv[i] = (struct iovec){place[i], 3};
		out[i].msg_hdr = (struct msghdr){.msg_iov = &ov[i], .msg_iovlen = 1};
		in[i].msg_hdr = (struct msghdr){.msg_iov = &iv[i], .msg_iovlen = 1};
	}
	SHOW(sendmmsg(a, out, 4, 0));
	SHOW(recvmmsg(b, in, 4, MSG_WAITFORONE, NULL));
	for (int i = 0; i < 4; i++)
		printf("sent %u, got %u %.*s flags %#x\n", out[i].msg_len, in[i].msg_len, in[i].msg_len, place[i], in[i].msg_hdr.msg_flags);
	SHOW(recvmmsg(b, in, 4, MSG_DONTWAIT, NULL));
	CHECK(sendmmsg(a, out, 3, 0) == 3);
	SHOW(recvmmsg(b, in, 4, MSG_WAITFORONE, NULL));
	CHECK(sendmmsg(a, out, 3, 0) == 3);
	struct timespec zero = {0, 0};
	SHOW(recvmmsg(b, in, 4, 0, &zero));
	SHOW(recvmmsg(b, in, 4, MSG_DONTWAIT, NULL));

	// Nobody there.
	close(b);
	if (unix_family && ba.un.sun_path[0])
		CHECK(unlink(ba.un.sun_path) == 0);
	SHOW(send(a, "x", 1, 0));
	if (!unix_family) {
		until(a, POLLERR);
		printf("refused: %#x error %d\n", conditions(a), get(a, SOL_SOCKET, SO_ERROR));
		CHECK(send(a, "x", 1, 0) == 1);
		until(a, POLLERR);
		SHOW(recv(a, buf, 1, MSG_DONTWAIT));
		CHECK(send(a, "x", 1, 0) == 1);
		until(a, POLLERR);
		SHOW(send(a, "x", 1, 0));
	}
	SHOW(send(a, "x", 1, 0) == 1 || errno == ENOTCONN);
	if (!unix_family)
		until(a, POLLERR);
	get(a, SOL_SOCKET, SO_ERROR);
	SHOW(sendto(c, "x", 1, 0, &ba.sa, ba.len));
	conditions(c);
	SHOW(recv(c, buf, 1, MSG_DONTWAIT));
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	SHOW(connect(a, &none, sizeof none));
	SHOW(getpeername(a, &got.sa, &got.len));
	static char large[300000];
	SHOW(sendto(a, large, sizeof large, 0, &ca.sa, ca.len));
	SHOW(sendto(a, large, 60000, 0, &ca.sa, ca.len));
	SHOW(recv(c, large, sizeof large, MSG_DONTWAIT));
	SHOW(shutdown(c, SHUT_RD));
	printf("reads no more: %#x\n", conditions(c));
	SHOW(recv(c, buf, 1, MSG_DONTWAIT));
	SHOW(shutdown(c, SHUT_RDWR));
	printf("nor writes: %#x\n", conditions(c));
	SHOW(sendto(c, "x", 1, 0, &aa.sa, aa.len));
	SHOW(listen(a, 1));
	SHOW(accept(a, NULL, NULL));
	return 0;
}
