// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestPages(t *testing.T) {
	top := ^uint64(0)
	many := make([]uint64, maxPages+1)
	for i := range many {
		many[i] = uint64(len(many)-i) * pageSize
	}
	for name, tt := range map[string]struct{ in, want []uint64 }{
		"none":      {nil, nil},
		"one":       {[]uint64{0x40_1000}, []uint64{0x40_1000}},
		"page zero": {[]uint64{0, 1}, []uint64{0, 1}},
		"any order": {[]uint64{0x7fff_0000_0001, 0x1000, 0x7fff_0000_0001, 0x1001}, []uint64{0x1000, 0x1001, 0x7fff_0000_0001}},
		"no page":   {[]uint64{0x1ffe, 0x1fff, top}, []uint64{0x1000, 0x1001, top &^ (pageSize - 2)}},
		"too many":  {many, slices.Sorted(slices.Values(many))[:maxPages]},
	} {
		p := NewPages(tt.in)
		if !slices.Equal(p, tt.want) {
			t.Errorf("%s: %x", name, p)
		}
		b, err := json.Marshal(p)
		var back Pages
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || !slices.Equal(back, p) {
			t.Errorf("%s: %x, %v", name, back, err)
		}
	}
}

// FuzzPages: any JSON is refused, or gives a list that NewPages could have made and
// that is written as it was read.
func FuzzPages(f *testing.F) {
	f.Add([]byte(`"gQgCAQ=="`))
	f.Add([]byte(`"AAE="`))
	f.Add([]byte(`"////////////AQ=="`))
	f.Add([]byte(`7`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p, again Pages
		if json.Unmarshal(text, &p) != nil {
			return
		}
		if !slices.Equal(p, NewPages(p)) {
			t.Fatalf("%q became %x", text, p)
		}
		b, err := json.Marshal(p)
		if err == nil {
			err = json.Unmarshal(b, &again)
		}
		if err != nil || !slices.Equal(p, again) {
			t.Errorf("%x became %x, %v", p, again, err)
		}
	})
}
