// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

'use strict';
const { execFileSync, spawn, spawnSync, fork } = require('child_process');
if (process.argv[2] === 'child') {
  process.on('message', (m) => { process.send({ twice: m.n * 2 }); process.disconnect(); });
} else {
  console.log(execFileSync('sort', { input: 'b\na\n' }).toString());
  const r = spawnSync('sh', ['-c', 'echo out; exit 3']);
  console.log(r.status, r.stdout.toString());
  const p = spawn('cat');
  p.stdout.on('data', (d) => console.log('cat ' + d));
  p.on('close', (code) => {
    console.log('closed ' + code);
    const k = spawn('sleep', ['30']);
    k.on('exit', (code, signal) => {
      console.log(code, signal);
      const c = fork(__filename, ['child']);
      c.on('message', (m) => console.log(m));
      c.on('exit', (code) => console.log('child ' + code));
      c.send({ n: 21 });
    });
    k.kill();
  });
  p.stdin.end('through');
}
