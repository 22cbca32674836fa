// Providers of all dialects behind one node, by the names of the models they serve.

import { startNode } from './world.mjs';

export const MODELS = ['gpt', 'claude', 'gem'];
export const NATIVE = 'native'; // at a provider that has the Responses API

// `providerUrl` ends in /v1.
export async function startDialects(providerUrl) {
  const root = providerUrl.replace(/\/v1$/, '');
  const provider = (kind, base_url) => ({ kind, base_url, keys: [{ id: `${kind}-1`, secret: `${kind}-1` }] });
  const one = (name, model, more) => ({ targets: [{ provider: name, model, input_usd: 1, output_usd: 2 }], ...more });
  const { url } = await startNode({
    auth: { keys: [{ name: 'sdk', secret: 'sdk-key' }, { name: 'small', secret: 'small-key', rpm: 1 }] },
    providers: { openai: provider('openai', `${root}/v1`), anthropic: provider('anthropic', root),
      gemini: provider('gemini', `${root}/v1beta`),
      native: { ...provider('openai', `${root}/v1`), responses: true } },
    models: { gpt: one('openai', 'gpt-4o-mini'), claude: one('anthropic', 'claude-sonnet-4-5'),
      gem: one('gemini', 'gemini-2.5-flash'), native: one('native', 'gpt-5'),
      'native-broken': one('native', 'fault-500'), 'native-error': one('native', 'fault-error-event=8'),
      'native-cut': one('native', 'fault-cut=8'), broken: one('openai', 'fault-500'), refused: one('openai', 'fault-400'),
      cut: one('openai', 'fault-cut=5'), embed: one('openai', 'text-embedding-3-small') },
    breaker: { consecutive_failures: 10000, min_calls: 1000000 },
    retry: { attempts: 1 },
  });
  return url.replace(/\/v1$/, '');
}

export const TEXT = 'What is a mill race?';
export const WEATHER = { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'] };
export const IMAGE_TOKENS = 500; // the simulator counts more for an image, and some ten for TEXT
export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
