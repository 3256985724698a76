// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/vmexec/talk"
)

func TestTalk(t *testing.T) {
	for _, m := range []talk.Message{
		{Op: talk.Await, Conn: 1, Port: 8080},
		{Op: talk.Data, Conn: 1<<32 - 1, Data: []byte("bytes")},
		{Op: talk.Taken, Conn: 3, N: 1 << 20},
		{Op: talk.Close, Conn: 2},
		{Op: talk.Signal, N: 15},
	} {
		b := AppendTalk(nil, m)
		k, body, err := Read(bytes.NewReader(b), Only(KindTalk, MaxTalk))
		if err != nil || k != KindTalk {
			t.Fatal(k, err)
		}
		got, err := DecodeTalk(body)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(m.Data), string(got.Data)); d != "" {
			t.Error(d)
		}
		if got.Op != m.Op || got.Conn != m.Conn || got.Port != m.Port || got.N != m.N {
			t.Errorf("%+v became %+v", m, got)
		}
	}
}

func FuzzDecodeTalk(f *testing.F) {
	f.Add(AppendTalk(nil, talk.Message{Op: talk.Data, Conn: 1, Data: []byte("x")})[headerSize:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeTalk(b)
		if err != nil {
			return
		}
		if back := AppendTalk(nil, m)[headerSize:]; !bytes.Equal(back, b) {
			t.Fatalf("%x became %x", b, back)
		}
	})
}
