// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth and maxNodes bound a file after its aliases are expanded, so that a
// small file cannot unfold into a large one. A file may have maxNodes for each MiB
// that it has begun.
const (
	maxDepth = 64
	maxNodes = 100_000
)

type kind int

const (
	mapping kind = iota
	sequence
	str
	integer
	float
	boolean
	null
)

// String returns the kind with its article, for messages.
func (k kind) String() string {
	return [...]string{"a mapping", "a list", "a string", "a number", "a number", "a boolean", "nothing"}[k]
}

// node is a value of a document with its place: aliases are expanded, merge
// keys merged, and keys are strings that occur once.
type node struct {
	kind         kind
	line, column int
	text         string // of a scalar, as written
	plain        bool   // a scalar without quotes
	number       int64
	fraction     float64
	truth        bool
	fields       []field
	items        []*node
}

type field struct {
	key          string
	line, column int
	value        *node
}

// field returns the field of a key, nil when there is none.
func (n *node) field(key string) *field {
	for i := range n.fields {
		if n.fields[i].key == key {
			return &n.fields[i]
		}
	}
	return nil
}

// report is called with each thing that is wrong.
type report func(line, column int, path, message string)

// syntaxLine finds the line in the messages of the YAML library.
var syntaxLine = regexp.MustCompile(`^line ([0-9]{1,9}): (.*)$`)

// parse splits data into documents and calls each with the root of those that
// are not empty; flawed says that a part of it was reported and is missing. It
// stops at what is not YAML.
func parse(data []byte, bad report, each func(root *node, flawed bool)) {
	flawed := false
	b := builder{most: maxNodes * (1 + len(data)>>20), bad: func(line, column int, path, message string) {
		flawed = true
		bad(line, column, path, message)
	}}
	b.left = b.most
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			message := strings.TrimPrefix(err.Error(), "yaml: ")
			m := syntaxLine.FindStringSubmatch(message)
			if m == nil {
				bad(0, 0, "", "not YAML: "+message)
				return
			}
			line, _ := strconv.Atoi(m[1]) // At most nine digits.
			// The library names the line where the surrounding list or mapping
			// starts, or the one before the mistake.
			bad(line, 0, "", "not YAML here or just below: "+m[2])
			return
		}
		if len(doc.Content) == 0 {
			continue
		}
		flawed = false
		root := b.build(doc.Content[0], "", 0)
		if b.stopped {
			return
		}
		if root != nil && root.kind != null {
			each(root, flawed)
		}
	}
}

// builder turns the YAML library's nodes into ours.
type builder struct {
	bad     report
	most    int  // nodes that may be built
	left    int  // of them
	stopped bool // a bound was hit and reported
}

// build returns nil for what it reported.
func (b *builder) build(y *yaml.Node, path string, depth int) *node {
	if b.stopped {
		return nil
	}
	if depth > maxDepth {
		b.stopped = true
		b.bad(y.Line, y.Column, "", fmt.Sprintf("nested more than %d deep", maxDepth))
		return nil
	}
	if b.left--; b.left < 0 {
		b.stopped = true
		b.bad(y.Line, y.Column, "", fmt.Sprintf("more than %d values once aliases are expanded", b.most))
		return nil
	}
	n := &node{line: y.Line, column: y.Column}
	switch y.Kind {
	case yaml.AliasNode:
		return b.build(y.Alias, path, depth+1)
	case yaml.ScalarNode:
		return b.scalar(y, path)
	case yaml.SequenceNode:
		if !b.tag(y, path, "!!seq") {
			return nil
		}
		n.kind = sequence
		for i, item := range y.Content {
			built := b.build(item, index(path, i), depth+1)
			if b.stopped {
				return nil
			}
			if built == nil {
				built = &node{kind: null, line: item.Line, column: item.Column}
			}
			n.items = append(n.items, built)
		}
		return n
	case yaml.MappingNode:
		if !b.tag(y, path, "!!map") {
			return nil
		}
		n.kind = mapping
		b.mapping(n, y, path, depth)
		return n
	default:
		b.bad(y.Line, y.Column, path, "expected a value")
		return nil
	}
}

