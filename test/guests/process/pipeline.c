// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Pipes between processes: a pipeline of filters, back-pressure, the end of the data,
// SIGPIPE and EPIPE, and posix_spawn with file actions.
#include "process.h"
#include <fcntl.h>
#include <spawn.h>

static char self[4096];

static int upper(int in, int out, int add) {
	static char b[5000];
	ssize_t n;
	while ((n = read(in, b, sizeof b)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			b[i] += add;
		for (ssize_t done = 0, k; done < n; done += k)
			CHECK((k = write(out, b + done, n - done)) > 0);
	}
	return n == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
	CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	if (argc > 1 && strcmp(argv[1], "filter") == 0)
		return upper(0, 1, atoi(argv[2]));
	enum { STAGES = 5, SIZE = 300000 };
	int in = -1, first = -1;
	pid_t pids[STAGES];
	for (int i = 0; i < STAGES; i++) {
		int p[2], q[2];
		CHECK(pipe2(p, O_CLOEXEC) == 0);
		if (i == 0) {
			CHECK(pipe2(q, O_CLOEXEC) == 0);
			first = q[1], in = q[0];
		}
		posix_spawn_file_actions_t fa;
		posix_spawnattr_t at;
		CHECK(posix_spawn_file_actions_init(&fa) == 0 && posix_spawnattr_init(&at) == 0);
		CHECK(posix_spawn_file_actions_adddup2(&fa, in, 0) == 0 && posix_spawn_file_actions_adddup2(&fa, p[1], 1) == 0);
		CHECK(posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK) == 0);
		char *args[] = {"pipeline", "filter", "1", NULL}, *env[] = {NULL};
		CHECK_EQ(posix_spawn(&pids[i], self, &fa, &at, args, env), 0);
		close(in), close(p[1]);
		in = p[0];
	}
	fflush(stdout);
	pid_t writer = fork();
	CHECK(writer >= 0);
	if (writer == 0) {
		static char b[SIZE];
		for (int i = 0; i < SIZE; i++)
			b[i] = i % 97;
		for (int done = 0, k; done < SIZE; done += k)
			CHECK((k = write(first, b + done, SIZE - done)) > 0);
		_exit(0);
	}
	close(first);
	static char b[SIZE + 1];
	int got = 0, n;
	while ((n = read(in, b + got, sizeof b - got)) > 0)
		got += n;
	CHECK_EQ(got, SIZE);
	for (int i = 0; i < SIZE; i++)
		CHECK_EQ(b[i], (char)(i % 97 + STAGES));
	for (int i = 0; i < STAGES; i++)
		show_status("stage", wait_for(pids[i], 0));
	show_status("writer", wait_for(writer, 0));

	// Nobody reads: a signal, or an error.
	int p[2];
	for (int ignore = 0; ignore < 2; ignore++) {
		CHECK(pipe(p) == 0);
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			close(p[0]);
			if (ignore)
				signal(SIGPIPE, SIG_IGN);
			char c = 0;
			while (write(p[1], &c, 1) == 1) // until the parent has closed its end
				;
			_exit(errno == EPIPE ? 32 : 1);
		}
		sleep_ms(5);
		close(p[0]), close(p[1]);
		show_status("no reader", wait_for(pid, 0));
	}
	pid_t pid;
	char *args[] = {"x", NULL};
	printf("spawn of nothing: %d\n", posix_spawn(&pid, "/missing/program", NULL, NULL, args, args + 1));
	CHECK_ERR(wait(NULL), ECHILD);
}
