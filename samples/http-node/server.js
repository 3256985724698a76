// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// A receiver of CloudEvents with the CloudEvents SDK for JavaScript, as for Knative
// Serving. Nothing in it knows of Kontain Eventing. It counts its requests in memory and
// in a file, to show that each event finds it as it was when it was ready.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const {CloudEvent, HTTP} = require('cloudevents');

const countFile = path.join(os.tmpdir(), 'count');
let requests = 0;

function greet(event) {
  requests++;
  fs.appendFileSync(countFile, 'x');
  return event.cloneWith({
    id: event.id + '-greeting',
    source: '/samples/http-node',
    type: 'dev.kontain.greeting',
    datacontenttype: 'application/json',
    data: {greeting: `hello, ${event.data.name}`, request: requests, in_file: fs.statSync(countFile).size},
  });
}

// warmUp has an event read and answered before the server listens: what the SDK loads and
// compiles with its first event is then in the snapshot.
function warmUp() {
  const event = new CloudEvent({type: 'warm.up', source: '/samples/http-node', data: {name: 'nobody'}});
  const {headers, body} = HTTP.binary(event);
  HTTP.binary(HTTP.toEvent({headers, body}).cloneWith({id: 'warm-up'}));
}

function refuse(response, status, text) {
  response.writeHead(status, {'Content-Type': 'text/plain'}).end(text);
}

const server = http.createServer(async (request, response) => {
  if (request.method !== 'POST') {
    response.writeHead(request.url === '/health/readiness' ? 200 : 404).end();
    return;
  }
  let body = '';
  for await (const part of request.setEncoding('utf8')) {
    body += part;
  }
  let event;
  try {
    event = HTTP.toEvent({headers: request.headers, body});
  } catch (err) {
    refuse(response, 400, `no CloudEvent: ${err.message}`);
    return;
  }
  if (!(event instanceof CloudEvent) || typeof event.data?.name !== 'string') {
    refuse(response, 400, 'the data of the event must be {"name": TEXT}');
    return;
  }
  const answer = HTTP.binary(greet(event));
  response.writeHead(200, answer.headers).end(answer.body);
});
warmUp();
server.listen(Number(process.env.PORT ?? 8080));
