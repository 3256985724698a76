// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

type shape interface{ area() int }

type square struct {
	side int
	mine *node
}

func (s *square) area() int { return s.side * s.side }

type dot int8

func (dot) area() int { return 0 }

type box struct{ in any }

type ring struct {
	prev, next *ring
	who        shape
}

type lower interface{ read() }

type host struct{ fd int }

func (*host) read() {}

type node struct {
	name        string
	below       *node
	words       []uint16
	raw         [5]byte
	link        ring
	shape       shape
	byID        map[int]*node
	byNode      map[*node]string
	low         lower
	held        any
	none, empty []string
	f           float64
	b           bool
	i8          int8
	stop        func()     `snapshot:"-"`
	mu          sync.Mutex `snapshot:"-"` //nolint:unused // It is there to be left out.
}

type top struct {
	a, b   *node
	whole  []node
	part   []node
	tail   []node
	in     *ring
	bytes  *[5]byte
	second *byte
	some   []byte
	zero   *struct{}
	arr    [3]*int
	m1, m2 map[int]*node
	boxed  any
}

func testTypes() *Types {
	ts := &Types{}
	ts.Register((*square)(nil), dot(0), uint32(0), box{})
	ts.External(reflect.TypeFor[lower](), reflect.TypeFor[*host]())
	return ts
}

func sample() *top {
	one := 1
	t := &top{whole: make([]node, 4, 9), zero: &struct{}{}, arr: [3]*int{&one, nil, &one}}
	for i := range t.whole {
		n := &t.whole[i]
		n.name, n.raw, n.i8, n.f = strings.Repeat("n", i), [5]byte{1, 2, 3, 4, byte(i)}, int8(-i), 0.5
		n.stop = func() {}
		n.empty = []string{}
		n.words = []uint16{uint16(i), 65535}
	}
	n := &node{name: "alone", below: &t.whole[2], b: true, low: &host{3}, held: &host{4}}
	n.link.next, n.link.prev = &t.whole[3].link, &t.whole[3].link
	t.whole[3].link = ring{prev: &n.link, next: &n.link, who: &square{2, n}}
	n.shape = t.whole[3].link.who
	n.byID = map[int]*node{1: n, -5: &t.whole[0]}
	n.byNode = map[*node]string{n: "n", &t.whole[1]: "one"}
	t.a, t.b = n, n
	t.part, t.tail = t.whole[1:3], t.whole[2:]
	t.in, t.bytes, t.second, t.some = &t.whole[3].link, &n.raw, &n.raw[1], n.raw[2:4]
	t.m1 = map[int]*node{7: n}
	t.m2 = t.m1
	t.boxed = box{box{dot(-3)}}
	return t
}

func decoded(t *testing.T, data []byte, externals ...any) *top {
	t.Helper()
	var out *top
	if _, err := testTypes().Decode(data, &out, externals...); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	in := sample()
	data, err := testTypes().Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{9}
	out := decoded(t, data, h)
	n := out.a
	for what, ok := range map[string]bool{
		"two pointers to one value":     out.b == n,
		"a pointer into an array":       n.below == &out.whole[2],
		"slices of one array":           &out.part[0] == &out.whole[1] && &out.tail[0] == &out.whole[2] && len(out.part) == 2 && len(out.tail) == 2,
		"no room behind a slice":        cap(out.part) == 2 && cap(out.whole) == 4,
		"a pointer to a field":          out.in == &out.whole[3].link && out.bytes == &n.raw && out.second == &n.raw[1] && &out.some[0] == &n.raw[2],
		"a cycle through fields":        n.link.next == &out.whole[3].link && n.link.next.next == &n.link,
		"an interface":                  n.shape.area() == 4 && n.shape == out.whole[3].link.who && n.shape.(*square).mine == n,
		"a value in an interface":       out.boxed == any(box{box{dot(-3)}}),
		"maps by number and by pointer": n.byID[1] == n && n.byID[-5] == &out.whole[0] && n.byNode[n] == "n" && n.byNode[&out.whole[1]] == "one" && len(n.byNode) == 2,
		"a map that is shared":          reflect.ValueOf(out.m1).Pointer() == reflect.ValueOf(out.m2).Pointer() && out.m1[7] == n,
		"an external by interface":      n.low == lower(h),
		"an external in an interface":   n.held == any(h),
		"nil and empty":                 n.none == nil && n.empty == nil && out.whole[0].none == nil && out.whole[0].empty != nil && len(out.whole[0].empty) == 0,
		"left out":                      n.stop == nil && out.whole[1].stop == nil,
		"plain values":                  n.name == "alone" && n.b && out.whole[3].i8 == -3 && out.whole[2].f == 0.5 && out.whole[1].words[1] == 65535 && out.whole[3].raw == [5]byte{1, 2, 3, 4, 3},
		"of no size":                    out.zero != nil,
		"one value twice in an array":   out.arr[0] == out.arr[2] && out.arr[1] == nil && *out.arr[0] == 1,
	} {
		if !ok {
			t.Errorf("%s did not come back", what)
		}
	}
	if without := decoded(t, data); without.a.low != nil || without.a.held != nil {
		t.Error("an external that is not given must be nil")
	}
}

