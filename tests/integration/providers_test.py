"""Providers that speak OpenAI's dialect in their own way: Azure's paths, keys and limits; answers without usage."""

import json
import unittest

from harness import Gateway, Simulator, TestCase, provider, request, target, wait_until

AZURE = {"api_version": "2024-10-21"}
TEXT = "What is a mill race?"
QUESTION = [{"role": "user", "content": TEXT}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}


class Azure(TestCase):
    """The simulator answers under Azure's paths only with an api-version and a key in `api-key`."""

    def prepare_gateway(self, *simulator):
        self.azure = self.own(Simulator("--require-key", "azure-1", *simulator))
        base = f"http://127.0.0.1:{self.azure.port}/openai"
        return self.own(Gateway({
            "providers": {"az": provider(base, "azure-1", **AZURE, responses=True),
                          "deployed": provider(f"{base}/deployments/ours", "azure-1", **AZURE),
                          "locked": provider(base, "wrong", **AZURE)},
            "models": {"gpt": {"targets": [target("az", "gpt-4o", input_usd=1, output_usd=2)]},
                       "ours": {"targets": [target("deployed", "gpt-4o")]},
                       "closed": {"targets": [target("locked", "gpt-4o")]},
                       "gone": {"targets": [target("az", "fault-404")]},
                       "embed": {"targets": [target("az", "text-embedding-3-small")]}},
            "retry": {"attempts": 1}}))

    def test_answers_streams_and_embeddings(self):
        gateway = self.prepare_gateway()
        answer = gateway.chat("gpt", messages=QUESTION)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn(TEXT, answer.content())
        self.assertEqual(answer.json()["model"], "gpt")
        stream = gateway.chat("gpt", stream=True, stream_options={"include_usage": True}, messages=QUESTION)
        self.assertIn(TEXT, stream.content())
        self.assertEqual(stream.events()[-1], b"[DONE]")
        self.assertGreater(json.loads(stream.events()[-2])["usage"]["completion_tokens"], 0)
        called = gateway.chat("gpt", tools=[TOOL], tool_choice="required")
        self.assertEqual(called.json()["choices"][0]["finish_reason"], "tool_calls")
        embedded = request(gateway.port, "POST", "/v1/embeddings", json.dumps({"model": "embed", "input": "a mill"}))
        self.assertEqual(embedded.status, 200, embedded.body)
        self.assertEqual(self.azure.stats()["models"], {"gpt-4o": 3, "text-embedding-3-small": 1})

    def test_responses_have_no_deployment_in_their_path(self):
        gateway = self.prepare_gateway()
        body = {"model": "gpt", "input": TEXT, "truncation": "auto"}
        answer = request(gateway.port, "POST", "/v1/responses", json.dumps(body))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual([answer.json()["truncation"], answer.json()["model"]], ["auto", "gpt"])
        stream = request(gateway.port, "POST", "/v1/responses", json.dumps({**body, "stream": True}))
        self.assertEqual(json.loads(stream.events()[-1])["type"], "response.completed")

    def test_a_deployment_in_the_base_url(self):
        gateway = self.prepare_gateway()
        self.assertEqual(gateway.chat("ours").status, 200)
        self.assertEqual(self.azure.stats()["models"], {"ours": 1})

    def test_other_clients_are_translated(self):
        gateway = self.prepare_gateway()
        body = {"model": "gpt", "max_tokens": 50, "messages": QUESTION}
        for stream in (False, True):
            answer = request(gateway.port, "POST", "/v1/messages", json.dumps({**body, "stream": stream}))
            self.assertEqual(answer.status, 200, answer.body)
            self.assertIn(b"end_turn", answer.body)

    def test_no_limits_are_no_limits(self):
        """Azure tells -1 where nothing limits a deployment."""
        gateway = self.prepare_gateway()
        for n in range(5):
            self.assertEqual(gateway.chat("gpt", seed=n).status, 200)

    def test_refusals(self):
        gateway = self.prepare_gateway()
        closed = gateway.chat("closed")
        self.assertEqual(closed.status, 502, closed.body)
        self.assertEqual(self.azure.stats()["keys"]["wrong"]["unauthorized"], 1)
        gone = gateway.chat("gone")
        self.assertEqual([gone.status, gone.json()["error"]["code"]], [404, "DeploymentNotFound"])

    def test_limits(self):
        gateway = self.prepare_gateway("--rpm", "2")
        statuses = [gateway.chat("gpt", seed=n, headers={"x-millrace-timeout-ms": "400"}).status for n in range(4)]
        self.assertEqual(statuses[:2], [200, 200])
        self.assertNotIn(200, statuses[2:])


class WithoutUsage(TestCase):
    """Ollama's and others' older versions tell no usage, in answers and streams."""

    @classmethod
    def prepare(cls):
        cls.upstream = cls.shared(Simulator("--model", "llama:usage=0,tokens=40"))
        cls.gateway = cls.shared(Gateway({
            "providers": {"ollama": provider(cls.upstream.base_url, {"id": "o", "secret": "o", "tpm": 1000000})},
            "models": {"local": {"targets": [target("ollama", "llama", input_usd=1, output_usd=2)]}}}))

    def test_answers_pass_as_they_are(self):
        answer = self.gateway.chat("local", messages=QUESTION)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn(TEXT, answer.content())
        self.assertNotIn("usage", answer.json())

    def test_streams_end_well_and_tell_none(self):
        for options in ({}, {"stream_options": {"include_usage": True}}):
            stream = self.gateway.chat("local", stream=True, messages=QUESTION, **options)
            self.assertEqual(stream.events()[-1], b"[DONE]")
            self.assertIn(TEXT, stream.content())
            self.assertFalse(any(b'"usage":{' in e for e in stream.events()))

    def billed(self):
        rows = request(self.gateway.port, "GET", "/v1/usage").json()["totals"]
        return rows["input_tokens"], rows["output_tokens"]

    def test_other_clients_are_told_what_is_billed(self):
        body = {"model": "local", "max_tokens": 50, "messages": QUESTION}
        for stream in (False, True):
            before = self.billed()
            answer = request(self.gateway.port, "POST", "/v1/messages", json.dumps({**body, "stream": stream}))
            self.assertEqual(answer.status, 200, answer.body)
            if stream:
                events = [json.loads(e) for e in answer.events()]
                self.assertEqual(events[-1]["type"], "message_stop")
                told = next(e["usage"] for e in events if e["type"] == "message_delta")
            else:
                told = answer.json()["usage"]
            self.assertGreater(told["output_tokens"], 0)
            wait_until(lambda: self.billed() != before, "the call is billed")
            now = self.billed()
            self.assertEqual((told["input_tokens"], told["output_tokens"]), (now[0] - before[0], now[1] - before[1]))


if __name__ == "__main__":
    unittest.main()
