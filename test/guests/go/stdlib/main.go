// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command stdlib proves: plain computing of the standard library: maps, sort,
// JSON, regular expressions, templates, reflection, big numbers, formats.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand"
	"os"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"text/template"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

type order struct {
	ID    int               `json:"id"`
	Items []string          `json:"items,omitempty"`
	Meta  map[string]any    `json:"meta"`
	Next  *order            `json:"next,omitempty"`
	Tags  map[string]string `json:"-"`
}

func (o order) Total(n int) int { return o.ID * n }

func main() {
	m := map[string]int{}
	for i := range 50000 {
		m[fmt.Sprint("key", i%7777)] += i
	}
	keys := slices.Sorted(maps.Keys(m))
	fmt.Println(len(keys), keys[0], m[keys[0]], keys[7776])

	rng := rand.New(rand.NewSource(1))
	v := rng.Perm(100000)
	sort.Ints(v)
	fmt.Println(slices.IsSorted(v), v[99999])

	in := order{1, []string{"a", "ü"}, map[string]any{"x": 1.5, "n": nil}, &order{ID: 2}, nil}
	text, err := json.Marshal(in)
	fmt.Println(string(text), err)
	var out order
	fmt.Println(json.Unmarshal(text, &out), reflect.DeepEqual(out.Next.ID, 2), out.Meta["x"])
	fmt.Println(json.Unmarshal([]byte(`{"id":"no"}`), &out))

	re := regexp.MustCompile(`(\w+)@(\w+)\.com`)
	fmt.Println(re.ReplaceAllString("bob@example.com, eve@test.com", "$2:$1"))
	t := reflect.TypeOf(in)
	fmt.Println(t.NumField(), t.Field(1).Tag.Get("json"))
	fmt.Println(reflect.ValueOf(in).MethodByName("Total").Call([]reflect.Value{reflect.ValueOf(21)})[0].Int())
	template.Must(template.New("").Parse("{{range $i, $e := .}}{{$i}}={{$e | printf \"%q\"}} {{end}}\n")).Execute(os.Stdout, []string{"a", "b"})
	fmt.Println(new(big.Int).Exp(big.NewInt(3), big.NewInt(200), nil))
	fmt.Println(math.Sqrt(2), math.Gamma(5.5), math.Float64bits(math.Sin(1e10)), strings.Repeat("ab", 3))
}
