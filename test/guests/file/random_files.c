// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Random calls on files, each printed with its outcome: the native run, on Linux's tmpfs,
// says what is right. argv: the first seed, the number of seeds, calls for each.
#include "../guest.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

enum { SLOTS = 6, MAPS = 3, PAGE = 4096, BUF = 3 * PAGE };

static uint64_t state;
static unsigned below(unsigned n) { // xorshift64*
	state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
	return (state * 2685821657736338717ull >> 33) % n;
}
#define PICK(list) ((list)[below(sizeof(list) / sizeof *(list))])

static int base;        // deep enough that three times ".." stay inside
static int slots[SLOTS]; // open files; -1 for none
static struct {
	char *at;
	size_t size;
	int write;
} maps[MAPS];
static char buf[BUF];

static uint64_t hash(const void *p, size_t n) { // FNV-1a
	uint64_t h = 14695981039346656037ull;
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const unsigned char *)p)[i]) * 1099511628211ull;
	return h;
}

static void fill(size_t n) {
	for (size_t i = 0; i < n; i++)
		buf[i] = below(256);
}

// outcome prints a call and what came of it.
__attribute__((format(printf, 2, 3))) static void outcome(long got, const char *format, ...) {
	int err = errno;
	va_list ap;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	if (got == -1)
		printf(": %s\n", strerrorname_np(err));
	else
		printf(" = %ld\n", got);
}

// path makes a random path. Only from the base may it climb.
static const char *path(int climb) {
	static char text[4][300];
	static int turn;
	static const char *const parts[] = {"a", "b", "c", "d", "a", "b", "c", "d", "a", "b", ".", ".."};
	char *p = text[turn++ % 4];
	*p = 0;
	for (unsigned n = 1 + below(3); n > 0; n--) {
		strcat(p, parts[below(climb ? 12 : 11)]);
		if (n > 1)
			strcat(p, below(12) ? "/" : "//");
	}
	switch (below(60)) {
	case 0: case 1: strcat(p, "/"); break;
	case 2: *p = 0; break;
	case 3: strcat(p, "/"), memset(strchr(p, 0), 0, 280), memset(strchr(p, 0), 'n', 254 + below(3)); break;
	}
	return p;
}

// A place is a path and what it is relative to.
struct place {
	int dir;
	const char *path;
	int slot; // -1 for the base
};
static struct place place(void) {
	struct place p = {base, NULL, -1};
	if (below(6) == 0)
		p.slot = below(SLOTS), p.dir = slots[p.slot];
	p.path = path(p.slot < 0);
	return p;
}

// some_mode returns a mode that the owner can do with, with the right to execute for all
// or for none: in a machine, as for a root with all capabilities, one of them is enough.
static int some_mode(int least) { return least | (below(2) || least == 0700 ? 0111 : 0) | (below(64) & 066); }

static int blocks; // to be shown
static int sparse; // holes are looked for
static void show_stat(const struct stat *st) {
	printf("  mode %o links %lu", st->st_mode, (long)st->st_nlink);
	if (!S_ISDIR(st->st_mode)) // their size is the file system's own
		printf(" size %ld", (long)st->st_size);
	if (S_ISREG(st->st_mode) && blocks)
		printf(" blocks %ld", (long)st->st_blocks);
	if (st->st_mtim.tv_sec < 1000000000 && blocks) // it was set; what else it is is the time of the run
		printf(" changed at %ld.%09ld", (long)st->st_mtim.tv_sec, (long)st->st_mtim.tv_nsec);
	printf("\n");
}

static int order(const void *a, const void *b) { return strcmp(a, b); }

