// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command crypto proves: hashes, ciphers and signatures give known results with
// whatever instructions the processor offers, and random bytes differ.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func main() {
	data := bytes.Repeat([]byte("kontain "), 100000)
	fmt.Printf("%x\n%x\n%08x\n", sha256.Sum256(data), sha512.Sum512(data), crc32.ChecksumIEEE(data))
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write(data)
	fmt.Println(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	block, _ := aes.NewCipher(make([]byte, 32))
	gcm, _ := cipher.NewGCM(block)
	sealed := gcm.Seal(nil, make([]byte, 12), data[:64], nil)
	fmt.Println(hex.EncodeToString(sealed))
	plain, err := gcm.Open(nil, make([]byte, 12), sealed, nil)
	fmt.Println(bytes.Equal(plain, data[:64]), err)
	a, b := make([]byte, 32), make([]byte, 32)
	rand.Read(a)
	rand.Read(b)
	fmt.Println("random differs", !bytes.Equal(a, b))
	pub, priv, _ := ed25519.GenerateKey(rand.Reader)
	fmt.Println(ed25519.Verify(pub, data, ed25519.Sign(priv, data)))
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sum := sha256.Sum256(data)
	sig, _ := ecdsa.SignASN1(rand.Reader, key, sum[:])
	fmt.Println(ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig))
}
