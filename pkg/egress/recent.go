// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import "container/list"

// recent is a map that forgets what was not set for the longest time when it is full.
type recent[K comparable, V any] struct {
	most  int
	items map[K]*list.Element
	order list.List // of item[K, V], the newest in front
}

type item[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{most: most, items: map[K]*list.Element{}}
}

func (r *recent[K, V]) get(k K) (v V, ok bool) {
	e := r.items[k]
	if e == nil {
		return v, false
	}
	return e.Value.(item[K, V]).value, true
}

func (r *recent[K, V]) set(k K, v V) {
	if e := r.items[k]; e != nil {
		e.Value = item[K, V]{k, v}
		r.order.MoveToFront(e)
		return
	}
	r.items[k] = r.order.PushFront(item[K, V]{k, v})
	if len(r.items) > r.most {
		last := r.order.Back()
		r.order.Remove(last)
		delete(r.items, last.Value.(item[K, V]).key)
	}
}
