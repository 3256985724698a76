// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What execve(2) keeps of a process and what it does not, seen by the program that it
// starts: this one again.
#include "process.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

static char self[4096];
static char mark[1 << 20];

static void show_signal(int sig, const char *name) {
	struct sigaction sa;
	CHECK(sigaction(sig, NULL, &sa) == 0);
	printf("%s: %s flags %#x\n", name, sa.sa_handler == SIG_DFL ? "default" : sa.sa_handler == SIG_IGN ? "ignored" : "caught", sa.sa_flags);
}

static int after(int argc, char **argv) {
	for (int i = 0; i < argc; i++)
		printf("argv[%d] %s\n", i, argv[i]);
	for (char **e = environ; *e; e++)
		printf("env %s\n", *e);
	printf("execfn %d\n", strcmp((char *)getauxval(AT_EXECFN), self) == 0);
	printf("secure %lu entry %d\n", getauxval(AT_SECURE), getauxval(AT_ENTRY) != 0);
	CHECK_EQ(getpid(), atoi(getenv("WAS")));
	CHECK_EQ(getpid(), (int)syscall(SYS_gettid));
	show_signal(SIGUSR1, "SIGUSR1");
	show_signal(SIGUSR2, "SIGUSR2");
	show_signal(SIGCHLD, "SIGCHLD");
	sigset_t set;
	CHECK(sigprocmask(SIG_SETMASK, NULL, &set) == 0);
	printf("mask %d %d\n", sigismember(&set, SIGTERM), sigismember(&set, SIGHUP));
	CHECK(sigpending(&set) == 0);
	printf("pending %d %d\n", sigismember(&set, SIGTERM), sigismember(&set, SIGHUP));
	stack_t ss;
	CHECK(sigaltstack(NULL, &ss) == 0);
	printf("altstack %#x\n", ss.ss_flags);
	printf("descriptors: kept %d, closed %d, doubled %d\n", fcntl(50, F_GETFD), fcntl(51, F_GETFD), fcntl(52, F_GETFD));
	char b[8] = "";
	CHECK(lseek(50, 0, SEEK_CUR) == 3 && read(50, b, 7) == 3);
	printf("position kept: %s\n", b);
	struct itimerval it;
	CHECK(getitimer(ITIMER_REAL, &it) == 0);
	printf("itimer %d\n", it.it_value.tv_sec > 1000);
	struct itimerspec its;
	printf("timer %d\n", syscall(SYS_timer_gettime, 0, &its) == -1 && errno == EINVAL);
	printf("umask %03o, here %d\n", umask(0), access("marker", F_OK) == 0);
	struct rlimit rl;
	CHECK(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	printf("limit %d\n", (int)rl.rlim_cur);
	char name[16];
	CHECK(prctl(PR_GET_NAME, name) == 0);
	printf("name changed %d\n", strcmp(name, "before") != 0);
	int sig = -1;
	CHECK(prctl(PR_GET_PDEATHSIG, &sig) == 0);
	printf("death signal %d\n", sig);
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &sig) == 0);
	printf("subreaper %d\n", sig);
	for (size_t i = 0; i < sizeof mark; i += 4096)
		CHECK_EQ(mark[i], 0);
	void *where = (void *)(uintptr_t)strtoull(getenv("MAPPED"), NULL, 16);
	printf("mapping gone %d\n", msync(where, 4096, MS_ASYNC) == -1 && errno == ENOMEM);
	pid_t pid = atoi(getenv("CHILD"));
	CHECK(kill(pid, SIGKILL) == 0);
	show_status("child kept", wait_for(pid, 0));
	char cmd[256];
	int fd = open("/proc/self/cmdline", O_RDONLY), n = read(fd, cmd, sizeof cmd);
	printf("cmdline %d\n", n == (int)(strlen(argv[0]) + strlen(argv[1]) + strlen(argv[2]) + 3));
	unlink("marker");
	unlink("file");
	return 0;
}

