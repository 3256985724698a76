// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Calls on sockets that fail, and with what: bad descriptors, files that are no
// sockets, addresses of other families, too short, unreadable, and states in which a
// call makes no sense.
#include "sock.h"

static char buf[256];
static struct addr at;

// AT is the address of a local one.
#define AT(name) (at = local(name), &at.sa)

static void kinds(void) {
	int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_AX25, AF_X25, 99, -1};
	int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW, SOCK_RDM, 11, -1, SOCK_STREAM | 0x10};
	int protocols[] = {0, 1, IPPROTO_TCP, IPPROTO_UDP, 300, -1};
	for (size_t f = 0; f < sizeof families / sizeof *families; f++)
		for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
			printf("%d %#x:", families[f], types[t]);
			for (size_t p = 0; p < sizeof protocols / sizeof *protocols; p++) {
				if (protocols[p] == 1 && (types[t] == SOCK_DGRAM || families[f] == AF_UNIX)) // ping: a matter of groups
					continue;
				int s = socket(families[f], types[t], protocols[p]);
				printf(" %d", s >= 0 ? 0 : errno);
				if (s >= 0)
					close(s);
			}
			puts("");
		}
	int pair[2];
	SHOW(socketpair(AF_INET, SOCK_STREAM, 0, pair));
	SHOW(socketpair(AF_UNIX, SOCK_STREAM, 9, pair));
	SHOW(socketpair(AF_UNIX, SOCK_RDM, 0, pair));
	SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD));
	SHOW(socketpair(AF_UNIX, SOCK_STREAM | 0x10, 0, pair));
	SHOW(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	printf("%d %#x\n", fcntl(pair[0], F_GETFD), fcntl(pair[1], F_GETFL));
	close(pair[0]), close(pair[1]);
}

static void all(const char *what, int fd) {
	struct addr a = local("inet");
	socklen_t n = sizeof buf;
	struct msghdr m = {0};
	printf("%s\n", what);
	SHOW(bind(fd, &a.sa, a.len));
	SHOW(connect(fd, &a.sa, 1));
	SHOW(listen(fd, 1) == 0 || errno == EOPNOTSUPP ? 0 : -1);
	SHOW(accept4(fd, NULL, NULL, 0x10));
	SHOW(getpeername(fd, (struct sockaddr *)buf, &n));
	SHOW(send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
	SHOW(sendto(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT, &a.sa, 3));
	SHOW(recv(fd, buf, 1, MSG_DONTWAIT));
	SHOW(sendmsg(fd, BAD, MSG_NOSIGNAL));
	SHOW(recvmsg(fd, BAD, MSG_DONTWAIT));
	SHOW(recvmsg(fd, &m, MSG_DONTWAIT));
	SHOW(shutdown(fd, 9));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, 4));
}

