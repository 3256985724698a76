// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What libraries read of /proc, /sys and /dev: that the files are there, have the form
// that proc(5) says, and agree with each other; which names are links to where.
#include "guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

static char text[1 << 20];

static const char *get(const char *path) {
	int fd = open(path, O_RDONLY);
	if (fd < 0) {
		printf("%s: errno %d\n", path, errno);
		_exit(1);
	}
	ssize_t n, total = 0;
	while ((n = read(fd, text + total, sizeof text - 1 - total)) > 0)
		total += n;
	CHECK(n == 0);
	text[total] = 0;
	CHECK_EQ(close(fd), 0);
	return text;
}

static long field(const char *path, const char *name) {
	const char *p = strstr(get(path), name);
	if (p == NULL)
		printf("%s: no %s\n", path, name);
	CHECK(p != NULL);
	return strtol(p + strlen(name), NULL, 0);
}

int main(void) {
	char buf[256], name[64];
	struct stat st, st2;
	struct statfs fs;
	scratch();
	CHECK_EQ(field("/proc/self/status", "\nPid:"), getpid());
	CHECK_EQ(field("/proc/self/status", "\nTgid:"), getpid());
	CHECK(field("/proc/self/status", "\nThreads:") == 1);
	CHECK(field("/proc/self/status", "\nVmRSS:") > 0);
	CHECK(strtol(get("/proc/self/stat"), NULL, 10) == getpid());
	CHECK(strtol(get("/proc/self/statm"), NULL, 10) > 0);
	CHECK(field("/proc/meminfo", "MemTotal:") > 1000);
	CHECK(field("/proc/meminfo", "MemAvailable:") > 0);
	CHECK(strstr(get("/proc/cpuinfo"), "processor\t: 0\n") != NULL);
	CHECK(strncmp(get("/proc/stat"), "cpu ", 4) == 0);
	CHECK(strtod(get("/proc/uptime"), NULL) >= 0);
	CHECK(strncmp(get("/proc/version"), "Linux version ", 14) == 0);
	CHECK(strchr(get("/proc/loadavg"), '/') != NULL);
	CHECK(strstr(get("/proc/filesystems"), "nodev\tproc\n") != NULL);
	CHECK(strstr(get("/proc/self/mounts"), " /proc proc ") != NULL);
	CHECK(strstr(get("/proc/self/mountinfo"), " / /proc ") != NULL);
	CHECK(strstr(get("/proc/self/limits"), "Max open files") != NULL);
	CHECK(strstr(get("/proc/self/maps"), "[stack]") != NULL);
	CHECK(strstr(get("/proc/self/cgroup"), ":/") != NULL);
	CHECK(strncmp(get("/proc/sys/kernel/ostype"), "Linux", 5) == 0);
	CHECK(atol(get("/proc/sys/kernel/pid_max")) >= 32768);
	CHECK(atol(get("/proc/sys/kernel/cap_last_cap")) >= 37);
	CHECK(atol(get("/proc/sys/vm/max_map_count")) >= 65530);
	CHECK(atol(get("/proc/sys/net/core/somaxconn")) > 0);
	CHECK(atol(get("/proc/sys/fs/nr_open")) > 0);
	CHECK(atol(get("/proc/sys/fs/inotify/max_user_watches")) > 0);
	get("/proc/sys/vm/overcommit_memory");
	// A uuid is another one each time, the boot's is not.
	strcpy(buf, get("/proc/sys/kernel/random/uuid"));
	CHECK_EQ(strlen(buf), 37);
	CHECK(buf[14] == '4' && strchr("89ab", buf[19]) != NULL);
	CHECK(strcmp(buf, get("/proc/sys/kernel/random/uuid")) != 0);
	strcpy(buf, get("/proc/sys/kernel/random/boot_id"));
	CHECK_EQ(strcmp(buf, get("/proc/sys/kernel/random/boot_id")), 0);
	// Descriptors.
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_EQ(lseek(fd, 77, SEEK_SET), 77);
	snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
	CHECK_EQ(field(name, "pos:\t"), 77);
	long flags = field(name, "flags:\t");
	printf("flags %lo\n", flags & (O_ACCMODE | O_CLOEXEC));
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(field(name, "ino:\t"), (long)st.st_ino);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	CHECK_EQ(stat(name, &st2), 0);
	CHECK(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev);
	ssize_t n = readlink(name, buf, sizeof buf);
	CHECK(n > 2 && strcmp(strrchr((buf[n] = 0, buf), '/'), "/f") == 0);
	CHECK_EQ(unlink("f"), 0);
	n = readlink(name, buf, sizeof buf);
	CHECK(n > 10 && memcmp(buf + n - 10, " (deleted)", 10) == 0);
	CHECK_ERR(open("/proc/self/fd/999", O_RDONLY), ENOENT);
	CHECK_ERR(open("/proc/999999", O_RDONLY), ENOENT);
	// Links.
	CHECK_EQ(readlink("/proc/self/cwd", buf, sizeof buf) > 5, 1);
	CHECK_EQ(readlink("/proc/self/root", buf, sizeof buf), 1);
	CHECK(readlink("/proc/self/exe", buf, sizeof buf) > 1);
	n = readlink("/proc/self/ns/pid", buf, sizeof buf);
	CHECK(n > 6 && memcmp(buf, "pid:[", 5) == 0);
	n = readlink("/proc/self", buf, sizeof buf);
	buf[n] = 0;
	CHECK_EQ(atol(buf), getpid());
	// File systems and devices.
	CHECK_EQ(statfs("/proc", &fs), 0);
	CHECK_EQ(fs.f_type, 0x9fa0);
	CHECK_EQ(statfs("/sys", &fs), 0);
	CHECK_EQ(fs.f_type, 0x62656572);
	static const struct {
		const char *name;
		int major, minor;
	} dev[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
	for (unsigned i = 0; i < sizeof dev / sizeof *dev; i++) {
		snprintf(name, sizeof name, "/dev/%s", dev[i].name);
		CHECK_EQ(stat(name, &st), 0);
		CHECK(S_ISCHR(st.st_mode) && (int)major(st.st_rdev) == dev[i].major && (int)minor(st.st_rdev) == dev[i].minor);
	}
	CHECK_ERR(open("/dev/tty", O_RDWR), ENXIO);
	CHECK_EQ(readlink("/dev/fd", buf, sizeof buf), 13);
	CHECK_EQ(readlink("/dev/stdin", buf, sizeof buf), 15);
	CHECK_EQ(access("/dev/shm", W_OK) | access("/tmp", W_OK), 0);
	CHECK(get("/sys/devices/system/cpu/online")[0] == '0');
	CHECK(get("/sys/devices/system/cpu/possible")[0] == '0');
	CHECK(strlen(get("/sys/devices/system/cpu/cpu0/topology/core_id")) > 1);
	// What cannot be written.
	CHECK_ERR(mkdir("/proc/x", 0700), ENOENT);
	CHECK_ERR(unlink("/proc/self/status"), EPERM);
	puts("ok");
	return 0;
}
