// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

'use strict';
const crypto = require('crypto'), fs = require('fs'), os = require('os'), path = require('path'), zlib = require('zlib');
const order = [];
const done = () => {
  console.log(order.join(' '));
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'n-'));
  fs.writeFileSync(path.join(dir, 'f'), 'text');
  fs.promises.readFile(path.join(dir, 'f'), 'utf8').then((s) => {
    console.log(s, fs.readdirSync(dir), fs.statSync(path.join(dir, 'f')).size);
    fs.rmSync(dir, { recursive: true });
    console.log(crypto.createHash('sha256').update('x').digest('hex'), zlib.gunzipSync(zlib.gzipSync('zip')).toString());
    console.log(crypto.randomBytes(8).length, Intl.NumberFormat('de').format(1234.5));
  });
};
process.nextTick(() => order.push('tick'));
Promise.resolve().then(() => order.push('promise'));
setImmediate(() => {
  order.push('immediate');
  setTimeout(() => {
    order.push('t5');
    setTimeout(() => order.push('t20'), 20);
    let n = 0;
    const i = setInterval(() => { order.push('i' + n); if (++n === 3) { clearInterval(i); setTimeout(done, 30); } }, 100);
  }, 5);
});
order.push('main');
