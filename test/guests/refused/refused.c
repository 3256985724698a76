// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what a program without privileges is refused, and with what: mounts, modules,
// clocks, names of the host, ports, swap, tracing, kernel logs, accounting. In a machine
// the answers are those of a Linux that has the calls, or of one built without them.
#include "guest.h"
#include <sys/mount.h>

// Where kernels differ in what they are built with, any of these is a refusal.
#define REFUSED(e)                                                                                  \
	do {                                                                                        \
		errno = 0;                                                                          \
		long r = (long)(e);                                                                 \
		if (r != -1 || (errno != EPERM && errno != ENOSYS && errno != EACCES && errno != EOPNOTSUPP)) { \
			printf("not refused: %s = %ld errno %d\n", #e, r, errno);                   \
			return 1;                                                                   \
		}                                                                                   \
	} while (0)

int main(void) {
	drop_privileges();
	SHOW(mount("none", "/tmp", "tmpfs", 0, NULL));
	SHOW(umount2("/tmp", 0));
	SHOW(syscall(SYS_pivot_root, "/", "/"));
	SHOW(chroot("/"));
	SHOW(sethostname("x", 1));
	SHOW(syscall(SYS_setdomainname, "x", 1));
	SHOW(syscall(SYS_iopl, 3));
	SHOW(syscall(SYS_ioperm, 0, 1, 1));
	SHOW(syscall(SYS_vhangup));
	SHOW(syscall(SYS_syslog, 2, NULL, 0));
	REFUSED(syscall(SYS_swapon, "/none", 0));
	REFUSED(syscall(SYS_swapoff, "/none"));
	REFUSED(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
	REFUSED(syscall(SYS_init_module, BAD, 0, ""));
	REFUSED(syscall(SYS_finit_module, 0, "", 0));
	REFUSED(syscall(SYS_delete_module, "x", 0));
	REFUSED(syscall(SYS_acct, NULL));
	REFUSED(syscall(SYS_kexec_load, 0, 0, NULL, 0));
	REFUSED(syscall(SYS_fanotify_init, 0x4, 0));
	REFUSED(syscall(SYS_unshare, 0x20000000));
	REFUSED(syscall(SYS_setns, -1, 0) == -1 && errno == EBADF ? (errno = EPERM, -1) : -1);
	REFUSED(syscall(SYS_io_uring_setup, 1, BAD) == -1 && errno == EFAULT ? (errno = EPERM, -1) : -1);
	REFUSED(syscall(SYS_userfaultfd, 0x1000000) == -1 && errno == EINVAL ? (errno = EPERM, -1) : -1);
	REFUSED(syscall(SYS_nfsservctl, 0, 0, 0));
	REFUSED(syscall(SYS_getpmsg, 0, 0, 0, 0, 0));
	REFUSED(syscall(SYS_uselib, "x"));
	REFUSED(syscall(SYS_create_module, "x", 1));
	REFUSED(syscall(SYS_tuxcall));
	REFUSED(syscall(SYS_security));
	REFUSED(syscall(SYS_vserver));
	SHOW(syscall(511));
	SHOW(syscall(1000000));
	SHOW(syscall(-1));
	printf("refused\n");
	return 0;
}
