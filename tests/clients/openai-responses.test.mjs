// OpenAI's SDK for Node and its Responses API, at providers that have it and that do not.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { IMAGE_TOKENS, MODELS, NATIVE, PNG, startDialects, TEXT, WEATHER } from './dialects.mjs';
import { connect, startProvider } from './world.mjs';

let sdk;

before(async () => {
  ({ sdk } = connect(`${await startDialects((await startProvider()).url)}/v1`, 'sdk-key', { maxRetries: 0 }));
});

const TOOL = { type: 'function', name: 'weather', parameters: { ...WEATHER, additionalProperties: false }, strict: true };

for (const model of [...MODELS, NATIVE]) {
  const ask = (fields = {}) =>
    sdk.responses.create({ model, instructions: 'Be brief.', input: TEXT, max_output_tokens: 50, ...fields });

  test(`${model}: plain and streamed`, async () => {
    const answer = await ask();
    assert.match(answer.output_text, /What is a mill race\?/);
    assert.equal(answer.status, 'completed');
    assert.equal(answer.model, model);
    assert.ok(answer.usage.total_tokens > 0);
    let text = '';
    const stream = sdk.responses.stream({ model, input: TEXT });
    stream.on('response.output_text.delta', (event) => { text += event.delta; });
    const whole = await stream.finalResponse();
    assert.match(whole.output_text, /What is a mill race\?/);
    assert.equal(text, whole.output_text);
    assert.ok(whole.usage.output_tokens > 0);
  });

  test(`${model}: a loop of tools`, async () => {
    const fields = { model, input: TEXT, tools: [TOOL], tool_choice: 'required' };
    for (const answer of [await sdk.responses.create(fields), await sdk.responses.stream(fields).finalResponse()]) {
      const call = answer.output.find((item) => item.type === 'function_call');
      assert.equal(JSON.parse(call.arguments).days, 42);
      const output = answer.output.map(({ parsed_arguments: _, ...item }) => item);
      const input = [{ role: 'user', content: TEXT }, ...output,
        { type: 'function_call_output', call_id: call.call_id, output: 'rain' }];
      const last = await ask({ input, tools: [TOOL] });
      assert.equal(last.status, 'completed');
      assert.ok(last.output_text.length > 0);
    }
  });

  test(`${model}: an image and a schema`, async () => {
    const content = [{ type: 'input_text', text: TEXT },
      { type: 'input_image', image_url: `data:image/png;base64,${PNG}`, detail: 'auto' }];
    const answer = await ask({ input: [{ role: 'user', content }] });
    assert.match(answer.output_text, /What is a mill race\?/);
    assert.ok(answer.usage.input_tokens > IMAGE_TOKENS);
    const format = { type: 'json_schema', name: 'place', schema: TOOL.parameters, strict: true };
    const parsed = await sdk.responses.parse({ model, input: TEXT, text: { format } });
    assert.equal(parsed.output_parsed.days, 42);
  });

  test(`${model}: what only OpenAI can do is refused`, { skip: model === NATIVE }, async () => {
    await assert.rejects(ask({ previous_response_id: 'resp_1' }), { status: 400, code: 'unsupported_field' });
    await assert.rejects(ask({ tools: [{ type: 'web_search' }] }), { status: 400, param: 'tools[0].type' });
  });
}

const passed = (fields = {}) => sdk.responses.create({ model: NATIVE, input: TEXT, ...fields });

test('native: what only the API itself knows is passed on', async () => {
  const answer = await passed({ metadata: { a: 'b' }, truncation: 'auto', store: false });
  assert.deepEqual([answer.metadata, answer.truncation, answer.store], [{ a: 'b' }, 'auto', false]);
});

test('native: thoughts come back by id or encrypted', async () => {
  const asked = [{ role: 'user', content: TEXT }];
  for (const fields of [{}, { store: false, include: ['reasoning.encrypted_content'] }]) {
    const reasoning = { effort: 'low', summary: 'auto' };
    const request = { model: NATIVE, input: asked, reasoning, ...fields };
    for (const answer of [await passed(request), await sdk.responses.stream(request).finalResponse()]) {
      assert.equal(answer.output[0].type, 'reasoning');
      assert.ok(answer.output[0].summary[0].text.length > 0);
      const output = answer.output.map((item) => ({ ...item,
        ...(item.content && { content: item.content.map(({ parsed: _, ...part }) => part) }) }));
      const input = [...asked, ...output, { role: 'user', content: 'And?' }];
      assert.equal((await passed({ ...request, input })).status, 'completed');
    }
  }
});

test('native: refusals and failures are the API\'s own', async () => {
  const refusals = [[{ previous_response_id: 'resp_1' }, 400, 'previous_response_not_found'],
    [{ max_output_tokens: 3 }, 400, 'integer_below_min_value'], [{ conversation: 'conv_1' }, 404, null]];
  for (const [fields, status, code] of refusals) await assert.rejects(passed(fields), { status, code });
  await assert.rejects(passed({ model: 'native-broken' }), { status: 502 });
  for (const model of ['native-cut', 'native-error']) {
    const seen = [];
    await assert.rejects(async () => {
      for await (const event of await passed({ model, stream: true })) seen.push(event.type);
    });
    assert.ok(!seen.includes('response.completed'));
  }
});

test('errors, before and amid a stream', async () => {
  const ask = (model, stream) => sdk.responses.create({ model, input: TEXT, stream });
  await assert.rejects(ask('nobody'), { status: 404, code: 'model_not_found' });
  await assert.rejects(ask('refused'), { status: 400 });
  await assert.rejects(ask('broken', true), { status: 502 });
  const seen = [];
  await assert.rejects(async () => {
    for await (const event of await ask('cut', true)) seen.push(event.type);
  }, /provider|stream|answer/i);
  assert.ok(seen.includes('response.output_text.delta'));
  assert.ok(!seen.includes('response.completed'));
});
