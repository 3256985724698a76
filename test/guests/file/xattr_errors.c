// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what extended attribute calls answer before they come to the attributes, which
// files of a machine do not have: names, values, flags, files that cannot have any.
#include "guest.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static char b[100], name[300] = "user.";

int main(void) {
	scratch();
	drop_privileges();
	memset(name + 5, 'a', sizeof name - 6);
	int fd = open("f", O_RDWR | O_CREAT, 0600), path = open("f", O_PATH);
	CHECK(fd >= 0 && path >= 0);
	CHECK_EQ(symlink("f", "l"), 0);
	CHECK_EQ(mkfifo("p", 0600), 0);

	SHOW(getxattr("f", "", b, sizeof b));
	SHOW(getxattr("f", name, b, sizeof b));
	SHOW(getxattr("f", BAD, b, sizeof b));
	SHOW(getxattr(BAD, "user.a", b, sizeof b));
	SHOW(getxattr("none", "user.a", b, sizeof b));
	SHOW(getxattr("", "user.a", b, sizeof b));
	SHOW(getxattr("f", "a", b, sizeof b));
	SHOW(getxattr("f", "x.a", b, sizeof b));
	SHOW(lgetxattr("l", "user.a", b, sizeof b));
	SHOW(getxattr("p", "user.a", b, sizeof b));
	SHOW(getxattr("f", "trusted.a", b, sizeof b));
	SHOW(fgetxattr(-1, "user.a", b, sizeof b));
	SHOW(fgetxattr(path, "user.a", b, sizeof b));
	SHOW(fgetxattr(-1, "", b, sizeof b));

	SHOW(setxattr("f", "", "v", 1, 0));
	SHOW(setxattr("f", name, "v", 1, 0));
	SHOW(setxattr("f", BAD, "v", 1, 0));
	SHOW(setxattr("f", "user.a", BAD, 1, 0));
	SHOW(setxattr("f", "user.a", "v", 1, 4));
	SHOW(setxattr("f", "user.a", BAD, 65537, 0));
	SHOW(setxattr("f", "user.a", BAD, SIZE_MAX, 0));
	SHOW(setxattr("none", "user.a", BAD, 1, 4));
	SHOW(setxattr("none", "user.a", "v", 1, 0));
	SHOW(setxattr("f", "x.a", "v", 1, XATTR_CREATE));
	SHOW(lsetxattr("l", "user.a", "v", 1, 0));
	SHOW(setxattr("p", "user.a", "v", 1, 0));
	SHOW(setxattr("f", "trusted.a", "v", 1, 0));
	SHOW(fsetxattr(-1, "user.a", "v", 1, 0));
	SHOW(fsetxattr(path, "user.a", "v", 1, 0));

	SHOW(removexattr("f", ""));
	SHOW(removexattr("f", name));
	SHOW(removexattr("f", BAD));
	SHOW(removexattr("none", "user.a"));
	SHOW(lremovexattr("l", "user.a"));
	SHOW(removexattr("p", "user.a"));
	SHOW(removexattr("f", "x.a"));
	SHOW(removexattr("f", "trusted.a"));
	SHOW(fremovexattr(-1, "user.a"));
	SHOW(fremovexattr(path, "user.a"));

	SHOW(listxattr("f", b, sizeof b));
	SHOW(listxattr("f", NULL, 0));
	SHOW(llistxattr("l", b, sizeof b));
	SHOW(listxattr("none", b, sizeof b));
	SHOW(flistxattr(fd, b, sizeof b));
	SHOW(flistxattr(path, b, sizeof b));
	SHOW(flistxattr(-1, b, sizeof b));
	CHECK(unlink("f") == 0 && unlink("l") == 0 && unlink("p") == 0);
	return 0;
}
