# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

import multiprocessing as mp
def square(n):
    return n * n
def fill(shared, n):
    with shared.get_lock():
        shared[n] = n + 1
if __name__ == "__main__":
    mp.set_start_method("fork")
    with mp.Pool(3) as pool:
        print(pool.map(square, range(20)))
    shared = mp.Array("i", 4)
    ps = [mp.Process(target=fill, args=(shared, n)) for n in range(4)]
    for p in ps: p.start()
    for p in ps: p.join()
    print(list(shared), [p.exitcode for p in ps])
    a, b = mp.Pipe()
    a.send({"x": 1}); print(b.recv())
