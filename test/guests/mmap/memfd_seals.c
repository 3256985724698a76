// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// memfd_create(2): its flags, and each seal's effect on write, truncate, fallocate,
// mmap and mprotect.
#include "guest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096L
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

static int sealed(unsigned seals) {
	int fd = memfd_create("s", MFD_ALLOW_SEALING);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, PAGE), 0);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
	CHECK_EQ(fcntl(fd, F_GET_SEALS), seals);
	return fd;
}

// show prints what the seals refuse.
static void show(const char *what, unsigned seals) {
	static char data[2 * PAGE];
	int fd = sealed(seals);
#define E(e) ((e) < 0 ? errno : 0)
	printf("%s: write %d, past the end %d", what, E(pwrite(fd, "x", 1, 0)), E(pwrite(fd, "x", 1, PAGE)));
	printf(", both %ld", (long)pwrite(fd, data, sizeof data, 0));
	printf(", shrink %d", E(ftruncate(fd, 10)));
	printf(", grow %d", E(ftruncate(fd, 3 * PAGE)));
	printf(", allocate %d", E(fallocate(fd, 0, 0, 4 * PAGE)));
	printf(", punch %d", E(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE)));
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	printf(", map %d", p == MAP_FAILED ? errno : 0);
	if (p != MAP_FAILED)
		munmap(p, PAGE);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	printf(", map to read %d", p == MAP_FAILED ? errno : 0);
	if (p != MAP_FAILED) {
		printf(", protect %d", E(mprotect(p, PAGE, PROT_READ | PROT_WRITE)));
		munmap(p, PAGE);
	}
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	printf(", private %d\n", p == MAP_FAILED ? errno : 0);
	munmap(p, PAGE);
	close(fd);
}

int main(void) {
	struct stat st;
	char name[260];
	int fd = memfd_create("plain", 0);
	CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
	CHECK_ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	CHECK_EQ(fcntl(fd, F_GETFD), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	printf("%o %ld %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	char to[64];
	ssize_t n = readlink(name, to, sizeof to);
	printf("%.*s\n", (int)n, to);
	int again = open(name, O_RDONLY);
	CHECK(again >= 0);
	CHECK_ERR(linkat(AT_FDCWD, name, AT_FDCWD, "/tmp/never", AT_SYMLINK_FOLLOW), EXDEV);
	close(fd);
	fd = memfd_create("", MFD_CLOEXEC);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);

	show("none", 0);
	show("seal", F_SEAL_SEAL);
	show("shrink", F_SEAL_SHRINK);
	show("grow", F_SEAL_GROW);
	show("write", F_SEAL_WRITE);
	show("future", F_SEAL_FUTURE_WRITE);
	show("all", F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);

	// A mapping that could write is in the way of F_SEAL_WRITE, not of the future's.
	fd = sealed(0);
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK_ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	p[0] = 'm';
	char c;
	CHECK_EQ(pread(fd, &c, 1, 0), 1);
	CHECK_EQ(c, 'm');
	CHECK_ERR(pwrite(fd, "x", 1, 0), EPERM);
	CHECK_EQ(munmap(p, PAGE), 0);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	CHECK_ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM);
	CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);

	// No execution.
	fd = memfd_create("n", MFD_NOEXEC_SEAL);
	CHECK(fd >= 0);
	CHECK_EQ(fstat(fd, &st), 0);
	printf("%o %x\n", st.st_mode, fcntl(fd, F_GET_SEALS));
	CHECK_ERR(fchmod(fd, 0777), EPERM);
	CHECK_EQ(fchmod(fd, 0600), 0);

	// Errors.
	CHECK_ERR(fcntl(fd, F_ADD_SEALS, 0x100), EINVAL);
	CHECK_ERR(fcntl(0, F_GET_SEALS), EINVAL);
	CHECK_ERR(fcntl(99, F_GET_SEALS), EBADF);
	snprintf(name, sizeof name, "/proc/self/fd/%d", sealed(0));
	int ro = open(name, O_RDONLY);
	CHECK_ERR(fcntl(ro, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	CHECK_ERR(memfd_create("x", 0x4000), EINVAL);
	CHECK_ERR(memfd_create((char *)8, 0), EFAULT);
	memset(name, 'n', sizeof name);
	name[249] = 0;
	CHECK(memfd_create(name, 0) >= 0);
	name[249] = 'n', name[250] = 0;
	CHECK_ERR(memfd_create(name, 0), EINVAL);
	return 0;
}
