// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// vmsplice(2) both ways, pwritev2(2) with RWF_APPEND, sync_file_range(2), and the
// errors of splice, tee, sendfile and copy_file_range.
#include "guest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif

#define BAD ((void *)8)

int main(void) {
	char a[16], b[16];
	int p[2], q[2];
	scratch();
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe(q), 0);
	struct iovec out[2] = {{"hello ", 6}, {"world", 5}}, in[2] = {{a, 4}, {b, 16}};
	CHECK_EQ(vmsplice(p[1], out, 2, 0), 11);
	CHECK_EQ(vmsplice(p[0], in, 2, SPLICE_F_NONBLOCK), 11);
	printf("%.4s|%.7s\n", a, b);
	CHECK_ERR(vmsplice(p[0], in, 2, SPLICE_F_NONBLOCK), EAGAIN);
	CHECK_EQ(vmsplice(p[1], out, 0, 0), 0);
	static char big[70000];
	struct iovec large = {big, sizeof big};
	CHECK_EQ(vmsplice(p[1], &large, 1, SPLICE_F_NONBLOCK | SPLICE_F_GIFT) > 60000, 1);
	CHECK_ERR(vmsplice(p[1], &large, 1, SPLICE_F_NONBLOCK), EAGAIN);
	CHECK_ERR(vmsplice(p[1], out, 2, 0x100), EINVAL);
	CHECK_ERR(vmsplice(99, out, 2, 0), EBADF);
	CHECK_ERR(vmsplice(q[1], BAD, 1, 0), EFAULT);
	CHECK_ERR(vmsplice(q[1], out, 2000, 0), EINVAL);
	int f = open("f", O_RDWR | O_CREAT, 0600);
	CHECK_ERR(vmsplice(f, out, 2, 0), EBADF);

	// Appending for one call.
	CHECK_EQ(write(f, "0123456789", 10), 10);
	CHECK_EQ(lseek(f, 2, SEEK_SET), 2);
	CHECK_EQ(pwritev2(f, out, 2, 0, RWF_APPEND), 11);
	CHECK_EQ(lseek(f, 0, SEEK_CUR), 2);
	CHECK_EQ(pwritev2(f, out, 1, -1, RWF_APPEND), 6);
	CHECK_EQ(lseek(f, 0, SEEK_CUR), 27);
	CHECK_EQ(fcntl(f, F_GETFL) & O_APPEND, 0);
	char text[64] = "";
	CHECK_EQ(pread(f, text, sizeof text, 0), 27);
	printf("%s\n", text);
	CHECK_ERR(pwritev2(f, out, 1, 0, 0x8000), EOPNOTSUPP);
	CHECK_ERR(preadv2(f, in, 1, 0, 0x8000), EOPNOTSUPP);
	CHECK_ERR(preadv2(f, in, 1, -2, 0), EINVAL);
	CHECK_ERR(preadv2(f, BAD, 1, 0, 0), EFAULT);
	CHECK_ERR(pwritev2(f, BAD, 1, 0, 0), EFAULT);

	// sync_file_range.
	CHECK_EQ(sync_file_range(f, 0, 10, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER), 0);
	CHECK_EQ(sync_file_range(f, 0, 0, 0), 0);
	CHECK_ERR(sync_file_range(f, -1, 10, 0), EINVAL);
	CHECK_ERR(sync_file_range(f, 0, 10, 8), EINVAL);
	CHECK_ERR(sync_file_range(99, 0, 10, 0), EBADF);
	CHECK_ERR(sync_file_range(p[0], 0, 10, 0), ESPIPE);

	// splice and tee.
	off_t off = 3;
	CHECK_EQ(splice(f, &off, q[1], NULL, 5, 0), 5);
	CHECK_EQ(off, 8);
	CHECK_ERR(splice(f, BAD, q[1], NULL, 5, 0), EFAULT);
	CHECK_ERR(splice(q[0], &off, f, NULL, 5, 0), ESPIPE);
	CHECK_ERR(splice(f, NULL, q[1], &off, 5, 0), ESPIPE);
	CHECK_ERR(splice(f, NULL, f, NULL, 5, 0), EINVAL);
	CHECK_ERR(splice(q[0], NULL, q[1], NULL, 5, 0), EINVAL);
	CHECK_ERR(splice(f, NULL, q[1], NULL, 5, 0x100), EINVAL);
	CHECK_ERR(splice(99, NULL, q[1], NULL, 5, 0), EBADF);
	CHECK_ERR(splice(f, NULL, 99, NULL, 5, 0), EBADF);
	CHECK_ERR(splice(q[1], NULL, q[0], NULL, 5, 0), EBADF);
	CHECK_EQ(splice(f, NULL, q[1], NULL, 0, 0), 0);
	off = -1;
	CHECK_ERR(splice(f, &off, q[1], NULL, 5, 0), EINVAL);
	CHECK_ERR(tee(f, q[1], 5, 0), EINVAL);
	CHECK_ERR(tee(q[0], q[1], 5, 0), EINVAL);
	CHECK_ERR(tee(q[0], 99, 5, 0), EBADF);

	// sendfile and copy_file_range.
	int g = open("g", O_RDWR | O_CREAT, 0600), ap = open("g", O_WRONLY | O_APPEND);
	CHECK_ERR(sendfile(g, f, BAD, 5), EFAULT);
	CHECK_ERR(sendfile(99, f, NULL, 5), EBADF);
	CHECK_ERR(sendfile(g, 99, NULL, 5), EBADF);
	CHECK_ERR(sendfile(ap, f, NULL, 5), EINVAL);
	off = -1;
	CHECK_ERR(sendfile(g, f, &off, 5), EINVAL);
	off = 25;
	CHECK_EQ(sendfile(g, f, &off, 100), 2);
	CHECK_EQ(sendfile(g, f, &off, 100), 0);
	CHECK_EQ(off, 27);
	off_t to = 100;
	off = 0;
	CHECK_EQ(copy_file_range(f, &off, g, &to, 10, 0), 10);
	CHECK_EQ(off, 10);
	CHECK_EQ(to, 110);
	CHECK_EQ(lseek(g, 0, SEEK_END), 110);
	CHECK_ERR(copy_file_range(f, &off, g, &to, 10, 1), EINVAL);
	CHECK_ERR(copy_file_range(f, BAD, g, &to, 10, 0), EFAULT);
	CHECK_ERR(copy_file_range(f, &off, g, BAD, 10, 0), EFAULT);
	CHECK_ERR(copy_file_range(f, NULL, ap, NULL, 10, 0), EBADF);
	CHECK_ERR(copy_file_range(p[0], NULL, g, NULL, 10, 0), EINVAL);
	off = 0, to = 5;
	CHECK_ERR(copy_file_range(f, &off, f, &to, 10, 0), EINVAL);
	CHECK_EQ(unlink("f"), 0);
	CHECK_EQ(unlink("g"), 0);
	return 0;
}
