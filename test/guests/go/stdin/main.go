// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command stdin proves: a megabyte of stdin through bufio, hashing and
// compression, with every line of it counted.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func main() {
	var all bytes.Buffer
	in := bufio.NewScanner(io.TeeReader(os.Stdin, &all))
	lines, longest := 0, 0
	for in.Scan() {
		lines++
		longest = max(longest, len(in.Bytes()))
	}
	fmt.Println(lines, longest, all.Len(), in.Err())
	sum := sha256.Sum256(all.Bytes())
	fmt.Println(hex.EncodeToString(sum[:]))

	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	z.Write(all.Bytes())
	z.Close()
	fmt.Println("compressed", packed.Len() < all.Len()/4)
	r, err := gzip.NewReader(&packed)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	back, err := io.ReadAll(r)
	fmt.Println(bytes.Equal(back, all.Bytes()), err)
	out := bufio.NewWriter(os.Stdout)
	out.Write(bytes.ToUpper(all.Bytes()))
	out.Flush()
}