static void handler(int sig, siginfo_t *si, void *uc) { (void)sig, (void)si, (void)uc; }
static void *sleeper(void *arg) {
	(void)arg;
	for (;;)
		pause();
}

int main(int argc, char **argv) {
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	CHECK(n > 0);
	if (argc > 2 && strcmp(argv[1], "after") == 0)
		return after(argc, argv);
	scratch();
	CHECK(close(open("marker", O_CREAT | O_WRONLY, 0600)) == 0);
	int fd = open("file", O_CREAT | O_RDWR, 0600);
	CHECK(write(fd, "abcdef", 6) == 6 && lseek(fd, 3, SEEK_SET) == 3);
	CHECK(dup2(fd, 50) == 50 && dup3(fd, 51, O_CLOEXEC) == 51 && dup3(51, 52, 0) == 52);
	on(SIGUSR1, handler, SA_RESTART);
	signal(SIGUSR2, SIG_IGN);
	on(SIGCHLD, handler, SA_NOCLDSTOP);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	raise(SIGTERM);
	static char alt[16384];
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
	CHECK(sigaltstack(&ss, NULL) == 0);
	struct itimerval it = {.it_value.tv_sec = 5000};
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	int timer;
	CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &timer) == 0);
	umask(027);
	struct rlimit rl;
	CHECK(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	rl.rlim_cur = 77;
	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	CHECK(prctl(PR_SET_NAME, "before") == 0 && prctl(PR_SET_PDEATHSIG, SIGURG) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	memset(mark, 1, sizeof mark);
	char *where = mmap((void *)0x123450000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(where != MAP_FAILED);
	char was[32], mapped[32], child[32];
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	sprintf(was, "WAS=%d", getpid());
	sprintf(mapped, "MAPPED=%lx", (unsigned long)where);
	sprintf(child, "CHILD=%d", pid);
	setenv("PATH", "/bin", 1);
	// Other threads end, whatever they do.
	pthread_t t;
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&t, NULL, sleeper, NULL) == 0);
	puts("before");
	// Unlike the environment, these numbers differ from run to run; after() checks them.
	char *args[] = {"exec state", "after", "third argument", NULL};
	CHECK(dup2(open("/dev/null", O_WRONLY), 60) == 60);
	char *env[] = {"A=1", "B=", was, mapped, child, NULL};
	int p[2];
	CHECK(pipe(p) == 0);
	pid_t watcher = fork(); // hides the numbers
	CHECK(watcher >= 0);
	if (watcher == 0) {
		close(p[1]);
		FILE *in = fdopen(p[0], "r");
		char line[300];
		while (fgets(line, sizeof line, in)) {
			char *eq = strchr(line, '=');
			if (strncmp(line, "env ", 4) == 0 && eq && strlen(line) > 9)
				eq[1] = '\n', eq[2] = 0;
			fputs(line, stdout);
		}
		fflush(stdout);
		_exit(0);
	}
	close(p[0]);
	pid_t runner = fork();
	CHECK(runner >= 0);
	if (runner == 0) {
		sprintf(was, "WAS=%d", getpid());
		CHECK(prctl(PR_SET_PDEATHSIG, SIGURG) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
		CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0 && syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &timer) == 0);
		raise(SIGTERM);
		if ((pid = fork()) == 0)
			for (;;)
				pause();
		sprintf(child, "CHILD=%d", pid);
		CHECK(pthread_create(&t, NULL, sleeper, NULL) == 0);
		CHECK(dup2(p[1], 1) == 1 && close(p[1]) == 0);
		execve(self, args, env);
		_exit(1);
	}
	close(p[1]);
	kill(pid, SIGKILL);
	wait_for(pid, 0);
	int st = wait_for(watcher, 0); // what it prints comes first
	show_status("runner", wait_for(runner, 0));
	show_status("watcher", st);
}