// show_dir prints the names of an open folder in order.
static void show_dir(int fd) {
	static char names[64][280];
	int n = 0;
	long got;
	if (lseek(fd, 0, SEEK_SET) != 0)
		printf("  lseek: %s\n", strerrorname_np(errno));
	while ((got = syscall(SYS_getdents64, fd, buf, 2000)) > 0)
		for (long at = 0; at < got && n < 64;) {
			struct {
				uint64_t ino, off;
				uint16_t size;
				uint8_t type;
				char name[];
			} *e = (void *)(buf + at);
			snprintf(names[n++], sizeof *names, "%s:%d", e->name, e->type);
			at += e->size;
		}
	if (got < 0)
		printf("  getdents64: %s\n", strerrorname_np(errno));
	qsort(names, n, sizeof *names, order);
	for (int i = 0; i < n; i++)
		printf("  %.40s\n", names[i]);
}

static void shut(int i) {
	if (slots[i] >= 0)
		CHECK(close(slots[i]) == 0);
	slots[i] = -1;
}

static void open_one(int i) {
	static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
	static const int extra[] = {O_CREAT, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH};
	struct place p = place();
	shut(i);
	switch (below(16)) {
	case 0: {
		int flags = PICK(((const int[]){0, 1, 2, 3, 8, 0x40}));
		slots[i] = memfd_create("memory", flags);
		outcome(slots[i] >= 0 ? 0 : -1, "memfd_create %#x as %d", flags, i);
		return;
	}
	case 1: case 2: {
		int flags = O_TMPFILE | PICK(modes) | (below(3) ? 0 : O_EXCL);
		slots[i] = openat(p.dir, p.path, flags, 0640);
		outcome(slots[i] >= 0 ? 0 : -1, "tmpfile in %d %s %#x as %d", p.slot, p.path, flags, i);
		return;
	}
	case 3: {
		struct open_how how = {.flags = PICK(modes) | O_NONBLOCK, .resolve = below(32)}; // RESOLVE_CACHED depends on what is cached
		if (below(3) == 0)
			how.flags |= O_CREAT, how.mode = 0600;
		slots[i] = syscall(SYS_openat2, p.dir, p.path, &how, sizeof how);
		outcome(slots[i] >= 0 ? 0 : -1, "openat2 %d %s %#llx resolve %#llx as %d", p.slot, p.path, how.flags, how.resolve, i);
		return;
	}
	}
	int flags = PICK(modes) | O_NONBLOCK;
	for (size_t k = 0; k < sizeof extra / sizeof *extra; k++)
		if (below(5) == 0)
			flags |= extra[k];
	if ((flags & (O_CREAT | O_EXCL)) == O_EXCL) // undefined without O_CREAT
		flags &= ~O_EXCL;
	// Linux changed its mind about O_DIRECTORY | O_CREAT.
	if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY))
		flags &= ~O_DIRECTORY;
	int mode = below(4) ? 0666 : some_mode(0600);
	slots[i] = openat(p.dir, p.path, flags, mode);
	outcome(slots[i] >= 0 ? 0 : -1, "open %d %s %#x %o as %d", p.slot, p.path, flags, mode, i);
}

