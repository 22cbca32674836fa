// Anthropic's SDK for Node, unmodified, at providers of every dialect.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { before, test } from 'node:test';

import { IMAGE_TOKENS, MODELS, PNG, startDialects, TEXT, WEATHER } from './dialects.mjs';
import { startProvider } from './world.mjs';

const Anthropic = createRequire(new URL('.sdks/', import.meta.url))('@anthropic-ai/sdk');

let url;
const connect = (apiKey = 'sdk-key') => new Anthropic.Anthropic({ baseURL: url, apiKey, maxRetries: 0 });

before(async () => {
  url = await startDialects((await startProvider()).url);
});

const QUESTION = [{ role: 'user', content: TEXT }];
const ask = (model, fields = {}) => connect().messages.create({ model, max_tokens: 100, messages: QUESTION, ...fields });
const TOOL = { name: 'weather', description: 'tells it', input_schema: WEATHER };

for (const model of MODELS) {
  test(`${model}: a whole answer`, async () => {
    const answer = await ask(model, { system: 'Be brief.' });
    assert.equal(answer.model, model);
    assert.match(answer.content[0].text, /What is a mill race\?/);
    assert.equal(answer.stop_reason, 'end_turn');
    assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
  });

  test(`${model}: max_tokens`, async () => {
    assert.equal((await ask(model, { max_tokens: 3 })).stop_reason, 'max_tokens');
  });

  test(`${model}: a stream is the whole answer`, async () => {
    const stream = connect().messages.stream({ model, max_tokens: 100, messages: QUESTION });
    let text = '';
    stream.on('text', (piece) => { text += piece; });
    const final = await stream.finalMessage();
    assert.match(text, /What is a mill race\?/);
    assert.equal(final.content[0].text, text);
    assert.equal(final.stop_reason, 'end_turn');
    assert.ok(final.usage.output_tokens > 0);
  });

  test(`${model}: a tool is called and its result answered, plain and streamed`, async () => {
    for (const streamed of [false, true]) {
      const fields = { model, max_tokens: 100, messages: QUESTION, tools: [TOOL], tool_choice: { type: 'any' } };
      const answer = await (streamed ? connect().messages.stream(fields).finalMessage() : connect().messages.create(fields));
      assert.equal(answer.stop_reason, 'tool_use');
      const call = answer.content.find((block) => block.type === 'tool_use');
      assert.deepEqual([call.name, call.input.days], ['weather', 42]);
      const messages = [...QUESTION, { role: 'assistant', content: answer.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'rain' }] }];
      assert.equal((await ask(model, { messages, tools: [TOOL] })).stop_reason, 'end_turn');
    }
  });

  test(`${model}: an image`, async () => {
    const content = [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } },
      { type: 'text', text: TEXT }];
    const answer = await ask(model, { messages: [{ role: 'user', content }] });
    assert.match(answer.content[0].text, /What is a mill race\?/);
    assert.ok(answer.usage.input_tokens > IMAGE_TOKENS);
  });

  test(`${model}: tokens are counted`, async () => {
    assert.ok((await connect().messages.countTokens({ model, messages: QUESTION })).input_tokens > 3);
  });
}

const think = (model, streamed, fields = {}) => {
  const thinking = { type: 'enabled', budget_tokens: 1024 };
  const request = { model, max_tokens: 4000, messages: QUESTION, thinking, ...fields };
  return streamed ? connect().messages.stream(request).finalMessage() : connect().messages.create(request);
};

for (const streamed of [false, true]) {
  for (const model of ['claude', 'gem']) {
    test(`${model}: thinking comes with a signature that may be sent back${streamed ? ', streamed' : ''}`, async () => {
      const { content } = await think(model, streamed);
      assert.equal(content[0].type, 'thinking');
      assert.ok(content[0].thinking);
      // Gemini signs at the end of a stream, which becomes a block of its own.
      assert.ok(content[0].signature || content.at(-1).data);
      const messages = [...QUESTION, { role: 'assistant', content }, { role: 'user', content: 'And?' }];
      assert.equal((await think(model, streamed, { messages })).stop_reason, 'end_turn');
      const altered = [{ ...content[0], signature: model === 'gem' ? 'gemini#c2ln' : 'c2ln' }, ...content.slice(1)];
      messages[1] = { role: 'assistant', content: altered };
      await assert.rejects(think(model, streamed, { messages }), Anthropic.BadRequestError);
    });
  }

  for (const model of MODELS) {
    test(`${model}: thinking in a turn with a tool${streamed ? ', streamed' : ''}`, async () => {
      const asked = [{ role: 'user', content: 'Please use the tool.' }];
      const { content } = await think(model, streamed, { messages: asked, tools: [TOOL] });
      const call = content.at(-1);
      assert.equal(call.type, 'tool_use');
      const messages = [...asked, { role: 'assistant', content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'rain' }] }];
      for (const next of MODELS) {
        const last = await think(next, streamed, { messages, tools: [TOOL] });
        assert.equal(last.stop_reason, 'end_turn', `then at ${next}`);
      }
    });
  }
}

test('errors are the classes of the SDK', async () => {
  await assert.rejects(ask('nobody'), Anthropic.NotFoundError);
  await assert.rejects(ask('gpt', { max_tokens: -1 }), Anthropic.BadRequestError);
  await assert.rejects(ask('refused'), Anthropic.BadRequestError);
  await assert.rejects(ask('broken'), Anthropic.InternalServerError);
  const unknown = connect('wrong').messages.create({ model: 'gpt', max_tokens: 9, messages: QUESTION });
  await assert.rejects(unknown, Anthropic.AuthenticationError);
  const small = connect('small-key');
  const question = { model: 'claude', max_tokens: 9, messages: QUESTION };
  await small.messages.create(question);
  await assert.rejects(small.messages.create({ ...question, max_tokens: 10 }), (e) => {
    assert.ok(e instanceof Anthropic.RateLimitError);
    return Number(e.headers.get('retry-after')) > 0;
  });
});

test('a stream that is cut is an error', async () => {
  const stream = connect().messages.stream({ model: 'cut', max_tokens: 100, messages: QUESTION });
  await assert.rejects(stream.finalMessage(), Anthropic.APIError);
});
