// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package abi holds the numbers and memory layouts of the Linux x86-64 system
// call interface that golang.org/x/sys/unix does not have, and the Errno type.
// It has no logic beyond encoding and decoding.
package abi

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Errno is a failure that the guest sees, as in errno(3). Zero means success.
// It is never an error of the host: those are ordinary Go errors.
type Errno uint16

// Errno values that the monitor returns; see errno(3).
const (
	OK           Errno = 0
	EPERM              = Errno(unix.EPERM)
	ENOENT             = Errno(unix.ENOENT)
	ESRCH              = Errno(unix.ESRCH)
	EINTR              = Errno(unix.EINTR)
	EIO                = Errno(unix.EIO)
	ENXIO              = Errno(unix.ENXIO)
	E2BIG              = Errno(unix.E2BIG)
	ENOEXEC            = Errno(unix.ENOEXEC)
	ELIBBAD            = Errno(unix.ELIBBAD)
	EBADF              = Errno(unix.EBADF)
	ECHILD             = Errno(unix.ECHILD)
	EAGAIN             = Errno(unix.EAGAIN)
	ENOMEM             = Errno(unix.ENOMEM)
	EACCES             = Errno(unix.EACCES)
	EFAULT             = Errno(unix.EFAULT)
	EBUSY              = Errno(unix.EBUSY)
	EEXIST             = Errno(unix.EEXIST)
	EXDEV              = Errno(unix.EXDEV)
	ENODEV             = Errno(unix.ENODEV)
	ENOTDIR            = Errno(unix.ENOTDIR)
	EISDIR             = Errno(unix.EISDIR)
	EINVAL             = Errno(unix.EINVAL)
	ENFILE             = Errno(unix.ENFILE)
	EMFILE             = Errno(unix.EMFILE)
	ENOTTY             = Errno(unix.ENOTTY)
	ETXTBSY            = Errno(unix.ETXTBSY)
	EFBIG              = Errno(unix.EFBIG)
	ENOSPC             = Errno(unix.ENOSPC)
	ESPIPE             = Errno(unix.ESPIPE)
	EROFS              = Errno(unix.EROFS)
	EMLINK             = Errno(unix.EMLINK)
	EPIPE              = Errno(unix.EPIPE)
	ERANGE             = Errno(unix.ERANGE)
	EDEADLK            = Errno(unix.EDEADLK)
	ENAMETOOLONG       = Errno(unix.ENAMETOOLONG)
	ENOSYS             = Errno(unix.ENOSYS)
	ENOLCK             = Errno(unix.ENOLCK)
	ENOTEMPTY          = Errno(unix.ENOTEMPTY)
	ELOOP              = Errno(unix.ELOOP)
	ENODATA            = Errno(unix.ENODATA)
	EOVERFLOW          = Errno(unix.EOVERFLOW)
	EOPNOTSUPP         = Errno(unix.EOPNOTSUPP)
	EAFNOSUPPORT       = Errno(unix.EAFNOSUPPORT)
	ENOTSOCK           = Errno(unix.ENOTSOCK)
	ENETUNREACH        = Errno(unix.ENETUNREACH)
	ETIMEDOUT          = Errno(unix.ETIMEDOUT)
	ENOTSUP            = Errno(unix.ENOTSUP)
)

// Errno values of sockets.
const (
	EDESTADDRREQ    = Errno(unix.EDESTADDRREQ)
	EMSGSIZE        = Errno(unix.EMSGSIZE)
	EPROTOTYPE      = Errno(unix.EPROTOTYPE)
	ENOPROTOOPT     = Errno(unix.ENOPROTOOPT)
	EPROTONOSUPPORT = Errno(unix.EPROTONOSUPPORT)
	ESOCKTNOSUPPORT = Errno(unix.ESOCKTNOSUPPORT)
	EADDRINUSE      = Errno(unix.EADDRINUSE)
	EADDRNOTAVAIL   = Errno(unix.EADDRNOTAVAIL)
	ECONNABORTED    = Errno(unix.ECONNABORTED)
	ECONNRESET      = Errno(unix.ECONNRESET)
	ENOBUFS         = Errno(unix.ENOBUFS)
	EISCONN         = Errno(unix.EISCONN)
	ENOTCONN        = Errno(unix.ENOTCONN)
	ETOOMANYREFS    = Errno(unix.ETOOMANYREFS)
	ECONNREFUSED    = Errno(unix.ECONNREFUSED)
	EALREADY        = Errno(unix.EALREADY)
	EINPROGRESS     = Errno(unix.EINPROGRESS)
	EDOM            = Errno(unix.EDOM)
)

// Results that never reach the guest: the run loop turns them into a wait, a
// restarted call or EINTR. The names of the restart family are Linux's own
// (include/linux/errno.h).
const (
	// EBLOCK: the call has parked its thread and is made again after the wake-up.
	EBLOCK Errno = 600 + iota
	// ERESTARTSYS: restart after a handler with SA_RESTART, otherwise EINTR.
	ERESTARTSYS
	// ERESTARTNOHAND: restart only when no handler runs, otherwise EINTR.
	ERESTARTNOHAND
	// ERESTARTNOINTR: restart after any handler.
	ERESTARTNOINTR
	// ENORETURN: the call has set every register itself (rt_sigreturn, execve)
	// or its thread is gone (exit).
	ENORETURN
)

func (e Errno) String() string {
	if n := unix.ErrnoName(unix.Errno(e)); n != "" {
		return n
	}
	return "errno " + strconv.Itoa(int(e))
}
