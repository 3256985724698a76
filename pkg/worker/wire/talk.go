// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"

	"kontain.dev/eventing/vmexec/talk"
)

const talkHead = 11

// MaxTalk is the most bytes of a frame of KindTalk.
const MaxTalk = talkHead + talk.MaxData

// AppendTalk appends the frame of a message.
func AppendTalk(b []byte, m talk.Message) []byte {
	b = Append(b, KindTalk, nil, talkHead+len(m.Data))
	b = append(b, byte(m.Op))
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Conn))
	b = binary.LittleEndian.AppendUint16(b, m.Port)
	b = binary.LittleEndian.AppendUint32(b, m.N)
	return append(b, m.Data...)
}

// DecodeTalk reads the contents of a frame of KindTalk, of which the message keeps
// the data. The error is an *Error.
func DecodeTalk(b []byte) (talk.Message, error) {
	if len(b) < talkHead {
		return talk.Message{}, errorf("a message of %d bytes", len(b))
	}
	m := talk.Message{
		Op: talk.Op(b[0]), Conn: talk.ID(binary.LittleEndian.Uint32(b[1:])), Port: binary.LittleEndian.Uint16(b[5:]),
		N: binary.LittleEndian.Uint32(b[7:]), Data: b[talkHead:],
	}
	if err := m.Check(); err != nil {
		return talk.Message{}, errorf("%v", err)
	}
	return m, nil
}
