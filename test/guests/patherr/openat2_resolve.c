// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// openat2(2): RESOLVE_BENEATH, IN_ROOT, NO_XDEV, NO_SYMLINKS and NO_MAGICLINKS cannot
// be left by "..", absolute paths, links or magic links.
#include "guest.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int dir;

static int try(const char *path, uint64_t resolve) {
	struct open_how how = {.flags = O_PATH, .resolve = resolve};
	int fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

int main(void) {
	char up[128];
	const char *here = scratch();
	CHECK_EQ(mkdir("r", 0700), 0);
	CHECK_EQ(mkdir("r/in", 0700), 0);
	CHECK_EQ(close(open("r/file", O_CREAT | O_RDWR, 0600)), 0);
	CHECK_EQ(close(open("out", O_CREAT | O_RDWR, 0600)), 0);
	CHECK_EQ(symlink("../out", "r/up"), 0);
	CHECK_EQ(symlink("../file", "r/in/back"), 0);
	CHECK_EQ(symlink("/file", "r/abs"), 0);
	CHECK_EQ(symlink("/proc/self/root", "r/magic"), 0);
	CHECK_EQ(symlink("in/../../out", "r/sly"), 0);
	CHECK_EQ(symlink("loop", "r/loop"), 0);
	snprintf(up, sizeof up, "%s/out", here);
	CHECK_EQ(symlink(up, "r/far"), 0);
	dir = open("r", O_PATH | O_DIRECTORY);
	static const char *const paths[] = {
		".", "file", "in", "in/..", "in/../file", "..", "../out", "../r/file", "in/../../out", "in/../../r", "up", "in/back", "abs", "/file", "/",
		"sly", "loop", "far", "none", "none/..", "file/..", "file/.", "in/../in/../file", "../../../../../../file",
	};
	static const struct {
		const char *name;
		uint64_t bits;
	} how[] = {{"none", 0}, {"beneath", RESOLVE_BENEATH}, {"root", RESOLVE_IN_ROOT}, {"links", RESOLVE_NO_SYMLINKS}, {"magic", RESOLVE_NO_MAGICLINKS}};
	for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
		printf("%s:", paths[i]);
		for (unsigned j = 0; j < sizeof how / sizeof *how; j++)
			if (j > 0 || (paths[i][0] != '/' && strcmp(paths[i], "abs")))
				printf(" %s %d", how[j].name, try(paths[i], how[j].bits));
		printf("\n");
	}
	// Magic links.
	dir = open("/proc/self/", O_PATH);
	printf("magic: %d %d %d %d %d\n", try("root", 0), try("root/tmp", RESOLVE_NO_MAGICLINKS), try("cwd", RESOLVE_BENEATH), try("cwd", RESOLVE_IN_ROOT), try("root", RESOLVE_NO_SYMLINKS));
	dir = open("/", O_PATH);
	printf("device: %d %d\n", try("proc/version", RESOLVE_NO_XDEV), try("etc", RESOLVE_NO_XDEV));
	dir = AT_FDCWD;
	CHECK_EQ(try("r", RESOLVE_BENEATH | RESOLVE_IN_ROOT), EINVAL);
	CHECK_EQ(try("r", 0x1000), EINVAL);
	struct open_how bad = {.flags = O_RDONLY, .mode = 0600};
	CHECK_ERR(syscall(SYS_openat2, dir, "r", &bad, sizeof bad), EINVAL);
	bad.mode = 0, bad.flags = 1ULL << 40;
	CHECK_ERR(syscall(SYS_openat2, dir, "r", &bad, sizeof bad), EINVAL);
	char large[64] = {0};
	CHECK_EQ(syscall(SYS_openat2, dir, "r", large, sizeof large) >= 0, 1);
	large[50] = 1;
	CHECK_ERR(syscall(SYS_openat2, dir, "r", large, sizeof large), E2BIG);
	CHECK_EQ(unlink("r/up") | unlink("r/in/back") | unlink("r/abs") | unlink("r/magic") | unlink("r/sly") | unlink("r/loop") | unlink("r/far"), 0);
	CHECK_EQ(unlink("r/file") | unlink("out") | rmdir("r/in") | rmdir("r"), 0);
	return 0;
}