static void names(void) {
	struct place p = place(), q = place();
	struct stat st;
	switch (below(17)) {
	case 0: case 1: {
		int mode = below(4) ? 0755 : some_mode(0700);
		outcome(mkdirat(p.dir, p.path, mode), "mkdir %d %s %o", p.slot, p.path, mode);
		break;
	}
	case 2: outcome(unlinkat(p.dir, p.path, AT_REMOVEDIR), "rmdir %d %s", p.slot, p.path); break;
	case 3: outcome(unlinkat(p.dir, p.path, 0), "unlink %d %s", p.slot, p.path); break;
	case 4: case 5: case 6: {
		unsigned flags = PICK(((const unsigned[]){0, 0, 0, 1, 2, 2, 3, 4, 6, 8}));
		if (flags == 4) // RENAME_WHITEOUT makes a device, for which privileges are needed
			flags = 0;
		outcome(renameat2(p.dir, p.path, q.dir, q.path, flags), "rename %d %s %d %s %u", p.slot, p.path, q.slot, q.path, flags);
		break;
	}
	case 7: {
		int flags = PICK(((const int[]){0, AT_SYMLINK_FOLLOW, AT_SYMLINK_FOLLOW, 0x4000}));
		outcome(linkat(p.dir, p.path, q.dir, q.path, flags), "link %d %s %d %s %#x", p.slot, p.path, q.slot, q.path, flags);
		break;
	}
	case 8: case 9: { // an open file, perhaps one without a name
		char self[32];
		int i = below(SLOTS);
		sprintf(self, "/proc/self/fd/%d", slots[i]);
		outcome(linkat(AT_FDCWD, self, q.dir, q.path, AT_SYMLINK_FOLLOW), "link of %d %d %s", i, q.slot, q.path);
		break;
	}
	case 10: {
		const char *to = PICK(((const char *const[]){"a", "b", "c", "d", "a/b", "./c", "d/", "b/a/"}));
		outcome(symlinkat(to, p.dir, p.path), "symlink %s %d %s", to, p.slot, p.path);
		break;
	}
	case 11: {
		int flags = below(2) ? AT_SYMLINK_NOFOLLOW : 0, got = fstatat(p.dir, p.path, &st, flags);
		outcome(got, "stat %d %s %#x", p.slot, p.path, flags);
		if (got == 0)
			show_stat(&st);
		break;
	}
	case 12: {
		int mode = some_mode(0700);
		outcome(fchmodat(p.dir, p.path, mode, 0), "chmod %d %s %o", p.slot, p.path, mode);
		break;
	}
	case 13: {
		memset(buf, 0, 300);
		size_t room = 1 + below(10);
		if (*p.path == 0)
			return; // about the descriptor itself
		long n = readlinkat(p.dir, p.path, buf, room);
		outcome(n, "readlink %d %s %zu %s", p.slot, p.path, room, buf);
		break;
	}
	case 14: {
		mode_t kind = PICK(((const mode_t[]){S_IFIFO, S_IFIFO, S_IFREG, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR, 0}));
		outcome(mknodat(p.dir, p.path, kind | 0644, 0x103), "mknod %d %s %o", p.slot, p.path, kind);
		break;
	}
	case 15: {
		struct timespec ts[2] = {{below(1000), UTIME_OMIT}, {1000 + below(1000), below(1000000000)}};
		int flags = below(2) ? AT_SYMLINK_NOFOLLOW : 0;
		outcome(utimensat(p.dir, p.path, ts, flags), "utimensat %d %s %ld.%09ld %#x", p.slot, p.path, (long)ts[1].tv_sec, ts[1].tv_nsec, flags);
		break;
	}
	case 16: {
		int mode = below(8), flags = below(2) ? AT_EACCESS : 0;
		outcome(faccessat(p.dir, p.path, mode, flags), "access %d %s %d", p.slot, p.path, mode);
		break;
	}
	}
}

static const char *kind_of(int fd) {
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return "none";
	return S_ISREG(st.st_mode) ? "file" : S_ISFIFO(st.st_mode) ? "fifo" : S_ISDIR(st.st_mode) ? "dir" : "other";
}

static void show_flock(int cmd, int i, struct flock *l) {
	int got = fcntl(slots[i], cmd, l);
	outcome(got, "lock %d on %d", cmd, i);
	if (got == 0 && (cmd == F_GETLK || cmd == F_OFD_GETLK)) {
		printf("  type %d", l->l_type);
		if (l->l_type != F_UNLCK)
			printf(" whence %d start %ld len %ld of %s", l->l_whence, (long)l->l_start, (long)l->l_len, l->l_pid == -1 ? "an open file" : "a process");
		printf("\n");
	}
}

