// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command sync proves: mutexes, read-write locks, conditions, wait groups,
// Once, Pool, sync.Map and atomics under contention, on several threads.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func main() {
	runtime.GOMAXPROCS(8)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		rw      sync.RWMutex
		once    sync.Once
		m       sync.Map
		counter int
		shared  [2]int
		onces   atomic.Int32
		sum     atomic.Int64
		pool    = sync.Pool{New: func() any { return new([100]int) }}
	)
	for g := range 32 {
		wg.Go(func() {
			once.Do(func() { onces.Add(1) })
			for i := range 500 {
				mu.Lock()
				counter++
				mu.Unlock()
				if i%10 == 0 {
					rw.Lock()
					shared[0]++
					shared[1]--
					rw.Unlock()
				} else {
					rw.RLock()
					if shared[0]+shared[1] != 0 {
						fmt.Println("torn")
						os.Exit(1)
					}
					rw.RUnlock()
				}
				p := pool.Get().(*[100]int)
				p[i%100] = i
				pool.Put(p)
				m.LoadOrStore(i, g)
				sum.Add(int64(i))
				if i%50 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	n := 0
	m.Range(func(any, any) bool { n++; return true })
	fmt.Println(counter, shared, onces.Load(), sum.Load(), n)

	cond := sync.NewCond(&mu)
	queue := []int{}
	got := 0
	for range 8 {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for {
				for len(queue) == 0 {
					cond.Wait()
				}
				v := queue[0]
				queue = queue[1:]
				if v < 0 {
					return
				}
				got += v
			}
		})
	}
	for i := range 1000 {
		mu.Lock()
		queue = append(queue, i)
		mu.Unlock()
		cond.Signal()
	}
	mu.Lock()
	for range 8 {
		queue = append(queue, -1)
	}
	mu.Unlock()
	cond.Broadcast()
	wg.Wait()
	fmt.Println("consumed", got)

	// Goroutines tied to threads hand a token round.
	const ring = 10
	var ch [ring]chan int
	for i := range ch {
		ch[i] = make(chan int, 1)
	}
	for i := range ring {
		wg.Go(func() {
			runtime.LockOSThread()
			for v := range ch[i] {
				if v < 200 {
					ch[(i+1)%ring] <- v + 1
				} else {
					for _, c := range ch {
						close(c)
					}
				}
			}
		})
	}
	ch[0] <- 0
	wg.Wait()
	fmt.Println("ring done")
}
