// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Named pipes between processes: opens that wait for each other, several writers, and
// a reader that is killed while it waits.
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int main(void) {
	char buf[256];
	int n, st, total = 0;
	scratch();
	CHECK_EQ(mkfifo("p", 0600), 0);
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			int w = open("p", O_WRONLY);
			CHECK(w >= 0);
			for (int j = 0; j < 100; j++)
				CHECK_EQ(write(w, "0123456789", 10), 10);
			_exit(0);
		}
	int r = open("p", O_RDONLY);
	CHECK(r >= 0);
	int writers = 0;
	while (writers < 3) {
		while ((n = read(r, buf, sizeof buf)) > 0)
			total += n;
		while (waitpid(-1, &st, WNOHANG) > 0) {
			CHECK_EQ(st, 0);
			writers++;
		}
	}
	while ((n = read(r, buf, sizeof buf)) > 0)
		total += n;
	printf("%d\n", total);
	CHECK_EQ(close(r), 0);

	pid_t pid = fork();
	if (pid == 0) {
		open("p", O_RDONLY);
		_exit(1);
	}
	int w;
	while ((w = open("p", O_WRONLY | O_NONBLOCK)) < 0) // until it waits
		CHECK_EQ(errno, ENXIO);
	CHECK_EQ(close(w), 0);
	CHECK_EQ(waitpid(pid, &st, 0), pid);
	pid = fork();
	if (pid == 0) {
		open("p", O_WRONLY);
		_exit(1);
	}
	sleep_ms(10);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &st, 0), pid);
	r = open("p", O_RDONLY | O_NONBLOCK);
	CHECK_EQ(read(r, buf, 1), 0); // nobody is left
	CHECK_EQ(unlink("p"), 0);
	puts("ok");
	return 0;
}
