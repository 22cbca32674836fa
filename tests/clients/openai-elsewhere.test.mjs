// OpenAI's SDK for Node at providers of every dialect.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { IMAGE_TOKENS, MODELS, PNG, startDialects, TEXT } from './dialects.mjs';
import { connect, startProvider, WEATHER } from './world.mjs';

let sdk;

before(async () => {
  ({ sdk } = connect(`${await startDialects((await startProvider()).url)}/v1`));
});

const QUESTION = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: TEXT }];

for (const model of MODELS) {
  const ask = (fields = {}) => sdk.chat.completions.create({ model, messages: QUESTION, ...fields });

  test(`${model}: plain and streamed`, async () => {
    const answer = await ask({ max_tokens: 50 });
    assert.match(answer.choices[0].message.content, /What is a mill race\?/);
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.ok(answer.usage.total_tokens > 0);
    let text = '';
    let usage;
    for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.match(text, /What is a mill race\?/);
    assert.ok(usage.completion_tokens > 0);
  });

  test(`${model}: tools, plain and streamed`, async () => {
    const fields = { model, messages: QUESTION, tools: [WEATHER], tool_choice: 'required' };
    const whole = (await sdk.chat.completions.create(fields)).choices[0];
    const streamed = (await sdk.chat.completions.stream(fields).finalChatCompletion()).choices[0];
    for (const { message: { parsed: _, ...message }, finish_reason: reason } of [whole, streamed]) {
      assert.equal(reason, 'tool_calls');
      const [call] = message.tool_calls;
      assert.equal(JSON.parse(call.function.arguments).days, 42);
      const messages = [...QUESTION, message, { role: 'tool', tool_call_id: call.id, content: 'rain' }];
      assert.equal((await ask({ messages, tools: [WEATHER] })).choices[0].finish_reason, 'stop');
    }
  });

  test(`${model}: several tools are called at once, plain and streamed`, async () => {
    const tides = { ...WEATHER, function: { ...WEATHER.function, name: 'tides' } };
    const asked = [{ role: 'user', content: 'Please use the tool, in parallel.' }];
    const fields = { model, messages: asked, tools: [WEATHER, tides] };
    const whole = (await sdk.chat.completions.create(fields)).choices[0];
    const streamed = (await sdk.chat.completions.stream(fields).finalChatCompletion()).choices[0];
    for (const { message: { parsed: _, ...message } } of [whole, streamed]) {
      const calls = message.tool_calls;
      assert.deepEqual(calls.map((c) => c.function.name), ['weather', 'tides']);
      assert.ok(calls.every((c) => JSON.parse(c.function.arguments).days === 42) && calls[0].id !== calls[1].id);
      const results = calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'rain' }));
      assert.equal((await ask({ messages: [...asked, message, ...results], tools: fields.tools })).choices[0].finish_reason, 'stop');
    }
  });

  test(`${model}: an image and a schema`, async () => {
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } };
    const answer = await ask({ messages: [{ role: 'user', content: [{ type: 'text', text: TEXT }, image] }] });
    assert.match(answer.choices[0].message.content, /What is a mill race\?/);
    assert.ok(answer.usage.prompt_tokens > IMAGE_TOKENS);
    const json_schema = { name: 'place', schema: { ...WEATHER.function.parameters, additionalProperties: false } };
    const parsed = await ask({ response_format: { type: 'json_schema', json_schema } });
    assert.equal(JSON.parse(parsed.choices[0].message.content).days, 42);
  });
}

test('embeddings from Gemini, in the base64 that the SDK asks for', async () => {
  const { data } = await sdk.embeddings.create({ model: 'gem', input: ['a mill', 'a race'] });
  assert.equal(data.length, 2);
  assert.ok(data[0].embedding.length > 8 && data[0].embedding.every(Number.isFinite));
});
