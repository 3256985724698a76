// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Named pipes: mknod, opens that wait for the other side or must not, ends that come
// and go, what poll(2) says, splice, and a wait that a signal ends.
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static void *writer(void *arg) {
	int w = open("p", O_WRONLY);
	CHECK(w >= 0);
	CHECK_EQ(write(w, arg, strlen(arg)), strlen(arg));
	CHECK_EQ(close(w), 0);
	return NULL;
}

static void nothing(int sig, siginfo_t *si, void *uc) {
	(void)sig, (void)si, (void)uc;
}

static volatile int done;

static void *interrupted(void *arg) {
	CHECK_ERR(open("p", O_RDONLY), EINTR);
	done = 1;
	return arg;
}

static int revents(int fd, int events) {
	struct pollfd p = {.fd = fd, .events = events};
	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

int main(void) {
	char buf[64];
	struct stat st;
	pthread_t t;
	scratch();
	CHECK_EQ(mkfifo("p", 0640), 0);
	CHECK_ERR(mkfifo("p", 0640), EEXIST);
	CHECK_EQ(stat("p", &st), 0);
	printf("%o %ld %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);

	// Opens wait for each other.
	CHECK_EQ(pthread_create(&t, NULL, writer, "hello"), 0);
	int r = open("p", O_RDONLY);
	CHECK(r >= 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(read(r, buf, sizeof buf), 5);
	CHECK_EQ(memcmp(buf, "hello", 5), 0);
	CHECK_EQ(read(r, buf, sizeof buf), 0);
	printf("hung up: %x\n", revents(r, POLLIN));
	CHECK_EQ(close(r), 0);

	// Those that must not wait.
	CHECK_ERR(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
	r = open("p", O_RDONLY | O_NONBLOCK);
	CHECK(r >= 0);
	printf("nobody yet: %x\n", revents(r, POLLIN));
	CHECK_EQ(read(r, buf, sizeof buf), 0);
	int w = open("p", O_WRONLY | O_NONBLOCK);
	CHECK(w >= 0);
	CHECK_ERR(read(r, buf, sizeof buf), EAGAIN);
	printf("empty: %x %x\n", revents(r, POLLIN), revents(w, POLLOUT));
	int w2 = open("p", O_WRONLY);
	CHECK_EQ(write(w, "abc", 3), 3);
	CHECK_EQ(write(w2, "def", 3), 3);
	int n;
	CHECK_EQ(ioctl(r, FIONREAD, &n), 0);
	printf("%d bytes, %x\n", n, revents(r, POLLIN));
	CHECK_EQ(close(w), 0);
	CHECK_EQ(read(r, buf, 4), 4);
	CHECK_EQ(close(w2), 0);
	CHECK_EQ(read(r, buf, 4), 2);
	CHECK_EQ(read(r, buf, 4), 0);
	printf("gone: %x\n", revents(r, POLLIN));
	w = open("p", O_WRONLY | O_NONBLOCK);
	printf("again: %x\n", revents(r, POLLIN));

	// No reader.
	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(close(r), 0);
	CHECK_ERR(write(w, "x", 1), EPIPE);
	printf("no reader: %x\n", revents(w, POLLOUT));
	CHECK_EQ(close(w), 0);

	// Both ends at once, splice and tee, sizes.
	int rw = open("p", O_RDWR), p[2];
	CHECK(rw >= 0);
	printf("both: %x\n", revents(rw, POLLIN | POLLOUT));
	CHECK_EQ(write(rw, "spliced", 7), 7);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(tee(rw, p[1], 3, 0), 3);
	CHECK_EQ(splice(rw, NULL, p[1], NULL, 100, 0), 7);
	CHECK_EQ(read(p[0], buf, sizeof buf), 10);
	CHECK_EQ(memcmp(buf, "splspliced", 10), 0);
	CHECK_EQ(fcntl(rw, F_GETPIPE_SZ), 65536);
	CHECK_EQ(fcntl(rw, F_SETPIPE_SZ, 8192), 8192);
	CHECK_ERR(lseek(rw, 0, SEEK_SET), ESPIPE);
	CHECK_ERR(pread(rw, buf, 1, 0), ESPIPE);
	CHECK_ERR(ftruncate(rw, 0), EINVAL);
	CHECK_EQ(write(rw, "lost", 4), 4);
	CHECK_EQ(close(rw), 0);
	r = open("p", O_RDONLY | O_NONBLOCK);
	CHECK_EQ(read(r, buf, sizeof buf), 0);
	CHECK_EQ(close(r), 0);

	// A signal ends the wait, and nothing of it is left.
	on(SIGUSR1, nothing, 0);
	CHECK_EQ(pthread_create(&t, NULL, interrupted, NULL), 0);
	while (!done) {
		pthread_kill(t, SIGUSR1);
		sleep_ms(1);
	}
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_ERR(open("p", O_WRONLY | O_NONBLOCK), ENXIO);

	// A removed name; other kinds.
	r = open("p", O_RDONLY | O_NONBLOCK);
	CHECK_EQ(unlink("p"), 0);
	snprintf(buf, sizeof buf, "/proc/self/fd/%d", r);
	w = open(buf, O_WRONLY);
	CHECK(w >= 0);
	CHECK_EQ(write(w, "still", 5), 5);
	CHECK_EQ(read(r, buf, sizeof buf), 5);
	CHECK_EQ(mknod("s", S_IFSOCK | 0600, 0), 0);
	CHECK_EQ(stat("s", &st), 0);
	printf("%o\n", st.st_mode);
	CHECK_ERR(open("s", O_RDONLY), ENXIO);
	CHECK_EQ(unlink("s"), 0);
	CHECK_ERR(mknod("d", S_IFDIR | 0600, 0), EPERM);
	CHECK_ERR(mknod("x", 0170000, 0), EINVAL);
	return 0;
}
