// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: pipes block and wake producer and consumer threads, keep the order
// of a megabyte, refuse when full or empty and not blocking, end when the other
// side is gone, and SIGPIPE comes when it should.
#include "guest.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

static int fds[2];
static volatile int pipes;
static void hit(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c, pipes++; }

static void *produce(void *arg) {
	unsigned char buf[5000];
	long sent = 0, total = 1 << 20;
	while (sent < total) {
		long n = 1 + sent * 7 % sizeof buf;
		if (n > total - sent)
			n = total - sent;
		for (long i = 0; i < n; i++)
			buf[i] = (sent + i) % 251;
		CHECK_EQ(write(fds[1], buf, n), n);
		sent += n;
	}
	close(fds[1]);
	return arg;
}

int main(void) {
	unsigned char buf[7000];
	CHECK_EQ(pipe(fds), 0);
	pthread_t t;
	CHECK_EQ(pthread_create(&t, NULL, produce, NULL), 0);
	long got = 0;
	for (ssize_t n; (n = read(fds[0], buf, sizeof buf)) != 0;) {
		CHECK(n > 0);
		for (ssize_t i = 0; i < n; i++)
			CHECK(buf[i] == (got + i) % 251);
		got += n;
	}
	pthread_join(t, NULL);
	printf("%ld bytes in order\n", got);
	close(fds[0]);

	CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	CHECK_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	CHECK_ERR(read(fds[0], buf, 1), EAGAIN);
	CHECK_EQ(fcntl(fds[0], F_GETPIPE_SZ), 65536);
	long full = 0;
	memset(buf, 'x', sizeof buf);
	for (ssize_t n; (n = write(fds[1], buf, 4096)) > 0;)
		full += n;
	CHECK_EQ(errno, EAGAIN);
	int queued;
	CHECK_EQ(ioctl(fds[0], FIONREAD, &queued), 0);
	CHECK_EQ(queued, full);
	printf("full at %ld\n", full);
	CHECK_EQ(read(fds[0], buf, 4096), 4096);
	CHECK_EQ(write(fds[1], buf, 4096), 4096);
	while (read(fds[0], buf, sizeof buf) > 0)
		;
	struct iovec v[2] = {{"ab", 2}, {"cd", 2}};
	CHECK_EQ(writev(fds[1], v, 2), 4);
	char one[1], rest[9];
	struct iovec r[2] = {{one, 1}, {rest, 9}};
	CHECK_EQ(readv(fds[0], r, 2), 4);
	CHECK(one[0] == 'a' && memcmp(rest, "bcd", 3) == 0);

	CHECK_ERR(read(fds[1], buf, 1), EBADF);
	CHECK_ERR(write(fds[0], buf, 1), EBADF);
	CHECK_ERR(lseek(fds[0], 0, SEEK_SET), ESPIPE);
	CHECK_ERR(pread(fds[0], buf, 1, 0), ESPIPE);
	struct stat st;
	CHECK(fstat(fds[0], &st) == 0 && S_ISFIFO(st.st_mode));

	signal(SIGPIPE, SIG_IGN);
	close(fds[0]);
	CHECK_ERR(write(fds[1], "x", 1), EPIPE);
	on(SIGPIPE, hit, 0);
	CHECK_ERR(write(fds[1], "x", 1), EPIPE);
	CHECK_EQ(pipes, 1);
	close(fds[1]);
	CHECK_ERR(pipe2(fds, 0x12345678), EINVAL);
	CHECK_ERR(pipe((int *volatile){(int *)8}), EFAULT);
	printf("pipes ok\n");
	return 0;
}
