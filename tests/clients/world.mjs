// What the tests of the Node SDK start: a provider, a node before it, and clients of that node.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

for (const name of Object.keys(process.env)) {
  if (/^(OPENAI|ANTHROPIC|GOOGLE|GEMINI)_/.test(name) || /_api_key$|_proxy$/i.test(name)) delete process.env[name];
}

export const OpenAI = createRequire(new URL('.sdks/', import.meta.url))('openai');

const PATIENCE_MS = 20_000; // generous, for slow machines: only failing tests wait so long
const MILLRACE = process.env.MILLRACE ?? 'millrace';

const cleanups = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

// A running `millrace`; `stop` ends it and returns its exit code. Ends with the test file at the latest.
async function run(...args) {
  const child = spawn(MILLRACE, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  const errors = [];
  child.stderr.on('data', (data) => errors.push(data));
  const stop = () => {
    child.kill('SIGTERM');
    return ended;
  };
  cleanups.push(stop);
  const listening = new Promise((resolve) => createInterface(child.stdout).once('line', resolve));
  const line = await Promise.race([listening, ended]);
  if (!/^listening http:/.test(line)) throw new Error(`no address: ${line} ${Buffer.concat(errors)}`);
  return { url: line.slice('listening '.length), stop };
}

export async function startProvider(...models) {
  const { url } = await run('simulate', '--listen', '127.0.0.1:0', ...models.flatMap((m) => ['--model', m]));
  const stats = async () => (await fetch(`${url}/stats`)).json();
  return {
    url: `${url}/v1`,
    calls: async (model) => (await stats()).models[model] ?? 0,
    key: async (name) => (await stats()).keys[name] ?? { cancelled: 0, in_flight: 0 },
  };
}

export async function startNode(config) {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  const file = join(directory, 'millrace.yaml');
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const http = { listen: '127.0.0.1:0', threads: 2 };
  writeFileSync(file, JSON.stringify({ node: { data_dir: directory }, http, ...config }));
  const { url, stop } = await run('serve', '--config', file);
  return { url: `${url}/v1`, stop };
}

// One upstream call for a request, so that a call by the SDK is a call at the provider; breakers stay shut.
export function configuration(providerUrl) {
  const provider = (id, patience) => ({
    kind: 'openai',
    base_url: providerUrl,
    keys: [{ id, secret: id }],
    timeouts: { first_byte: patience, first_token: patience, idle: patience },
  });
  const one = (name, model, more) => ({ targets: [{ provider: name, model, ...more }] });
  const models = {
    chat: one('p', 'gpt-4o-mini', { input_usd: 0.15, output_usd: 0.6 }),
    embed: one('p', 'text-embedding-3-small'),
    late: one('hasty', 'fault-stall'),
    stops: one('hasty', 'fault-stall-stream=5'),
    refused: one('bad', 'fault-401'),
  };
  const same = ['long', 'cut', 'error-event', 'fault-truncate', 'fault-stall', 'fault-400', 'fault-422', 'fault-500',
    'fault-503', 'fault-html'];
  for (const name of same) models[name] = one('p', name);
  const client = { tenant: 't', tier: 'pro' };
  return {
    auth: {
      keys: [
        { name: 'sdk', secret: 'sdk-key', ...client },
        { name: 'small', secret: 'small-key', rpm: 2, tpm: 100000, ...client },
      ],
    },
    providers: { p: provider('upstream-1', '20s'), bad: provider('upstream-2', '20s'),
      hasty: provider('upstream-3', '300ms') },
    models,
    breaker: { consecutive_failures: 10000, min_calls: 1000000 },
    retry: { attempts: 1 },
  };
}

// A client and how often it called.
export function connect(url, apiKey = 'sdk-key', options = {}) {
  const counted = { calls: 0 };
  const fetched = (...args) => {
    counted.calls += 1;
    return fetch(...args);
  };
  counted.sdk = new OpenAI.OpenAI({ baseURL: url, apiKey, fetch: fetched, timeout: PATIENCE_MS, ...options });
  return counted;
}

export const QUESTION = [{ role: 'user', content: 'What is a mill race?' }];

export const WEATHER = {
  type: 'function',
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } },
  },
};

export async function waitUntil(condition, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await wait(5);
  }
}
