// What the Node SDK gets when all goes well.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { configuration, connect, OpenAI, QUESTION, startNode, startProvider, WEATHER } from './world.mjs';

let url;
let sdk;

before(async () => {
  const provider = await startProvider();
  ({ url } = await startNode(configuration(provider.url)));
  ({ sdk } = connect(url));
});

const ask = (fields = {}) => sdk.chat.completions.create({ model: 'chat', messages: QUESTION, ...fields });

async function collect(stream) {
  const chunks = [];
  for await (const chunk of await stream) chunks.push(chunk);
  return chunks;
}

test('a whole answer', async () => {
  const answer = await ask({ max_tokens: 8 });
  assert.equal(answer.model, 'chat');
  assert.match(answer.choices[0].message.content, /What is a mill race\?/);
  assert.equal(answer.choices[0].finish_reason, 'length');
  assert.equal(answer.usage.completion_tokens, 8);
});

test('a streamed answer is the whole one', async () => {
  const whole = (await ask()).choices[0].message.content;
  const chunks = await collect(ask({ stream: true }));
  assert.equal(chunks.map((c) => c.choices[0].delta.content ?? '').join(''), whole);
  assert.deepEqual(chunks.map((c) => c.choices[0].finish_reason).filter(Boolean), ['stop']);
  assert.ok(chunks.every((c) => c.model === 'chat' && !c.usage));
});

test('a stream with usage', async () => {
  const chunks = await collect(ask({ stream: true, stream_options: { include_usage: true }, max_tokens: 6 }));
  const last = chunks.pop();
  assert.deepEqual([last.choices, last.usage.completion_tokens], [[], 6]);
  assert.ok(chunks.every((c) => c.choices.length === 1 && !c.usage));
});

test('a tool is called and its result answered', async () => {
  const { message, finish_reason: reason } = (await ask({ tools: [WEATHER], tool_choice: 'required' })).choices[0];
  assert.equal(reason, 'tool_calls');
  const [call] = message.tool_calls;
  assert.deepEqual([call.function.name, JSON.parse(call.function.arguments).days], ['weather', 42]);
  const messages = [...QUESTION, message, { role: 'tool', tool_call_id: call.id, content: 'rain' }];
  const answer = await ask({ messages, tools: [WEATHER] });
  assert.equal(answer.choices[0].finish_reason, 'stop');
});

test('a streamed tool call is put together', async () => {
  const fields = { model: 'chat', messages: QUESTION, tools: [WEATHER], tool_choice: 'required' };
  const stream = sdk.chat.completions.stream(fields);
  const chunks = await collect(stream);
  const pieces = chunks.filter((c) => c.choices[0].delta.tool_calls?.[0].function?.arguments);
  assert.ok(pieces.length > 1, 'the arguments are streamed');
  const [choice] = (await stream.finalChatCompletion()).choices;
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.equal(JSON.parse(choice.message.tool_calls[0].function.arguments).days, 42);
});

test('JSON mode and a schema', async () => {
  const messages = [{ role: 'system', content: 'Answer in JSON.' }, ...QUESTION];
  const free = await ask({ messages, response_format: { type: 'json_object' } });
  assert.match(JSON.parse(free.choices[0].message.content).echo, /What is a mill race\?/);
  const schema = { name: 'place', strict: true, 
    schema: { ...WEATHER.function.parameters, required: ['city', 'days'], additionalProperties: false } };
  const parsed = await sdk.chat.completions.parse({ model: 'chat', messages: QUESTION,
    response_format: { type: 'json_schema', json_schema: schema } });
  assert.equal(JSON.parse(parsed.choices[0].message.content).days, 42);
});

test('embeddings', async () => {
  const question = { model: 'embed', input: ['a mill', 'a race', 'a mill'], dimensions: 16 };
  const packed = await sdk.embeddings.create(question); // base64 on the wire
  const plain = await sdk.embeddings.create({ ...question, encoding_format: 'float' });
  assert.equal(packed.data.length, 3);
  packed.data.forEach(({ embedding }, i) => {
    assert.equal(embedding.length, 16);
    embedding.forEach((x, j) => assert.ok(Math.abs(x - plain.data[i].embedding[j]) < 1e-5));
  });
  assert.deepEqual([...packed.data[0].embedding], [...packed.data[2].embedding]);
  assert.notDeepEqual([...packed.data[0].embedding], [...packed.data[1].embedding]);
});

test('completions', async () => {
  const question = { model: 'chat', prompt: 'Once upon a time', max_tokens: 5 };
  const whole = await sdk.completions.create(question);
  assert.match(whole.choices[0].text, /Once upon a time/);
  const chunks = await collect(sdk.completions.create({ ...question, stream: true }));
  assert.equal(chunks.map((c) => c.choices[0].text).join(''), whole.choices[0].text);
});

test('models', async () => {
  const names = (await sdk.models.list()).data.map((m) => m.id);
  assert.ok(names.includes('chat') && names.includes('embed'));
  assert.equal((await sdk.models.retrieve('chat')).id, 'chat');
  await assert.rejects(sdk.models.retrieve('no-such-model'), OpenAI.NotFoundError);
});

test('request ids and headers', async () => {
  const question = { model: 'chat', messages: QUESTION };
  const small = connect(url, 'small-key').sdk;
  const { data, response, request_id: id } = await small.chat.completions.create(question).withResponse();
  const header = (name) => response.headers.get(name);
  assert.ok(id);
  assert.deepEqual([id, data._request_id], [header('x-request-id'), id]);
  assert.deepEqual([header('x-ratelimit-limit-requests'), header('x-ratelimit-remaining-requests')], ['2', '1']);
  assert.equal(header('x-ratelimit-limit-tokens'), '100000');
  assert.deepEqual([header('x-millrace-provider'), header('x-millrace-model')], ['p', 'gpt-4o-mini']);
  assert.deepEqual([header('x-millrace-key'), header('x-millrace-attempts')], ['upstream-1', '1']);
  assert.ok(Number(header('x-millrace-cost-usd')) > 0);
  const own = await sdk.chat.completions.create(question, { headers: { 'x-request-id': 'mine-1' } });
  assert.equal(own._request_id, 'mine-1');
});

test('many at once', async () => {
  const one = async (i) => {
    const chunks = await collect(ask({ messages: [{ role: 'user', content: `question ${i}` }], stream: true }));
    return chunks.map((c) => c.choices[0].delta.content ?? '').join('');
  };
  const texts = await Promise.all(Array.from({ length: 20 }, (_, i) => one(i)));
  texts.forEach((text, i) => assert.ok(text.includes(`question ${i} `)));
});
