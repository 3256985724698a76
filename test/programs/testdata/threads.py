# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

import concurrent.futures, queue, threading, time
q, out, lock = queue.Queue(), [], threading.Lock()
def work():
    while (n := q.get()) is not None:
        time.sleep(0.001)
        with lock:
            out.append(n * n)
threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads: t.start()
for n in range(100): q.put(n)
for t in threads: q.put(None)
for t in threads: t.join()
print(sum(out), len(out))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda n: n ** 3, range(10))))
barrier, event, timer = threading.Barrier(3), threading.Event(), None
seen = []
def meet(n):
    barrier.wait(); event.wait(); seen.append(n)
ts = [threading.Thread(target=meet, args=(n,)) for n in range(3)]
for t in ts: t.start()
threading.Timer(0.01, event.set).start()
for t in ts: t.join()
print(sorted(seen), event.is_set(), threading.Condition().acquire(timeout=1))
