// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package vdso

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loaded is an image in this process, with its data page.
type loaded struct {
	code []byte // the image, then a page of adapters
	data []byte
	img  []byte
}

func load(t testing.TB, d *Data) *loaded {
	t.Helper()
	data, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(data) })
	d.Encode(data)
	img := Image(uint64(uintptr(unsafe.Pointer(&data[0]))))
	code, err := unix.Mmap(-1, 0, len(img)+pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(code) })
	copy(code, img)

	// The adapter: Go passes integers in AX and BX and the System V convention in
	// DI and SI; the address to go to comes in CX. The function's return goes
	// straight back to Go, with the result in AX.
	//	MOVQ AX, DI; MOVQ BX, SI; JMP CX
	copy(code[len(img):], []byte{0x48, 0x89, 0xc7, 0x48, 0x89, 0xde, 0xff, 0xe1})
	if err := unix.Mprotect(code, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		t.Fatal(err)
	}
	return &loaded{code: code, data: data, img: img}
}

// call calls the function at offset fn of the image.
func (l *loaded) call(fn uint64, a uint64, b unsafe.Pointer) int64 {
	entry := uintptr(unsafe.Pointer(&l.code[len(l.img)]))
	closure := &entry
	f := *(*func(uint64, unsafe.Pointer, uintptr) int64)(unsafe.Pointer(&closure))
	return f(a, b, uintptr(unsafe.Pointer(&l.code[0]))+uintptr(fn))
}

// call2 is call for two pointers.
func (l *loaded) call2(fn uint64, a, b unsafe.Pointer) int64 {
	return l.call(fn, uint64(uintptr(a)), b)
}

// setGeneration changes the data page as the monitor would.
func (l *loaded) setGeneration(g uint32) { binary.LittleEndian.PutUint32(l.data[4:], g) }
