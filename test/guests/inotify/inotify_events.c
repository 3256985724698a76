// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// inotify(7): which events each operation on files gives to a watched folder and a
// watched file, in which order, with which names and cookies.
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int in;
static uint32_t cookies[64];
static int ncookies;

static const char *const bits[] = {
	"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM", "MOVED_TO",
	"CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF", [13] = "UNMOUNT", [14] = "OVERFLOW", [15] = "IGNORED", [30] = "ISDIR",
};

// show prints and takes the events there are.
static void show(const char *what) {
	static char buf[1 << 16] __attribute__((aligned(8)));
	printf("%s:", what);
	ssize_t n = read(in, buf, sizeof buf);
	if (n < 0) {
		CHECK_EQ(errno, EAGAIN);
		printf(" nothing\n");
		return;
	}
	for (char *p = buf; p < buf + n;) {
		struct inotify_event *e = (void *)p;
		printf(" %d", e->wd);
		for (int i = 0; i < 31; i++)
			if (e->mask >> i & 1)
				printf("%c%s", i == 30 ? '|' : ' ', bits[i] ? bits[i] : "?");
		if (e->cookie) {
			int i = 0;
			while (i < ncookies && cookies[i] != e->cookie)
				i++;
			if (i == ncookies)
				cookies[ncookies++] = e->cookie;
			printf(" cookie %d", i);
		}
		if (e->len) {
			CHECK(e->len % 16 == 0 && strlen(e->name) < e->len && strlen(e->name) + 17 > e->len);
			printf(" '%s'", e->name);
		}
		printf(";");
		p += sizeof *e + e->len;
	}
	printf("\n");
}

static int put(const char *name, int flags) {
	int fd = open(name, flags, 0644);
	CHECK(fd >= 0);
	return fd;
}

int main(void) {
	char buf[256];
	struct stat st;
	scratch();
	CHECK_EQ(mkdir("d", 0755), 0);
	CHECK_EQ(mkdir("other", 0755), 0);
	in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	CHECK(in >= 0);
	CHECK_EQ(inotify_add_watch(in, "d", IN_ALL_EVENTS), 1);
	show("at first");

	int fd = put("d/f", O_RDWR | O_CREAT);
	show("create");
	CHECK_EQ(write(fd, "hello", 5), 5);
	CHECK_EQ(write(fd, "hello", 5), 5);
	show("two writes");
	CHECK_EQ(pread(fd, buf, 5, 0), 5);
	show("read");
	CHECK_EQ(pread(fd, buf, 5, 100), 0);
	CHECK_EQ(write(fd, "", 0), 0);
	show("read and write nothing");
	CHECK_EQ(inotify_add_watch(in, "d/f", IN_ALL_EVENTS), 2);
	CHECK_EQ(ftruncate(fd, 3), 0);
	show("ftruncate");
	CHECK_EQ(fallocate(fd, 0, 0, 100), 0);
	show("fallocate");
	CHECK_EQ(fchmod(fd, 0600), 0);
	show("fchmod");
	CHECK_EQ(chown("d/f", getuid(), -1), 0);
	show("chown");
	CHECK_EQ(close(fd), 0);
	show("close");
	CHECK_EQ(close(put("d/f", O_RDONLY)), 0);
	show("open to read");
	CHECK_EQ(close(put("d/f", O_WRONLY | O_TRUNC)), 0);
	show("open, truncated");
	CHECK_EQ(close(put("d/f", O_PATH)), 0);
	CHECK_EQ(stat("d/f", &st), 0);
	CHECK_EQ(access("d/f", R_OK), 0);
	show("path, stat, access");
	CHECK_EQ(truncate("d/f", 10), 0);
	show("truncate");
	struct timespec ts[2] = {{5, 0}, {6, 0}};
	CHECK_EQ(utimensat(AT_FDCWD, "d/f", ts, 0), 0);
	show("both times");
	ts[0].tv_nsec = UTIME_OMIT;
	CHECK_EQ(utimensat(AT_FDCWD, "d/f", ts, 0), 0);
	show("one time");
	ts[0].tv_nsec = 0, ts[1].tv_nsec = UTIME_OMIT;
	CHECK_EQ(utimensat(AT_FDCWD, "d/f", ts, 0), 0);
	show("the other time");
	CHECK_EQ(link("d/f", "d/g"), 0);
	show("link");
	CHECK_EQ(unlink("d/g"), 0);
	show("unlink one of two");
	CHECK_EQ(rename("d/f", "d/h"), 0);
	show("rename");
	CHECK_EQ(rename("d/h", "other/h"), 0);
	show("rename away");
	CHECK_EQ(close(put("other/h", O_RDONLY)), 0);
	show("open elsewhere");
	CHECK_EQ(rename("other/h", "d/f"), 0);
	show("rename back");
	CHECK_EQ(close(put("d/victim", O_RDWR | O_CREAT)), 0);
	CHECK_EQ(rename("d/victim", "d/f"), 0);
	show("rename over it");
	CHECK_EQ(mkdir("d/sub", 0755), 0);
	CHECK_EQ(symlink("f", "d/link"), 0);
	CHECK_EQ(mkfifo("d/fifo", 0600), 0);
	show("other kinds");
	CHECK_EQ(syscall(SYS_renameat2, AT_FDCWD, "d/link", AT_FDCWD, "d/fifo", 2), 0);
	show("exchange");
	int dir = put("d/sub", O_RDONLY | O_DIRECTORY);
	show("open a folder");
	CHECK_EQ(inotify_add_watch(in, "d/sub", IN_ALL_EVENTS | IN_ONLYDIR), 3);
	CHECK_EQ(chmod("d/sub", 0700), 0);
	show("chmod of a folder");
	CHECK_EQ(rename("d/sub", "d/bus"), 0);
	show("rename of a folder");
	CHECK_EQ(close(dir), 0);
	show("close of a folder");
	CHECK_EQ(rmdir("d/bus"), 0);
	show("rmdir");

	// A file without a name is still watched.
	fd = put("d/f", O_RDWR);
	CHECK_EQ(inotify_add_watch(in, "d/f", IN_ALL_EVENTS), 4);
	show("open");
	CHECK_EQ(unlink("d/f"), 0);
	show("unlink, open");
	CHECK_EQ(write(fd, "x", 1), 1);
	show("write, unlinked");
	CHECK_EQ(close(fd), 0);
	show("last close");

	// Transfers.
	int a = put("other/a", O_RDWR | O_CREAT), b = put("d/b", O_RDWR | O_CREAT), p[2];
	CHECK_EQ(write(a, "0123456789", 10), 10);
	show("b");
	CHECK_EQ(lseek(a, 0, SEEK_SET), 0);
	CHECK_EQ(sendfile(b, a, NULL, 10), 10);
	show("sendfile");
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(write(p[1], "pipe", 4), 4);
	CHECK_EQ(splice(p[0], NULL, b, NULL, 4, 0), 4);
	show("splice");
	char *m = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
	m[0] = 'm';
	CHECK_EQ(munmap(m, 10), 0);
	show("mmap");
	CHECK_EQ(close(b), 0);
	show("close of b");
	CHECK_EQ(unlink("d/b"), 0);
	CHECK_EQ(unlink("d/link"), 0);
	CHECK_EQ(unlink("d/fifo"), 0);
	CHECK_EQ(unlink("other/a"), 0);
	CHECK_EQ(rmdir("other"), 0);
	show("the end");
	CHECK_EQ(rmdir("d"), 0);
	show("the folder itself");
	return 0;
}
