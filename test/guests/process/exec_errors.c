// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What execve(2) and execveat(2) refuse; the program goes on as if nothing had been.
#include "process.h"
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

static char *none[] = {NULL};
static char *args[] = {"x", NULL};
static char *env[] = {NULL};

static void put(const char *name, const void *data, size_t n, int mode) {
	int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n && fchmod(fd, mode) == 0 && close(fd) == 0);
}

static void text(const char *name, const char *s) { put(name, s, strlen(s), 0700); }

int main(void) {
	scratch();
	SHOW(execve("missing", args, env));
	SHOW(execve("", args, env));
	SHOW(execve(BAD, args, env));
	SHOW(execve("/", args, env));
	SHOW(execve("/dev/null", args, env));
	SHOW(execve("missing/x", args, env));
	put("plain", "#!/bin/true\n", 12, 0600);
	SHOW(execve("plain", args, env));
	SHOW(execve("plain/x", args, env));
	put("empty", "", 0, 0700);
	SHOW(execve("empty", args, env));
	text("garbage", "not a program\n");
	SHOW(execve("garbage", args, env));
	CHECK(symlink("loop", "loop") == 0 && symlink("empty", "link") == 0 && symlink("missing", "dangling") == 0);
	SHOW(execve("loop", args, env));
	SHOW(execve("link", args, env));
	SHOW(execve("dangling", args, env));
	static char longname[300], longpath[5000];
	memset(longname, 'a', sizeof longname - 1);
	memset(longpath, '/', sizeof longpath - 1);
	SHOW(execve(longname, args, env));
	SHOW(execve(longpath, args, env));

	// Arguments.
	SHOW(execve("garbage", BAD, env));
	SHOW(execve("garbage", args, BAD));
	char *bad[] = {"x", (char *)BAD, NULL};
	SHOW(execve("garbage", bad, env));
	SHOW(execve("garbage", args, bad));
	SHOW(execve("garbage", NULL, NULL));
	SHOW(execve("garbage", none, none));
	size_t size = 128 << 10;
	char *big = malloc(size + 1);
	memset(big, 'b', size);
	big[size] = 0;
	char *one[] = {big, NULL};
	SHOW(execve("garbage", one, env));
	big[size - 1] = 0;
	SHOW(execve("garbage", one, env));
	static char *many[40];
	for (int i = 0; i < 20; i++)
		many[i] = big;
	SHOW(execve("garbage", many, env));
	SHOW(execve("garbage", args, many));
	SHOW(execve("missing", many, env));

	// Files that begin well.
	Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1,
			.e_phentsize = sizeof(Elf64_Phdr), .e_ehsize = sizeof h};
	put("header", &h, sizeof h, 0700);
	SHOW(execve("header", args, env));
	put("short", &h, 20, 0700);
	SHOW(execve("short", args, env));
	h.e_machine = EM_AARCH64;
	put("foreign", &h, sizeof h, 0700);
	SHOW(execve("foreign", args, env));
	h.e_machine = EM_X86_64, h.e_type = ET_REL;
	put("object", &h, sizeof h, 0700);
	SHOW(execve("object", args, env));

	// Scripts.
	text("s1", "#!missing\n");
	SHOW(execve("s1", args, env));
	text("s2", "#!\n");
	SHOW(execve("s2", args, env));
	text("s3", "#!   \t  \nx");
	SHOW(execve("s3", args, env));
	text("s4", "#!./plain\n");
	SHOW(execve("s4", args, env));
	text("s5", "#!.\n");
	SHOW(execve("s5", args, env));
	text("s6", "#!./s6\n");
	SHOW(execve("s6", args, env));
	text("s7", "#!./garbage\n");
	SHOW(execve("s7", args, env));
	text("s8", "#!./s1 with an argument\n");
	SHOW(execve("s8", args, env));
	static char line[400] = "#!/";
	memset(line + 3, 'x', 390);
	text("s9", line);
	SHOW(execve("s9", args, env));

	// execveat.
	int dir = open(".", O_RDONLY | O_DIRECTORY), file = open("garbage", O_RDONLY);
	CHECK(dir >= 0 && file >= 0);
	SHOW(syscall(SYS_execveat, dir, "garbage", args, env, 0));
	SHOW(syscall(SYS_execveat, dir, "garbage", args, env, 1));
	SHOW(syscall(SYS_execveat, dir, "", args, env, 0));
	SHOW(syscall(SYS_execveat, dir, "", args, env, AT_EMPTY_PATH));
	SHOW(syscall(SYS_execveat, file, "", args, env, AT_EMPTY_PATH));
	SHOW(syscall(SYS_execveat, file, "x", args, env, 0));
	SHOW(syscall(SYS_execveat, 999, "garbage", args, env, 0));
	SHOW(syscall(SYS_execveat, 999, "", args, env, AT_EMPTY_PATH));
	SHOW(syscall(SYS_execveat, 999, "/missing", args, env, 0));
	SHOW(syscall(SYS_execveat, dir, "link", args, env, AT_SYMLINK_NOFOLLOW));
	SHOW(syscall(SYS_execveat, dir, "loop", args, env, AT_SYMLINK_NOFOLLOW));
	int p[2];
	CHECK(pipe(p) == 0);
	SHOW(syscall(SYS_execveat, p[0], "", args, env, AT_EMPTY_PATH));
	// A script behind a descriptor that its interpreter would not have.
	int script = open("s4", O_RDONLY | O_CLOEXEC);
	SHOW(syscall(SYS_execveat, script, "", args, env, AT_EMPTY_PATH));

	const char *files[] = {"plain", "empty", "garbage", "loop", "link", "dangling", "header", "short", "foreign", "object",
			       "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"};
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		CHECK(unlink(files[i]) == 0);
	puts("alive");
}
