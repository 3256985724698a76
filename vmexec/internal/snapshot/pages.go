// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
)

// Pages are pages by virtual address, with bit 0 set for those that are written. As
// JSON they are a string: base64 of varints, each what the number of a page, twice,
// and its bit 0 are more than those of the page before.
type Pages []uint64

// maxPages is the most pages that are written down: with more than 256 MiB an event
// takes so long that their preparation counts for little.
const maxPages = 1 << 16

var errPages = errors.New("a list of pages makes no sense")

// NewPages returns the first of the pages, which may come from anybody, in order and
// each once.
func NewPages(addresses []uint64) Pages {
	p := slices.Clone(addresses)
	for i := range p {
		p[i] &^= pageSize - 2
	}
	slices.Sort(p)
	p = slices.Compact(p)
	return p[:min(len(p), maxPages)]
}

// MarshalJSON implements json.Marshaler. The pages must be those of NewPages.
func (p Pages) MarshalJSON() ([]byte, error) {
	b := []byte{}
	last := uint64(0)
	for _, va := range p {
		v := va/pageSize<<1 | va&1
		b = binary.AppendUvarint(b, v-last)
		last = v
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Pages) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return err
	}
	*p = nil
	last := uint64(0)
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		v := last + d
		if n <= 0 || v < last || v >= 1<<53 || d == 0 && len(*p) > 0 || len(*p) == maxPages {
			return errPages
		}
		*p = append(*p, v>>1*pageSize|v&1)
		b, last = b[n:], v
	}
	return nil
}
