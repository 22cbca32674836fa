// What the Node SDK throws when something goes wrong, and how often it calls.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { before, beforeEach, test } from 'node:test';

import { configuration, connect, OpenAI, QUESTION, startNode, startProvider, waitUntil } from './world.mjs';

let provider;
let url;
let client; // counts its calls

before(async () => {
  provider = await startProvider('long:tokens=20000,tokens_per_second=200', 'cut:tokens_per_second=50,fault=cut=5',
    'error-event:tokens_per_second=50,fault=error-event=5');
  ({ url } = await startNode(configuration(provider.url)));
});

beforeEach(() => {
  client = connect(url);
});

function ask(model, { sdk } = client, fields = {}, options = {}) {
  return sdk.chat.completions.create({ model, messages: QUESTION, ...fields }, options);
}

// The error that `call` ends with, looked at.
async function refusal(call, kind, status, code) {
  const error = await call.then(() => assert.fail('an answer instead of an error'), (e) => e);
  assert.equal(error.constructor.name, kind.name, String(error));
  assert.equal(error.status, status);
  if (code !== undefined) assert.equal(error.code, code);
  assert.ok(error.error.message);
  assert.ok(error.requestID);
  return error;
}

// The chunks that come before a stream fails, and how it failed.
async function brokenStream(call) {
  const chunks = [];
  try {
    for await (const chunk of await call) chunks.push(chunk);
  } catch (error) {
    return { chunks, error };
  }
  return assert.fail(`the stream looks complete after ${chunks.length} chunks`);
}

test('a wrong key', () => refusal(ask('chat', connect(url, 'wrong')), OpenAI.AuthenticationError, 401,
  'invalid_api_key'));

test('an unknown model', () => refusal(ask('no-such-model'), OpenAI.NotFoundError, 404, 'model_not_found'));

test('an unknown route', () => assert.rejects(client.sdk.post('/no-such-route', { body: {} }), OpenAI.NotFoundError));

test('a bad request costs nothing', async () => {
  const earlier = await provider.calls('gpt-4o-mini');
  const call = client.sdk.post('/chat/completions', { body: { messages: QUESTION } });
  await refusal(call, OpenAI.BadRequestError, 400);
  assert.equal(client.calls, 1);
  assert.equal(await provider.calls('gpt-4o-mini'), earlier);
});

test("the provider's word about a request is passed on", async () => {
  await refusal(ask('fault-400'), OpenAI.BadRequestError, 400, 'simulated');
  await refusal(ask('fault-422'), OpenAI.UnprocessableEntityError, 422, 'simulated');
  assert.equal(client.calls, 2);
});

for (const model of ['fault-500', 'fault-503', 'fault-html', 'fault-truncate', 'refused']) {
  test(`a provider that fails with ${model} is not called again by the SDK`, async () => {
    const upstream = model === 'refused' ? 'fault-401' : model;
    const earlier = await provider.calls(upstream);
    const error = await refusal(ask(model), OpenAI.InternalServerError, 502);
    assert.equal(error.headers.get('x-should-retry'), 'false');
    assert.equal(client.calls, 1);
    assert.equal(await provider.calls(upstream), earlier + 1);
  });
}

test('a late provider', async () => {
  const earlier = await provider.calls('fault-stall');
  const error = await refusal(ask('late'), OpenAI.InternalServerError, 504, 'upstream_timeout');
  assert.equal(error.headers.get('x-should-retry'), 'false');
  assert.deepEqual([client.calls, await provider.calls('fault-stall')], [1, earlier + 1]);
});

test("a deadline of the caller's", async () => {
  const patience = { maxRetries: 0, headers: { 'x-millrace-timeout-ms': '200' } };
  await refusal(ask('fault-stall', client, {}, patience), OpenAI.InternalServerError, 504);
});

test('an open breaker', async () => {
  const node = await startNode({ ...configuration(provider.url), breaker: { consecutive_failures: 2, open: '60s' } });
  const other = connect(node.url, 'sdk-key', { maxRetries: 0 });
  for (let i = 0; i < 2; i += 1) await refusal(ask('fault-500', other), OpenAI.InternalServerError, 502);
  const earlier = await provider.calls('fault-500');
  const error = await refusal(ask('fault-500', other), OpenAI.InternalServerError, 503);
  assert.ok(Number(error.headers.get('retry-after')) >= 1);
  assert.equal(await provider.calls('fault-500'), earlier);
});

