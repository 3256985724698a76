// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
if (isMainThread) {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const jobs = [1, 2, 3].map((n) => new Promise((resolve, reject) => {
    const w = new Worker(__filename, { workerData: { n, shared } });
    w.once('message', resolve); w.once('error', reject);
  }));
  Promise.all(jobs).then((all) => console.log(all.sort((a, b) => a - b), Atomics.load(shared, 0)));
} else {
  let s = 0;
  for (let i = 0; i < 1e6; i++) s += i % workerData.n;
  Atomics.add(workerData.shared, 0, workerData.n);
  parentPort.postMessage(s);
}
