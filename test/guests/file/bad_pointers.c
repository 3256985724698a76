// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: system calls refuse bad pointers with EFAULT, whole or in part, and
// never kill the program.
#include "guest.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>

int main(void) {
	scratch();
	char *bad[] = {NULL, (char *)8, (char *)0x7fffffffe000, (char *)0xffff800000000000, (char *)-1};
	int fd = open("f", O_RDWR | O_CREAT, 0600), fds[2];
	CHECK_EQ(write(fd, "contents", 8), 8);
	CHECK_EQ(pipe(fds), 0);
	for (int i = 0; i < 5; i++) {
		char *p = bad[i];
		CHECK_ERR(syscall(SYS_pread64, fd, p, 4, 0), EFAULT);
		CHECK_ERR(syscall(SYS_pwrite64, fd, p, 4, 0), EFAULT);
		CHECK_ERR(syscall(SYS_write, fds[1], p, 4), EFAULT);
		CHECK_ERR(syscall(SYS_open, p, O_RDONLY), EFAULT);
		CHECK_ERR(syscall(SYS_newfstatat, AT_FDCWD, "f", p, 0), EFAULT);
		CHECK_ERR(syscall(SYS_uname, p), EFAULT);
		CHECK_ERR(syscall(SYS_pipe, p), EFAULT);
		CHECK_ERR(syscall(SYS_nanosleep, p, NULL), EFAULT);
		CHECK_ERR(syscall(SYS_getcwd, p, 100), EFAULT);
		CHECK_ERR(syscall(SYS_writev, fd, p, 1), EFAULT);
		CHECK_ERR(syscall(SYS_poll, p, 1, 0), EFAULT);
		CHECK_ERR(syscall(SYS_getrandom, p, 8, 0), EFAULT);
		if (p) {
			CHECK_ERR(syscall(SYS_rt_sigaction, SIGUSR1, p, NULL, 8), EFAULT);
			CHECK_ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, p, NULL, 8), EFAULT);
			CHECK_ERR(syscall(SYS_sigaltstack, p, NULL), EFAULT);
		}
	}
	// A buffer that ends at the end of a mapping.
	char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(mprotect(m + 4096, 4096, PROT_NONE), 0);
	strcpy(m + 4094, "f");
	struct stat st;
	CHECK_EQ(stat(m + 4094, &st), 0); // its zero is the last byte
	m[4094] = 'n', m[4095] = 'n';
	CHECK_ERR(stat(m + 4094, &st), EFAULT);
	struct iovec v[2] = {{m, 4}, {m + 4096, 4}};
	CHECK_EQ(pread(fd, m + 4088, 8, 0), 8);
	CHECK(memcmp(m + 4088, "contents", 8) == 0);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(readv(fd, v, 2), 4); // what could be read
	CHECK(memcmp(m, "cont", 4) == 0);
	// Reading into memory that may only be read.
	static const char constant[64] = "x";
	CHECK_ERR(syscall(SYS_pread64, fd, constant, 4, 0), EFAULT);
	// A length that leaves the address space is refused before anything is read.
	CHECK_ERR(syscall(SYS_read, fd, m, (size_t)-1 >> 1), EFAULT);
	CHECK_EQ(unlink("f"), 0);
	printf("bad pointers are refused\n");
	return 0;
}