// mapping fills n from y. What is merged with << comes after what is written,
// and does not replace it: https://yaml.org/type/merge.html
func (b *builder) mapping(n *node, y *yaml.Node, path string, depth int) {
	lines := make(map[string]int, len(y.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content) && !b.stopped; i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || (key.Style == 0 && oldBoolean(key.Value)) {
			b.bad(key.Line, key.Column, path, "expected a string as key; put the key in quotes")
			continue
		}
		if line, twice := lines[key.Value]; twice {
			b.bad(key.Line, key.Column, join(path, key.Value), fmt.Sprintf("given twice; first on line %d", line))
			continue
		}
		lines[key.Value] = key.Line
		if built := b.build(value, join(path, key.Value), depth+1); built != nil {
			n.fields = append(n.fields, field{key.Value, key.Line, key.Column, built})
		}
	}
	for _, m := range merges {
		built := b.build(m, path, depth+1)
		if built == nil {
			continue
		}
		sources := []*node{built}
		if built.kind == sequence {
			sources = built.items
		}
		for _, source := range sources {
			if source.kind != mapping {
				b.bad(source.line, source.column, path, "<< merges mappings only, found "+source.kind.String())
				continue
			}
			for _, f := range source.fields {
				if _, written := lines[f.key]; !written {
					lines[f.key] = f.line
					n.fields = append(n.fields, f)
				}
			}
		}
	}
}

func (b *builder) scalar(y *yaml.Node, path string) *node {
	n := &node{line: y.Line, column: y.Column, text: y.Value, plain: y.Style == 0}
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
		n.kind = str
	case "!!int":
		n.kind = integer
		if y.Decode(&n.number) != nil {
			b.bad(y.Line, y.Column, path, "the number "+quote(y.Value)+" is too large")
			return nil
		}
	case "!!float":
		n.kind = float
		if y.Decode(&n.fraction) != nil || math.IsInf(n.fraction, 0) || math.IsNaN(n.fraction) {
			b.bad(y.Line, y.Column, path, "expected a number, found "+quote(y.Value))
			return nil
		}
	case "!!bool":
		n.kind = boolean
		if y.Decode(&n.truth) != nil {
			b.bad(y.Line, y.Column, path, "expected true or false, found "+quote(y.Value))
			return nil
		}
	case "!!null":
		n.kind = null
	default:
		b.bad(y.Line, y.Column, path, "the tag "+quote(tag)+" is not read here")
		return nil
	}
	return n
}

// tag refuses a collection with a tag of its own, such as !!set.
func (b *builder) tag(y *yaml.Node, path, want string) bool {
	if tag := y.ShortTag(); tag != want {
		b.bad(y.Line, y.Column, path, "the tag "+quote(tag)+" is not read here")
		return false
	}
	return true
}

// oldBoolean says whether YAML 1.1, which Kubernetes reads, takes a word
// without quotes for a boolean where YAML 1.2 does not.
func oldBoolean(word string) bool {
	switch strings.ToLower(word) {
	case "y", "n":
		return true
	case "yes", "no", "on", "off":
		return word == strings.ToLower(word) || word == strings.ToUpper(word) || word[1:] == strings.ToLower(word[1:])
	}
	return false
}

// json returns the value as JSON.
func (n *node) json() []byte {
	text, err := json.Marshal(n.value())
	if err != nil {
		panic(err) // Strings, finite numbers, booleans, lists and maps cannot fail.
	}
	return text
}

func (n *node) value() any {
	switch n.kind {
	case mapping:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			m[f.key] = f.value.value()
		}
		return m
	case sequence:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.value()
		}
		return list
	case str:
		return n.text
	case integer:
		return n.number
	case float:
		return n.fraction
	case boolean:
		return n.truth
	case null:
	}
	return nil
}

// place returns where the field at path is written: at its value when that is a
// scalar, else at its key. When it is not written, written is false and the
// place is that of the nearest field around it that is.
func (n *node) place(path string) (line, column int, written bool) {
	line, column = n.line, n.column
	for path != "" {
		var key string
		if rest, ok := strings.CutPrefix(path, "["); ok {
			key, path, _ = strings.Cut(rest, "]")
		} else if end := strings.IndexAny(path, ".["); end >= 0 {
			key, path = path[:end], path[end:]
		} else {
			key, path = path, ""
		}
		path = strings.TrimPrefix(path, ".")

		if n.kind == sequence {
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(n.items) {
				return line, column, false
			}
			n = n.items[i]
			line, column = n.line, n.column
			continue
		}
		f := n.field(key)
		if f == nil {
			return line, column, false
		}
		n = f.value
		line, column = f.line, f.column
		if n.kind != mapping && n.kind != sequence {
			line, column = n.line, n.column
		}
	}
	return line, column, n.kind != null
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// quote quotes what a manifest holds for a message, cut when it is long.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "..."
	}
	return strconv.Quote(text)
}