static void contents(int i) {
	int fd = slots[i], j = below(SLOTS);
	off_t off = below(24) ? (off_t)below(20000) : -1, to = below(20000);
	size_t size = below(9000);
	struct stat st;
	const char *kind = kind_of(fd), *other = kind_of(slots[j]);
	if (*kind == 'n' && below(4))
		return;
	struct iovec v[3] = {{buf, size / 3}, {buf + size / 3, size - size / 3}, {buf + 9000, below(100)}};
	if (strcmp(kind, "fifo") == 0) // how large ones fill a pipe is the pipe guests' matter
		size = size % 100, v[1].iov_len = v[0].iov_len = 10;
	long n;
	switch (below(26)) {
	case 0: case 1:
		n = read(fd, buf, size);
		outcome(n, "read %d %zu %016lx", i, size, n > 0 ? hash(buf, n) : 0);
		break;
	case 2:
		n = pread(fd, buf, size, off);
		outcome(n, "pread %d %zu %ld %016lx", i, size, (long)off, n > 0 ? hash(buf, n) : 0);
		break;
	case 3:
		n = preadv(fd, v, 3, off);
		outcome(n, "preadv %d %ld %016lx", i, (long)off, n > 0 ? hash(buf, n) : 0);
		break;
	case 4: case 5:
		fill(size);
		outcome(write(fd, buf, size), "write %d %zu", i, size);
		break;
	case 6: case 7:
		fill(size);
		outcome(pwrite(fd, buf, size, off), "pwrite %d %zu %ld", i, size, (long)off);
		break;
	case 8:
		fill(BUF);
		outcome(writev(fd, v, 3), "writev %d", i);
		break;
	case 9: {
		int flags = PICK(((const int[]){0, RWF_APPEND, RWF_NOWAIT, RWF_DSYNC, 0x10000}));
		if (flags == RWF_NOWAIT) // what it can do differs between versions of Linux
			flags = 0;
		fill(BUF);
		outcome(pwritev2(fd, v, 3, below(2) ? off : -1, flags), "pwritev2 %d %ld %#x", i, (long)off, flags);
		break;
	}
	case 10: case 11: {
		int whence = below(7);
		if (*kind == 'd' || (!sparse && whence > SEEK_END))
			return;
		off -= whence == SEEK_CUR ? 5000 : 0;
		outcome(lseek(fd, off, whence), "lseek %d %ld %d", i, (long)off, whence);
		break;
	}
	case 12: outcome(ftruncate(fd, off), "ftruncate %d %ld", i, (long)off); break;
	case 13: case 14: {
		int mode = PICK(((const int[]){0, 0, 1, 3, 3, 2, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, 0x8000}));
		if (sparse && mode < 2)
			return;
		if (size == 0)
			size = PAGE;
		outcome(fallocate(fd, mode, off, size), "fallocate %d %#x %ld %zu", i, mode, (long)off, size);
		break;
	}
	case 15: {
		int got = fstat(fd, &st);
		outcome(got, "fstat %d", i);
		if (got == 0 && *kind != 'o')
			show_stat(&st);
		break;
	}
	case 16: case 17: {
		int a = below(2), b = below(2);
		if (*kind == 'f' && *other == 'f' && kind[1] == other[1]) {
			n = copy_file_range(fd, a ? &off : NULL, slots[j], b ? &to : NULL, size, below(10) == 0);
			outcome(n, "copy_file_range %d %d %zu from %ld to %ld", i, j, size, a ? (long)off : -1, b ? (long)to : -1);
		}
		break;
	}
	case 18: {
		if (kind[1] == 'i' && other[1] == 'i' && *kind == 'f' && *other == 'f' && kind[2] == 'l' && other[2] == 'l') {
			int a = below(2);
			n = sendfile(slots[j], fd, a ? &off : NULL, size);
			outcome(n, "sendfile %d to %d %zu from %ld", i, j, size, a ? (long)off : -1);
		}
		break;
	}
	case 19: {
		int op = PICK(((const int[]){LOCK_SH, LOCK_EX, LOCK_EX, LOCK_UN, LOCK_SH | LOCK_EX}));
		outcome(flock(fd, op | LOCK_NB), "flock %d %d", i, op);
		break;
	}
	case 20: case 21: {
		static const int cmds[] = {F_OFD_SETLK, F_OFD_SETLK, F_OFD_SETLK, F_OFD_GETLK, F_SETLK, F_GETLK};
		struct flock l = {.l_type = PICK(((const short[]){F_RDLCK, F_WRLCK, F_WRLCK, F_UNLCK, 9})), .l_whence = below(4) ? SEEK_SET : below(4)};
		l.l_start = below(40), l.l_len = (long)below(30) - 4;
		show_flock(PICK(cmds), i, &l);
		break;
	}
	case 22: {
		int seals = 1 << below(6);
		if (below(3))
			outcome(fcntl(fd, F_GET_SEALS), "seals of %d", i);
		else if (seals != F_SEAL_SEAL || below(4) == 0)
			outcome(fcntl(fd, F_ADD_SEALS, seals), "seal %d %#x", i, seals);
		break;
	}
	case 23: {
		struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
		n = poll(&p, 1, 0);
		outcome(n, "poll %d: %#x", i, p.revents);
		break;
	}
	case 24: {
		int flags = below(2) ? O_APPEND | O_NONBLOCK : O_NONBLOCK;
		outcome(fcntl(fd, F_SETFL, flags), "flags of %d %#x", i, flags);
		outcome(fcntl(fd, F_GETFL), "flags of %d", i);
		break;
	}
	case 25:
		if (*kind == 'd') {
			printf("folder %d\n", i);
			show_dir(fd);
		} else
			outcome(fchmod(fd, some_mode(0600)), "fchmod %d", i);
		break;
	}
}