int main(void) {
	scratch();
	drop_privileges();
	kinds();
	all("not open", 99);
	int p[2], file = open("file", O_CREAT | O_RDWR, 0600), path = open(".", O_PATH);
	CHECK(pipe(p) == 0);
	all("pipe", p[0]);
	all("file", file);
	all("path", path);
	int tcp = socket(AF_INET, SOCK_STREAM, 0), tcp6 = socket(AF_INET6, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	int un = socket(AF_UNIX, SOCK_STREAM, 0), dgram = socket(AF_UNIX, SOCK_DGRAM, 0);
	SHOW(recv(tcp, buf, 1, MSG_DONTWAIT));
	SHOW(send(tcp, "x", 1, MSG_NOSIGNAL));
	SHOW(recv(un, buf, 1, MSG_DONTWAIT));
	SHOW(send(un, "x", 1, MSG_NOSIGNAL));
	SHOW(accept(tcp, NULL, NULL));
	SHOW(accept(un, NULL, NULL));
	SHOW(accept(udp, NULL, NULL));
	SHOW(listen(un, 1));
	SHOW(listen(udp, 1));
	SHOW(listen(dgram, 1));
	SHOW(shutdown(tcp, SHUT_RD));
	SHOW(shutdown(udp, SHUT_RD));
	SHOW(shutdown(un, SHUT_RD));
	close(udp), close(un);
	udp = socket(AF_INET, SOCK_DGRAM, 0), un = socket(AF_UNIX, SOCK_STREAM, 0);

	struct addr a = local("inet"), a6 = local("inet6"), au = local("unix");
	socklen_t n;
	// Addresses that are wrong.
	SHOW(bind(tcp, &a.sa, 15));
	SHOW(bind(tcp, &a.sa, -1));
	SHOW(bind(tcp, &a.sa, 129));
	SHOW(bind(tcp, BAD, 16));
	SHOW(bind(tcp, &au.sa, sizeof a.in));
	SHOW(bind(tcp6, &a6.sa, 23));
	SHOW(bind(tcp6, &a.sa, sizeof a6.in6));
	SHOW(bind(un, &au.sa, 0));
	SHOW(bind(un, &a.sa, a.len));
	SHOW(bind(un, &au.sa, sizeof au.un + 1));
	a.in.sin_addr.s_addr = htonl(0x08080808);
	SHOW(bind(tcp, &a.sa, a.len));
	inet_pton(AF_INET6, "2001:db8::77", &a6.in6.sin6_addr);
	SHOW(bind(tcp6, &a6.sa, a6.len));
	a = local("inet"), a6 = local("inet6");
	a.sa.sa_family = AF_UNSPEC;
	SHOW(bind(tcp, &a.sa, a.len));
	SHOW(connect(tcp, &au.sa, au.len));
	SHOW(connect(tcp6, AT("inet"), sizeof a6.in6));
	SHOW(connect(un, AT("inet"), a.len));
	SHOW(connect(tcp, &a.sa, 1));
	SHOW(connect(tcp, BAD, 16));
	SHOW(connect(tcp, AT("inet"), 8));
	SHOW(connect(tcp6, &a6.sa, 16));
	SHOW(connect(un, &au.sa, au.len));
	SHOW(connect(dgram, &au.sa, 2));
	strcpy(au.un.sun_path, "file");
	SHOW(connect(un, &au.sa, sizeof au.un));
	SHOW(bind(un, &au.sa, sizeof au.un));
	strcpy(au.un.sun_path, "no/where");
	SHOW(connect(un, &au.sa, sizeof au.un));
	SHOW(bind(un, &au.sa, sizeof au.un));
	strcpy(au.un.sun_path, "file/below");
	SHOW(bind(un, &au.sa, sizeof au.un));
	SHOW(sendto(dgram, "x", 1, 0, &au.sa, sizeof au.un));
	SHOW(sendto(dgram, "x", 1, 0, NULL, 0));
	SHOW(sendto(un, "x", 1, 0, &au.sa, sizeof au.un));
	au = local("unix");
	CHECK(bind(dgram, &au.sa, au.len) == 0);
	SHOW(connect(un, &au.sa, au.len)); // of another type
	SHOW(bind(dgram, &au.sa, au.len));
	SHOW(bind(un, &au.sa, au.len));
	SHOW(open("socket", O_RDWR));
	SHOW(unlink("socket"));
	SHOW(sendto(udp, "x", 1, 0, &a.sa, 15));
	SHOW(sendto(udp, "x", 1, 0, AT("unix"), 16));
	SHOW(sendto(udp, "x", 1, 0, AT("inet"), 16)); // port 0
	SHOW(send(udp, "x", 1, 0));
	SHOW(sendto(udp, BAD, 1, 0, AT("inet"), 16) == -1);

	// Bound and connected ones.
	a = local("inet");
	CHECK(bind(tcp, &a.sa, a.len) == 0);
	SHOW(bind(tcp, &a.sa, a.len));
	a = name_of(tcp);
	int second = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(bind(second, &a.sa, a.len));
	SHOW(connect(second, &a.sa, a.len)); // bound, but nobody listens
	CHECK(listen(tcp, 1) == 0);
	SHOW(listen(tcp, 2));
	SHOW(connect(tcp, &a.sa, a.len));
	SHOW(recv(tcp, buf, 1, 0));
	SHOW(send(tcp, "x", 1, MSG_NOSIGNAL));
	SHOW(getpeername(tcp, &a6.sa, &a6.len));
	close(second);
	second = dial(&a, SOCK_STREAM);
	SHOW(connect(second, &a.sa, a.len));
	SHOW(bind(second, &a.sa, a.len));
	SHOW(listen(second, 1));
	SHOW(accept(second, NULL, NULL));
	n = -1;
	SHOW(accept(tcp, &a.sa, &n));
	n = 0;
	SHOW(getsockname(second, &a.sa, &n));
	printf("length %u\n", n);
	n = 4;
	memset(buf, 0x55, sizeof buf);
	SHOW(getsockname(second, (struct sockaddr *)buf, &n));
	printf("length %u, after it %#x\n", n, buf[4]);
	n = -1;
	SHOW(getsockname(second, &a.sa, &n));
	n = 16;
	SHOW(getsockname(second, BAD, &n));
	SHOW(getsockname(second, &a.sa, BAD));
	SHOW(recvfrom(second, buf, 1, MSG_DONTWAIT, &a.sa, BAD));
	SHOW(send(second, BAD, 4, 0));
	SHOW(write(second, BAD, 4));
	struct iovec v = {buf, 8};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1025};
	SHOW(sendmsg(second, &m, 0));
	m.msg_iovlen = 1;
	v.iov_len = -1;
	SHOW(sendmsg(second, &m, 0));
	m.msg_iov = BAD;
	SHOW(sendmsg(second, &m, 0));
	m = (struct msghdr){.msg_name = buf, .msg_namelen = -1};
	SHOW(recvmsg(second, &m, MSG_DONTWAIT));
	SHOW(sendmmsg(second, BAD, 1, 0));
	SHOW(sendmmsg(second, BAD, 0, 0));
	SHOW(recvmmsg(second, BAD, 1, MSG_DONTWAIT, NULL));
	SHOW(recvmmsg(second, BAD, 1, MSG_DONTWAIT, BAD));
	SHOW(recv(second, buf, 1, MSG_ERRQUEUE | MSG_DONTWAIT));
	SHOW(ioctl(second, FIONREAD, BAD));
	SHOW(ioctl(tcp, FIONREAD, &n));
	SHOW(ioctl(second, 0x1234, &n));
	SHOW(fsync(second));
	SHOW(ftruncate(second, 0));
	SHOW((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, udp, 0));
	struct stat st;
	CHECK(fstat(second, &st) == 0);
	printf("mode %#o size %ld\n", st.st_mode, (long)st.st_size);
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", second);
	SHOW(open(link, O_RDWR));
	ssize_t k = readlink(link, buf, sizeof buf - 1);
	CHECK(k > 8);
	printf("%.8s\n", buf);
	return 0;
}
