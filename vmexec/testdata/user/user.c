// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Says what a user may do: whose it is, and with which error each call on the files
// that TestUser has made ends. What it makes it removes.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *result(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }
#define SHOW(call) (errno = 0, printf("%s: %s\n", #call, result(call)))

static long opens(const char *path, int flags) {
	int fd = open(path, flags, 0640);
	if (fd < 0)
		return -1;
	struct stat st;
	if (flags & O_CREAT && fstat(fd, &st) == 0)
		printf("  made by %u:%u, mode %o\n", st.st_uid, st.st_gid, st.st_mode);
	return close(fd);
}

static long runs(const char *path) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		execl(path, path, "exit", NULL);
		_exit(errno);
	}
	int status;
	waitpid(pid, &status, 0);
	errno = WEXITSTATUS(status);
	return errno == 0 ? 0 : -1;
}

static long connects(const char *path) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strcpy(a.sun_path, path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	long r = connect(s, (void *)&a, sizeof a);
	int e = errno;
	close(s);
	errno = e;
	return r;
}

static void caught(int sig, siginfo_t *info, void *context) {
	(void)context;
	printf("signal %d of user %u\n", sig, info->si_uid);
}

static void grep(const char *file, const char *what) {
	char line[512];
	FILE *f = fopen(file, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, what, strlen(what)) == 0)
			fputs(line, stdout);
	if (f != NULL)
		fclose(f);
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "exit") == 0)
		return 0;
	char event[8];
	if (read(0, event, sizeof event) < 0) // a snapshot is taken here
		return 1;
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	umask(022);
	uid_t r, e, s;
	gid_t rg, eg, sg, groups[64];
	getresuid(&r, &e, &s);
	getresgid(&rg, &eg, &sg);
	printf("%u %u %u, %u %u %u, auxv %lu %lu %lu %lu %lu\n", r, e, s, rg, eg, sg, getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID),
	       getauxval(AT_EGID), getauxval(AT_SECURE));
	int n = getgroups(64, groups);
	for (int i = 0; i < n; i++)
		printf("group %u\n", groups[i]);
	grep("/proc/self/status", "Uid:");
	grep("/proc/self/status", "Gid:");
	grep("/proc/self/status", "Groups:");
	grep("/proc/self/status", "CapEff:");
	struct stat st;
	printf("proc: %d, owner %u:%u\n", stat("/proc/self/status", &st), st.st_uid, st.st_gid);
	SHOW(setuid(0));
	SHOW(setuid(r));
	SHOW(setgid(0));
	SHOW(setresuid(-1, r, -1));
	SHOW(setgroups(0, NULL));
	struct sigaction sa = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	int pair[2];
	struct ucred cred;
	socklen_t len = sizeof cred;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &cred, &len);
	printf("peer %u:%u\n", cred.uid, cred.gid);

	SHOW(opens("/t/all", O_RDWR));
	SHOW(opens("/t/root", O_RDONLY));
	SHOW(opens("/t/root", O_PATH));
	SHOW(opens("/t/rootread", O_RDONLY));
	SHOW(opens("/t/rootread", O_WRONLY));
	SHOW(opens("/t/rootread", O_RDONLY | O_TRUNC));
	SHOW(opens("/t/rootread", O_RDONLY | O_NOATIME));
	SHOW(opens("/t/mine", O_RDWR));
	SHOW(opens("/t/mine0", O_RDONLY));
	SHOW(opens("/t/group", O_RDONLY));
	SHOW(opens("/t/group", O_WRONLY));
	SHOW(opens("/t/group2", O_RDONLY));
	SHOW(opens("/t/notgroup", O_RDONLY));
	SHOW(opens("/t/new", O_RDWR | O_CREAT));
	SHOW(opens("/t/root", O_RDWR | O_CREAT));
	SHOW(opens("/t/closed/x", O_RDONLY));
	SHOW(opens("/t/closed/nothing", O_RDONLY));
	SHOW(opens("/t/closed", O_RDONLY | O_DIRECTORY));
	SHOW(opens("/t/listed/x", O_RDONLY));
	SHOW(opens("/t/listed", O_RDONLY | O_DIRECTORY));
	SHOW(opens("/t/through/x", O_RDONLY));
	SHOW(opens("/t/through", O_RDONLY | O_DIRECTORY));
	SHOW(opens("/t/link", O_RDONLY));
	SHOW(opens("/t/home", O_TMPFILE | O_RDWR));
	SHOW(opens("/t", O_TMPFILE | O_RDWR));
	SHOW(access("/t/rootread", R_OK));
	SHOW(access("/t/rootread", W_OK));
	SHOW(access("/t/program", X_OK));
	SHOW(access("/t/rootprogram", X_OK));
	SHOW(access("/t/closed", X_OK));
	SHOW(stat("/t/root", &st));
	SHOW(stat("/t/closed/x", &st));
	SHOW(runs("/t/program"));
	SHOW(runs("/t/executeonly"));
	SHOW(runs("/t/rootprogram"));
	SHOW(truncate("/t/rootread", 1));
	SHOW(truncate("/t/all", 1));
	SHOW(chmod("/t/all", 0600));
	SHOW(chmod("/t/mine", 0644));
	SHOW(chmod("/t/foreign", 02755));
	printf("  mode %d %o\n", stat("/t/foreign", &st), st.st_mode);
	SHOW(chown("/t/all", -1, -1));
	SHOW(chown("/t/all", getuid(), -1));
	SHOW(chown("/t/mine", getuid(), -1));
	SHOW(chown("/t/mine", 0, -1));
	SHOW(chown("/t/mine", -1, 1234));
	SHOW(chown("/t/mine", -1, getgid()));
	if (n > 0) {
		SHOW(chown("/t/mine", -1, groups[0]));
		SHOW(chown("/t/mine", -1, getgid()));
	}
	struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}}, old[2] = {{1, 0}, {2, 0}};
	SHOW(utimensat(AT_FDCWD, "/t/all", now, 0));
	SHOW(utimensat(AT_FDCWD, "/t/all", old, 0));
	SHOW(utimensat(AT_FDCWD, "/t/rootread", NULL, 0));
	SHOW(utimensat(AT_FDCWD, "/t/mine", old, 0));

	SHOW(mkdir("/t/new", 0755));
	SHOW(mkdir("/t/all", 0755));
	SHOW(mkdir("/t/home/d", 0755));
	SHOW(mkdir("/t/home/e", 0755));
	SHOW(opens("/t/home/x", O_RDWR | O_CREAT | O_EXCL));
	SHOW(opens("/t/home/0", O_RDWR | O_CREAT | O_EXCL));
	SHOW(chmod("/t/home/0", 0));
	SHOW(opens("/t/home/0", O_RDONLY));
	SHOW(symlink("x", "/t/home/l"));
	SHOW(link("/t/home/x", "/t/home/y"));
	SHOW(link("/t/home/x", "/t/y"));
	SHOW(mkfifo("/t/fifo", 0600));
	SHOW(rename("/t/home/x", "/t/home/z"));
	SHOW(rename("/t/home/z", "/t/z"));
	SHOW(rename("/t/all", "/t/home/all"));
	SHOW(rename("/t/home/d", "/t/home/e/d"));
	SHOW(rename("/t/open/rootdir", "/t/home/rootdir"));
	SHOW(rename("/t/open/roots", "/t/open/other"));
	SHOW(rename("/t/open/other", "/t/open/roots"));
	SHOW(unlink("/t/all"));
	SHOW(unlink("/t/nothing"));
	SHOW(rmdir("/t/open"));
	SHOW(rmdir("/t/closed"));
	SHOW(unlink("/t/sticky/roots"));
	SHOW(unlink("/t/sticky/mine"));
	SHOW(rename("/t/sticky/roots", "/t/sticky/other"));
	SHOW(unlink("/t/home/y"));
	SHOW(unlink("/t/home/z"));
	SHOW(unlink("/t/home/l"));
	SHOW(unlink("/t/home/0"));
	SHOW(rmdir("/t/home/e/d"));
	SHOW(rmdir("/t/home/e"));
	SHOW(opens("/t/setgid/x", O_RDWR | O_CREAT | O_EXCL));
	SHOW(unlink("/t/setgid/x"));

	SHOW(chdir("/t/closed"));
	SHOW(chdir("/t/listed"));
	SHOW(chdir("/t/through"));
	SHOW(opens("x", O_RDONLY));
	SHOW(opens(".", O_RDONLY | O_DIRECTORY));
	SHOW(chdir("/"));
	int in = inotify_init();
	SHOW(inotify_add_watch(in, "/t/root", IN_OPEN));
	SHOW(inotify_add_watch(in, "/t/rootread", IN_OPEN));
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/t/home/socket"};
	int s1 = socket(AF_UNIX, SOCK_STREAM, 0);
	SHOW(bind(s1, (void *)&a, sizeof a));
	SHOW(listen(s1, 4));
	SHOW(connects("/t/home/socket"));
	SHOW(chmod("/t/home/socket", 0400));
	SHOW(connects("/t/home/socket"));
	SHOW(unlink("/t/home/socket"));
	SHOW(opens("/dev/null", O_RDWR));
	SHOW(opens("/dev/urandom", O_RDONLY));
	SHOW(opens("/proc/self/environ", O_RDONLY));
	SHOW(opens("/proc/sys/kernel/hostname", O_WRONLY));
	return 0;
}
