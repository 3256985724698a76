// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What one process sees of another: signals to its threads, limits, clocks, priorities,
// times of children, and its folder in /proc.
#include "process.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/times.h>

static volatile int *shared;

static void handler(int sig, siginfo_t *si, void *uc) {
	(void)uc;
	shared[1] = si->si_code, shared[2] = si->si_pid == getppid();
	shared[0] = sig; // last: the parent waits for it
}

static int serves(void *arg) {
	(void)arg;
	on(SIGUSR1, handler, 0);
	on(SIGRTMIN, handler, 0);
	shared[3] = 1;
	for (;;)
		pause();
}

static int burns(void *arg) {
	(void)arg;
	struct timespec ts;
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	while (ts.tv_sec == 0 && ts.tv_nsec < 30000000);
	return 0;
}

static void await_signal(const char *what) {
	while (shared[0] == 0)
		sleep_ms(1);
	printf("%s: %d code %d from the parent %d\n", what, shared[0], shared[1], shared[2]);
	shared[0] = 0;
}

static int reads(const char *format, pid_t pid, char *b, size_t n) {
	char name[100];
	snprintf(name, sizeof name, format, pid);
	int fd = open(name, O_RDONLY);
	if (fd < 0)
		return -1;
	ssize_t got = read(fd, b, n - 1);
	close(fd);
	b[got > 0 ? got : 0] = 0;
	return got;
}

int main(void) {
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = start(serves, NULL);
	while (!shared[3])
		sleep_ms(1);
	CHECK(kill(pid, SIGUSR1) == 0);
	await_signal("kill");
	CHECK(syscall(SYS_tgkill, pid, pid, SIGUSR1) == 0);
	await_signal("tgkill");
	CHECK(syscall(SYS_tkill, pid, SIGUSR1) == 0);
	await_signal("tkill");
	CHECK(sigqueue(pid, SIGRTMIN, (union sigval){.sival_int = 4}) == 0);
	await_signal("sigqueue");
	CHECK_ERR(syscall(SYS_tgkill, getpid(), pid, SIGUSR1), ESRCH);
	CHECK_ERR(syscall(SYS_tgkill, pid, getpid(), SIGUSR1), ESRCH);
	siginfo_t si = {.si_signo = SIGUSR1, .si_code = SI_USER};
	CHECK_ERR(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &si), EPERM);

	cpu_set_t set;
	CHECK(sched_getaffinity(pid, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0);
	CHECK_EQ(sched_getscheduler(pid), SCHED_OTHER);
	errno = 0;
	CHECK(getpriority(PRIO_PROCESS, pid) == 0 && errno == 0);
	clockid_t clock;
	struct timespec ts;
	CHECK(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &ts) == 0);

	char b[8192], *p;
	CHECK(reads("/proc/%d/stat", pid, b, sizeof b) > 0);
	int parent, group, session;
	char state;
	CHECK((p = strrchr(b, ')')) && sscanf(p, ") %c %d %d %d", &state, &parent, &group, &session) == 4);
	printf("stat: %c, parent %d group %d session %d\n", state, parent == getpid(), group == getpgrp(), session == getsid(0));
	CHECK(reads("/proc/%d/status", pid, b, sizeof b) > 0 && strstr(b, "Threads:\t1\n"));
	CHECK(reads("/proc/%d/maps", pid, b, sizeof b) > 0 && (p = strstr(b, "-")));
	CHECK(reads("/proc/%d/cmdline", pid, b, sizeof b) > 0);
	CHECK(kill(pid, SIGSTOP) == 0);
	CHECK(WIFSTOPPED(wait_for(pid, WUNTRACED)));
	CHECK(reads("/proc/%d/stat", pid, b, sizeof b) > 0);
	printf("stopped: %c\n", strrchr(b, ')')[2]);
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitid(P_PID, pid, &si, WEXITED | WNOWAIT) == 0);
	CHECK(reads("/proc/%d/stat", pid, b, sizeof b) > 0);
	printf("ended: %c\n", strrchr(b, ')')[2]);
	printf("maps %d\n", reads("/proc/%d/maps", pid, b, sizeof b));
	printf("cmdline %d\n", reads("/proc/%d/cmdline", pid, b, sizeof b));
	wait_for(pid, 0);
	printf("gone: %d\n", reads("/proc/%d/stat", pid, b, sizeof b));

	// Times of children count once they were waited for.
	struct rusage ru;
	struct tms t;
	CHECK(times(&t) != -1);
	clock_t before = t.tms_cutime + t.tms_cstime;
	pid = start(burns, NULL);
	CHECK(waitid(P_PID, pid, &si, WEXITED | WNOWAIT) == 0);
	CHECK(times(&t) != -1 && t.tms_cutime + t.tms_cstime == before);
	CHECK_EQ(wait4(pid, NULL, 0, &ru), pid);
	long us = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
	CHECK(us >= 15000);
	CHECK(times(&t) != -1 && t.tms_cutime + t.tms_cstime > before);
	CHECK(getrusage(RUSAGE_CHILDREN, &ru) == 0 && ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec >= 15000);
	puts("times");
}
