// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsource

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// written knows when the histories of sources were written last.
type written struct {
	mu  sync.Mutex
	per map[types.NamespacedName]time.Time
}

func (w *written) last(key types.NamespacedName) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.per[key]
}

func (w *written) note(key types.NamespacedName, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.per == nil {
		w.per = map[types.NamespacedName]time.Time{}
	}
	w.per[key] = at
}

func (w *written) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.per, key)
}
