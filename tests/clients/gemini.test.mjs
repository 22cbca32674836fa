// Google's SDK for Node, unmodified, at providers of every dialect.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { before, test } from 'node:test';

import { IMAGE_TOKENS, MODELS, PNG, startDialects, TEXT, WEATHER } from './dialects.mjs';
import { startProvider } from './world.mjs';

const { ApiError, GoogleGenAI } = createRequire(new URL('.sdks/', import.meta.url))('@google/genai');

let url;
const connect = (apiKey = 'sdk-key') => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } });

before(async () => {
  url = await startDialects((await startProvider()).url);
});

const ask = (model, config, contents = TEXT) => connect().models.generateContent({ model, contents, config });
const TOOLS = [{ functionDeclarations: [{ name: 'weather', description: 'tells it', parametersJsonSchema: WEATHER }] }];
const forced = { tools: TOOLS, toolConfig: { functionCallingConfig: { mode: 'ANY' } } };

for (const model of MODELS) {
  test(`${model}: a whole answer`, async () => {
    const answer = await ask(model, { systemInstruction: 'Be brief.', temperature: 0.5 });
    assert.match(answer.text, /What is a mill race\?/);
    assert.equal(answer.candidates[0].finishReason, 'STOP');
    assert.ok(answer.usageMetadata.candidatesTokenCount > 0);
  });

  test(`${model}: maxOutputTokens`, async () => {
    assert.equal((await ask(model, { maxOutputTokens: 3 })).candidates[0].finishReason, 'MAX_TOKENS');
  });

  test(`${model}: a stream is the whole answer`, async () => {
    let text = '';
    let last;
    for await (const chunk of await connect().models.generateContentStream({ model, contents: TEXT })) {
      text += chunk.text ?? '';
      last = chunk;
    }
    assert.match(text, /What is a mill race\?/);
    assert.equal(last.candidates[0].finishReason, 'STOP');
    assert.ok(last.usageMetadata.candidatesTokenCount > 0);
  });

  test(`${model}: a tool is called and its result answered`, async () => {
    const answer = await ask(model, forced);
    const [call] = answer.functionCalls;
    assert.deepEqual([call.name, call.args.days], ['weather', 42]);
    const contents = [{ role: 'user', parts: [{ text: TEXT }] }, answer.candidates[0].content,
      { role: 'user', parts: [{ functionResponse: { id: call.id, name: 'weather', response: { output: 'rain' } } }] }];
    assert.equal((await ask(model, { tools: TOOLS }, contents)).candidates[0].finishReason, 'STOP');
  });

  test(`${model}: an image and a schema`, async () => {
    const contents = [{ role: 'user', parts: [{ inlineData: { mimeType: 'image/png', data: PNG } }, { text: TEXT }] }];
    const seen = await ask(model, {}, contents);
    assert.match(seen.text, /What is a mill race\?/);
    assert.ok(seen.usageMetadata.promptTokenCount > IMAGE_TOKENS);
    const answer = await ask(model, { responseMimeType: 'application/json', responseJsonSchema: WEATHER });
    assert.equal(JSON.parse(answer.text).days, 42);
  });
}

test('embeddings', async () => {
  for (const model of ['embed', 'gem']) {
    const { embeddings } = await connect().models.embedContent({ model, contents: ['a mill', 'a race'] });
    assert.equal(embeddings.length, 2);
    assert.ok(embeddings[0].values.length > 8);
  }
});

test('errors are what the SDK expects', async () => {
  const refused = (status) => (e) => e instanceof ApiError && e.status === status;
  await assert.rejects(ask('nobody'), refused(404));
  await assert.rejects(ask('refused'), refused(400));
  await assert.rejects(ask('broken'), refused(502));
  await assert.rejects(connect('wrong').models.generateContent({ model: 'gpt', contents: TEXT }), refused(401));
  const small = connect('small-key');
  await small.models.generateContent({ model: 'gem', contents: TEXT });
  await assert.rejects(small.models.generateContent({ model: 'gem', contents: `${TEXT} again` }), refused(429));
});