static sigjmp_buf back;
static void bus(int s, siginfo_t *si, void *ctx) {
	(void)s, (void)si, (void)ctx;
	siglongjmp(back, 1);
}

static void unmap(int k) {
	if (maps[k].at)
		CHECK(munmap(maps[k].at, maps[k].size) == 0);
	maps[k].at = NULL;
}

static void mapping(int k) {
	int i = below(SLOTS);
	size_t at = maps[k].size ? below(maps[k].size) : 0;
	if (maps[k].at == NULL || below(8) == 0) {
		unmap(k);
		size_t size = PAGE * (1 + below(4)), off = PAGE * below(3);
		int write = below(3) > 0;
		char *p = mmap(NULL, size, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, slots[i], off);
		outcome(p == MAP_FAILED ? -1 : 0, "map %d: %d %zu %zu write %d", k, i, size, off, write);
		if (p != MAP_FAILED)
			maps[k].at = p, maps[k].size = size, maps[k].write = write;
		return;
	}
	switch (below(8)) {
	case 0: case 1: case 2: {
		if (!maps[k].write)
			break;
		int v = below(256);
		printf("store %d %zu", k, at);
		if (sigsetjmp(back, 1) == 0) {
			*(volatile char *)(maps[k].at + at) = v;
			printf(" %d\n", v);
		} else
			printf(" SIGBUS\n");
		return;
	}
	case 3:
		outcome(msync(maps[k].at, maps[k].size, MS_SYNC), "msync %d", k);
		return;
	case 4: {
		int how = PICK(((const int[]){MADV_DONTNEED, MADV_REMOVE, MADV_WILLNEED, MADV_SEQUENTIAL}));
		size_t from = at & -PAGE;
		outcome(madvise(maps[k].at + from, PAGE, how), "madvise %d %zu %d", k, from, how);
		return;
	}
	case 5:
		outcome(mprotect(maps[k].at, maps[k].size, PROT_READ | (maps[k].write ? PROT_WRITE : 0)), "mprotect %d", k);
		return;
	}
	printf("load %d:", k);
	for (volatile size_t n = 0; n < maps[k].size; n += PAGE) {
		if (sigsetjmp(back, 1) == 0) {
			memcpy(buf, maps[k].at + n, PAGE);
			printf(" %016lx", hash(buf, PAGE));
		} else
			printf(" SIGBUS");
	}
	printf("\n");
}