func TestDeterministic(t *testing.T) {
	var first []byte
	for range 20 {
		data, err := testTypes().Encode(sample())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		} else if !bytes.Equal(data, first) {
			t.Fatal("the same graph is written in two ways")
		}
	}
	if a, b := testTypes().Fingerprint(reflect.TypeFor[*top]()), testTypes().Fingerprint(reflect.TypeFor[*top]()); a != b {
		t.Error("the fingerprint differs from one time to the next")
	}
	more := testTypes()
	more.Register(int16(0))
	if more.Fingerprint(reflect.TypeFor[*top]()) == testTypes().Fingerprint(reflect.TypeFor[*top]()) {
		t.Error("another type does not change the fingerprint")
	}
}

func TestLongChain(t *testing.T) {
	in := &top{}
	for range 200_000 {
		in.a = &node{below: in.a}
	}
	data, err := testTypes().Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := decoded(t, data).a; p != nil; p = p.below {
		n++
	}
	if n != 200_000 {
		t.Errorf("%d nodes came back", n)
	}
}

func TestCheck(t *testing.T) {
	type inner struct{ c chan int } //nolint:unused // It is there to be refused.
	tests := []struct {
		name, want string
		root       any
	}{
		{"all right", "", (*top)(nil)},
		{"function", "f: a value of type func() cannot", (*struct{ f func() })(nil)},
		{"channel deep down", "m[].c: a value of type chan int cannot", (*struct{ m map[int][]inner })(nil)},
		{"lock", "mu: the inside of sync.Mutex", (*struct{ mu sync.Mutex })(nil)},
		{"file", "f[]: the inside of os.File", (*struct{ f *os.File })(nil)},
		{"time", "t: the inside of time.Time", (*struct{ t time.Time })(nil)},
		{"address", "a value of type uintptr", (*struct{ p uintptr })(nil)},
		{"keys that are interfaces", "key of a map", (*struct{ m map[any]int })(nil)},
	}
	for _, tt := range tests {
		err := testTypes().Check(reflect.TypeOf(tt.root))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "[][]", "[]"), tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := testTypes().Encode(&struct{ f func() }{}); err == nil {
		t.Error("a type that cannot be written was")
	}
	if _, err := testTypes().Encode(&top{boxed: int64(3)}); err == nil || !strings.Contains(err.Error(), "boxed: it holds a int64, which is not registered") {
		t.Errorf("a type that is not registered: %v", err)
	}
	if _, err := testTypes().Encode(top{}); err == nil {
		t.Error("the root is no pointer")
	}
	var deep any = dot(1)
	for range maxDepth + 1 {
		deep = box{deep}
	}
	if _, err := testTypes().Encode(&top{boxed: deep}); err == nil {
		t.Error("boxes without end")
	}
	x := [8]uint32{}
	odd := &struct {
		a []uint32
		b *[3]uint32
	}{x[:3], (*[3]uint32)(x[2:5])}
	if _, err := testTypes().Encode(odd); err == nil {
		t.Error("values that overlap oddly were written")
	}
}

func TestEach(t *testing.T) {
	data, err := testTypes().Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	var out *top
	g, err := testTypes().Decode(data, &out)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*node]bool{}
	Each(g, func(n *node) { seen[n] = true })
	rings := 0
	Each(g, func(*ring) { rings++ })
	if rings != 5 || len(seen) != 5 || !seen[out.a] || !seen[&out.whole[3]] {
		t.Errorf("%d nodes were seen", len(seen))
	}
}

// Whatever is cut off or changed, Decode returns an error or a graph, and takes
// no more memory than the data may.
func TestDamaged(t *testing.T) {
	data, err := testTypes().Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		var out *top
		if _, err := testTypes().Decode(data[:i], &out); !errors.Is(err, ErrFormat) || out != nil {
			t.Fatalf("cut at %d: %v", i, err)
		}
		for _, x := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(data)
			bad[i] ^= x
			if _, err := testTypes().Decode(bad, &out); err != nil && !errors.Is(err, ErrFormat) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	var out *top
	if _, err := testTypes().Decode(append(bytes.Clone(data), 0), &out); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := testTypes().Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	ts := testTypes()
	f.Fuzz(func(t *testing.T, data []byte) {
		var out *top
		if _, err := ts.Decode(data, &out, &host{1}); err != nil {
			if !errors.Is(err, ErrFormat) || out != nil {
				t.Fatalf("%v", err)
			}
			return
		}
		// What was read can be written, and read again.
		again, err := ts.Encode(out)
		if err != nil {
			return // boxes too deep, or values that overlap in a new way
		}
		if _, err := ts.Decode(again, &out); err != nil {
			t.Fatal(err)
		}
	})
}
