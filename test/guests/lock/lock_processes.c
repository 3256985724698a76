// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Locks of fcntl(2) between processes: conflicts and whose they are, what a fork does
// not inherit, release by an exit, waiting, and the circle that is EDEADLK; flock(2)
// is shared with a child.
#include "guest.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

static int fd;

static int set(int cmd, int type, long start, long len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(fd, cmd, &l);
}

static struct flock get(int type, long start, long len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	CHECK_EQ(fcntl(fd, F_GETLK, &l), 0);
	return l;
}

static void done(pid_t pid) {
	int st;
	CHECK_EQ(waitpid(pid, &st, 0), pid);
	CHECK_EQ(st, 0);
}

int main(void) {
	int go[2], back[2];
	char c;
	scratch();
	fd = open("f", O_RDWR | O_CREAT, 0600);
	CHECK_EQ(pipe(go), 0);
	CHECK_EQ(pipe(back), 0);
	pid_t parent = getpid();

	// The child has none of them, and sees whose they are.
	CHECK_EQ(set(F_SETLK, F_WRLCK, 10, 10), 0);
	CHECK_EQ(set(F_SETLK, F_RDLCK, 40, 10), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct flock l = get(F_RDLCK, 0, 100);
		CHECK_EQ(l.l_pid, parent);
		printf("%d %ld+%ld\n", l.l_type == F_WRLCK, (long)l.l_start, (long)l.l_len);
		l = get(F_WRLCK, 30, 100);
		CHECK_EQ(l.l_pid, parent);
		printf("%d %ld+%ld\n", l.l_type == F_RDLCK, (long)l.l_start, (long)l.l_len);
		CHECK_EQ(get(F_RDLCK, 40, 10).l_type, F_UNLCK);
		CHECK_ERR(set(F_SETLK, F_RDLCK, 19, 1), EAGAIN);
		CHECK_ERR(set(F_SETLK, F_WRLCK, 45, 1), EAGAIN);
		CHECK_EQ(set(F_SETLK, F_RDLCK, 40, 20), 0);
		CHECK_EQ(set(F_SETLK, F_UNLCK, 0, 0), 0); // its own only
		CHECK_ERR(set(F_SETLK, F_RDLCK, 10, 1), EAGAIN);
		close(fd); // the parent's stay
		fd = open("f", O_RDWR);
		CHECK_ERR(set(F_SETLK, F_RDLCK, 10, 1), EAGAIN);
		CHECK_EQ(set(F_SETLK, F_WRLCK, 70, 1), 0);
		_exit(0);
	}
	done(pid);
	CHECK_EQ(set(F_SETLK, F_WRLCK, 70, 1), 0); // gone with the child

	// Waiting.
	pid = fork();
	if (pid == 0) {
		CHECK_EQ(write(back[1], "x", 1), 1);
		CHECK_EQ(set(F_SETLKW, F_WRLCK, 10, 1), 0);
		CHECK_EQ(write(back[1], "y", 1), 1);
		CHECK_EQ(read(go[0], &c, 1), 1);
		_exit(0);
	}
	CHECK_EQ(read(back[0], &c, 1), 1);
	sleep_ms(5);
	CHECK_EQ(set(F_SETLK, F_UNLCK, 0, 0), 0);
	CHECK_EQ(read(back[0], &c, 1), 1);
	CHECK_EQ(c, 'y');
	CHECK_EQ(get(F_WRLCK, 0, 0).l_pid, pid);
	CHECK_EQ(write(go[1], "z", 1), 1);
	done(pid);
	CHECK_EQ(get(F_WRLCK, 0, 0).l_type, F_UNLCK);

	// A circle.
	CHECK_EQ(set(F_SETLK, F_WRLCK, 0, 1), 0);
	pid = fork();
	if (pid == 0) {
		CHECK_EQ(set(F_SETLK, F_WRLCK, 1, 1), 0);
		CHECK_EQ(write(back[1], "x", 1), 1);
		CHECK_EQ(set(F_SETLKW, F_WRLCK, 0, 1), 0);
		_exit(0);
	}
	CHECK_EQ(read(back[0], &c, 1), 1);
	sleep_ms(20);
	int e = 0;
	while (e == 0) { // the child may not wait yet
		e = set(F_SETLK, F_WRLCK, 1, 1) == 0 ? -1 : errno;
		CHECK_EQ(e, EAGAIN);
		alarm(10);
		CHECK_ERR(set(F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
		alarm(0);
	}
	CHECK_EQ(set(F_SETLK, F_UNLCK, 0, 0), 0);
	done(pid);

	// A killed waiter leaves nothing.
	CHECK_EQ(set(F_SETLK, F_WRLCK, 0, 1), 0);
	pid = fork();
	if (pid == 0) {
		CHECK_EQ(write(back[1], "x", 1), 1);
		set(F_SETLKW, F_WRLCK, 0, 1);
		_exit(1);
	}
	CHECK_EQ(read(back[0], &c, 1), 1);
	sleep_ms(5);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	CHECK_EQ(set(F_SETLK, F_UNLCK, 0, 0), 0);
	CHECK_EQ(get(F_WRLCK, 0, 0).l_type, F_UNLCK);

	// flock: the child's descriptor is the same open file.
	CHECK_EQ(flock(fd, LOCK_EX), 0);
	pid = fork();
	if (pid == 0) {
		CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
		int other = open("f", O_RDONLY);
		CHECK_ERR(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
		CHECK_EQ(flock(fd, LOCK_UN), 0); // for both
		CHECK_EQ(flock(other, LOCK_SH | LOCK_NB), 0);
		_exit(0);
	}
	done(pid);
	int other = open("f", O_RDONLY);
	CHECK_EQ(flock(other, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(unlink("f"), 0);
	puts("ok");
	return 0;
}
