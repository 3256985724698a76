// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

'use strict';
const http = require('http'), net = require('net');
const server = http.createServer((req, res) => {
  let n = 0;
  req.on('data', (d) => { n += d.length; });
  req.on('end', () => res.end(JSON.stringify({ method: req.method, url: req.url, n })));
});
const ask = (port, options, body) => new Promise((resolve, reject) => {
  const req = http.request({ port, host: '127.0.0.1', ...options }, (res) => {
    let text = '';
    res.on('data', (d) => { text += d; });
    res.on('end', () => resolve(res.statusCode + ' ' + text));
  });
  req.on('error', reject);
  req.end(body);
});
server.listen(0, '127.0.0.1', async () => {
  const port = server.address().port;
  console.log(await ask(port, { path: '/a' }));
  console.log(await ask(port, { path: '/b', method: 'POST' }, 'x'.repeat(200000)));
  console.log((await Promise.all([1, 2, 3, 4].map((n) => ask(port, { path: '/' + n })))).join(' '));
  server.close(() => {
    net.connect(port, '127.0.0.1').on('error', (e) => console.log(e.code));
  });
});
