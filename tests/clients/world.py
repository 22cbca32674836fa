"""What the tests of the Python SDK start: a provider, a node before it, and clients of that node."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import (PATIENCE, Gateway, RecordingUpstream, Simulator, TestCase, provider,  # noqa: E402, F401
                     reply, target, wait_until)

import openai  # noqa: E402

for name in list(os.environ):
    if name.startswith(("OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "LANGCHAIN_", "LANGSMITH_")):
        del os.environ[name]

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}
QUESTION = [{"role": "user", "content": "What is a mill race?"}]
FAULTS = ["fault-400", "fault-401", "fault-422", "fault-500", "fault-503", "fault-reset", "fault-stall", "fault-html",
          "fault-truncate", "cut", "error-event"]


def configuration(base_url):
    """One upstream call for a request, so that a call by the SDK is a call at the provider; breakers stay shut."""
    client = {"tenant": "t", "tier": "pro"}
    patient = {"first_byte": "20s", "first_token": "20s", "idle": "20s"}
    hasty = {"first_byte": "300ms", "first_token": "300ms", "idle": "300ms"}
    return {
        "auth": {"keys": [{"name": "sdk", "secret": "sdk-key", **client},
                          {"name": "small", "secret": "small-key", "rpm": 2, "tpm": 100000, **client}]},
        "providers": {"p": provider(base_url, "upstream-1", timeouts=patient),
                      "bad": provider(base_url, "upstream-2"),
                      "hasty": provider(base_url, "upstream-3", timeouts=hasty)},
        "models": {
            "chat": {"targets": [target("p", "gpt-4o-mini", input_usd=0.15, output_usd=0.6)]},
            "long": {"targets": [target("p", "long")]},
            "embed": {"targets": [target("p", "text-embedding-3-small")]},
            "late": {"targets": [target("hasty", "fault-stall")]},
            **{m: {"targets": [target("bad" if m == "fault-401" else "p", m)]} for m in FAULTS}},
        "breaker": {"consecutive_failures": 10000, "min_calls": 1000000},
        "retry": {"attempts": 1}}


class World(TestCase):
    """A test case with one provider and one node."""

    @classmethod
    def prepare(cls):
        cls.provider = cls.shared(Simulator("--model", "long:tokens=20000,tokens_per_second=200",
                                             "--model", "cut:tokens_per_second=50,fault=cut=5",
                                             "--model", "error-event:tokens_per_second=50,fault=error-event=5"))
        cls.gateway = cls.shared(Gateway(configuration(cls.provider.base_url)))
        cls.url = f"http://127.0.0.1:{cls.gateway.port}/v1"

    def setUp(self):
        self.sdk = self.client()

    def client(self, key="sdk-key", **options):
        options.setdefault("base_url", self.url)
        options.setdefault("timeout", PATIENCE)
        return self.own(openai.OpenAI(api_key=key, **options))

    def calls(self, model):
        """How many requests for the provider's `model` arrived there."""
        return self.provider.stats()["models"].get(model, 0)

    def ask(self, model="chat", client=None, **fields):
        return (client or self.sdk).chat.completions.create(model=model, messages=QUESTION, **fields)