test("the client's own limit", async () => {
  const small = connect(url, 'small-key', { maxRetries: 0 });
  await ask('chat', small);
  await ask('chat', small);
  const error = await refusal(ask('chat', small), OpenAI.RateLimitError, 429, 'rate_limit_exceeded');
  assert.ok(Number(error.headers.get('retry-after')) > 50);
  assert.equal(error.headers.get('x-ratelimit-remaining-requests'), '0');
});

test('the SDK comes back when it is told to', async (t) => {
  const arrived = [];
  const slow = createServer((request, response) => {
    request.resume().on('end', () => {
      arrived.push(performance.now());
      const first = arrived.length === 1;
      response.writeHead(first ? 429 : 200, { 'content-type': 'application/json', ...(first && { 'retry-after': '2' }) });
      const message = { role: 'assistant', content: 'good' };
      response.end(JSON.stringify(first ? { error: { message: 'slow down', type: 'requests', param: null, code: 'x' } }
        : { id: 'i', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message,
          finish_reason: 'stop' }] }));
    });
  });
  await new Promise((resolve) => { slow.listen(0, '127.0.0.1', resolve); });
  t.after(() => { slow.close(); slow.closeAllConnections?.(); });
  const node = await startNode(configuration(`http://127.0.0.1:${slow.address().port}/v1`));
  const patient = connect(node.url);
  const answer = await ask('chat', patient, {}, { headers: { 'x-millrace-timeout-ms': '300' } });
  assert.equal(answer.choices[0].message.content, 'good');
  assert.deepEqual([patient.calls, arrived.length], [2, 2]);
  assert.ok(arrived[1] - arrived[0] >= 1999, 'it came back too early');
});

test('nobody listens', async () => {
  const node = await startNode(configuration(provider.url));
  await node.stop();
  await assert.rejects(ask('chat', connect(node.url, 'sdk-key', { maxRetries: 0 })), OpenAI.APIConnectionError);
});

async function cancels(leave) {
  const { cancelled } = await provider.key('upstream-1');
  await leave();
  const book = () => provider.key('upstream-1');
  await waitUntil(async () => (await book()).cancelled === cancelled + 1, 'the provider sees that the client is gone');
  await waitUntil(async () => (await book()).in_flight === 0, 'nothing is left in flight');
}

test("an aborted stream ends the provider's work", () => cancels(async () => {
  const stream = await ask('long', client, { stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.choices.length);
    stream.controller.abort();
  }
}));

test("a stream that is left ends the provider's work", () => cancels(async () => {
  for await (const chunk of await ask('long', client, { stream: true })) {
    assert.ok(chunk.choices.length);
    break;
  }
}));

test("an aborted wait ends the provider's work", () => cancels(async () => {
  const controller = new AbortController();
  const call = ask('fault-stall', client, {}, { signal: controller.signal });
  const ended = assert.rejects(call, OpenAI.APIUserAbortError);
  await waitUntil(async () => (await provider.key('upstream-1')).in_flight === 1, 'the call is under way');
  controller.abort();
  await ended;
}));

test("the SDK's own timeout ends the provider's work", () => cancels(async () => {
  const call = ask('fault-stall', client, {}, { timeout: 500, maxRetries: 0 });
  await assert.rejects(call, OpenAI.APIConnectionTimeoutError);
}));

for (const model of ['cut', 'error-event', 'fault-truncate', 'stops']) {
  test(`a stream that breaks (${model}) never looks complete`, async () => {
    const { chunks, error } = await brokenStream(ask(model, client, { stream: true }));
    assert.ok(error instanceof OpenAI.APIError, String(error));
    assert.ok(chunks.length, 'what came before the break is delivered');
    assert.ok(chunks.every((c) => c.choices[0].finish_reason === null));
    assert.equal(client.calls, 1);
  });
}