// remove_all removes what is below a folder, and shows it before.
static void remove_all(int dir, const char *name, int show) {
	struct stat st;
	CHECK(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
	if (show) {
		printf("%s\n", name);
		show_stat(&st);
	}
	if (S_ISREG(st.st_mode) && show) {
		CHECK(fchmodat(dir, name, 0600, 0) == 0);
		int fd = openat(dir, name, O_RDONLY);
		CHECK(fd >= 0);
		uint64_t h = 0;
		for (long n; (n = read(fd, buf, sizeof buf)) > 0;)
			h = h * 31 + hash(buf, n);
		printf("  %016lx\n", h);
		close(fd);
	}
	if (!S_ISDIR(st.st_mode)) {
		CHECK(unlinkat(dir, name, 0) == 0);
		return;
	}
	CHECK(fchmodat(dir, name, 0700, 0) == 0);
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0);
	static const char *const order[] = {"a", "b", "c", "d", "x"}; // all there can be, but for the long ones
	for (size_t i = 0; i < sizeof order / sizeof *order; i++)
		if (faccessat(fd, order[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			remove_all(fd, order[i], show);
	DIR *d = fdopendir(fd);
	CHECK(d != NULL);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] == 'n')
			remove_all(fd, e->d_name, 0);
	closedir(d);
	CHECK(unlinkat(dir, name, AT_REMOVEDIR) == 0);
}

static void series(int root, uint64_t seed, int calls) {
	state = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
	printf("seed %lu\n", seed);
	int fd = dup(root);
	for (int i = 0; i < 4; i++) {
		CHECK(mkdirat(fd, "x", 0700) == 0);
		int below_it = openat(fd, "x", O_RDONLY | O_DIRECTORY);
		CHECK(below_it >= 0);
		close(fd);
		fd = below_it;
	}
	base = fd;
	// With mappings, blocks are not shown: on tmpfs a page that was only read at counts. Nor
	// are times: file systems differ in when a mapping changes them. And without allocation
	// ahead holes are looked for: what was allocated is none here.
	blocks = seed % 2, sparse = seed % 4 == 1;
	for (int i = 0; i < SLOTS; i++)
		slots[i] = -1;
	for (int n = 0; n < calls; n++) {
		unsigned what = below(10);
		if (what < 4)
			names();
		else if (what < 5)
			open_one(below(SLOTS));
		else if (what < 8)
			contents(below(SLOTS));
		else if (!blocks)
			mapping(below(MAPS));
	}
	for (int i = 0; i < SLOTS; i++)
		shut(i);
	for (int i = 0; i < MAPS; i++)
		unmap(i);
	close(base);
	remove_all(root, "x", 1);
}

int main(int argc, char **argv) {
	CHECK(argc == 4);
	static char out[1 << 16];
	setvbuf(stdout, out, _IOFBF, sizeof out);
	drop_privileges(); // what is left may do all to what it owns, as in a machine
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	on(SIGBUS, bus, SA_NODEFER);
	char name[] = "/dev/shm/guestXXXXXX";
	CHECK(mkdtemp(name) != NULL);
	int root = open(name, O_RDONLY | O_DIRECTORY);
	struct statfs fs;
	CHECK(root >= 0 && fstatfs(root, &fs) == 0);
	CHECK_EQ(fs.f_type, 0x01021994); // tmpfs
	uint64_t first = strtoull(argv[1], NULL, 10);
	for (uint64_t seed = first; seed < first + strtoull(argv[2], NULL, 10); seed++)
		series(root, seed, atoi(argv[3]));
	CHECK(rmdir(name) == 0);
	return 0;
}
