"""Clients of one dialect at providers of another, through real processes."""

import json
import unittest

from harness import Gateway, Simulator, TestCase, at_once, provider, request, target

ASK = {"system": "Be brief.", "text": "What is a mill race?"}


def anthropic(gateway, model, text=ASK["text"], key=None, **fields):
    body = {"model": model, "max_tokens": 64, "system": ASK["system"],
            "messages": [{"role": "user", "content": text}], **fields}
    return request(gateway.port, "POST", "/v1/messages", json.dumps(body),
                   {"x-api-key": key or "any", "anthropic-version": "2023-06-01"})


def gemini(gateway, model, verb="generateContent", text=ASK["text"], query="", **fields):
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}
    return request(gateway.port, "POST", f"/v1beta/models/{model}:{verb}{query}", json.dumps(body),
                   {"x-goog-api-key": "any"})


def events(answer):
    return [json.loads(e) for e in answer.events() if e != b"[DONE]"]


class Dialects(TestCase):
    @classmethod
    def prepare(cls):
        cls.upstream = cls.shared(Simulator("--tokens", "12", "--model", "slow:tokens=12,latency=1s"))
        root = f"http://127.0.0.1:{cls.upstream.port}"
        cls.gateway = cls.shared(Gateway({
            "providers": {
                "o": provider(f"{root}/v1", "key-o"),
                "a": {**provider(root, "key-a"), "kind": "anthropic"},
                "g": {**provider(f"{root}/v1beta", "key-g"), "kind": "gemini"},
                "b": {"kind": "builtin"},
                "dead": provider("http://127.0.0.1:9/v1", "key-d")},
            "models": {
                "gpt": {"targets": [target("o", "gpt-4o-mini", input_usd=1, output_usd=2)]},
                "claude": {"targets": [target("a", "claude-sonnet-4-5", input_usd=1, output_usd=2)]},
                "gem": {"targets": [target("g", "gemini-2.5-flash", input_usd=1, output_usd=2)]},
                "slow": {"targets": [target("a", "slow")]},
                "local": {"targets": [target("b", "extract")]},
                "refused": {"targets": [target("o", "fault-400")]},
                "frail": {"targets": [target("dead", "x")], "fallbacks": ["claude"]}},
            "retry": {"attempts": 1}}))

    MODELS = {"gpt": "o", "claude": "a", "gem": "g"}

    def test_every_client_reaches_every_provider(self):
        for model, name in self.MODELS.items():
            with self.subTest(model=model):
                chat = self.gateway.chat(model)
                self.assertEqual(chat.status, 200, chat.body)
                self.assertIn(ASK["text"], chat.content())
                self.assertEqual(chat.json()["model"], model)
                self.assertEqual(chat.header("x-millrace-provider"), name)
                self.assertGreater(float(chat.header("x-millrace-cost-usd")), 0)
                messages = anthropic(self.gateway, model)
                self.assertEqual(messages.status, 200, messages.body)
                said = messages.json()
                self.assertIn(ASK["text"], said["content"][0]["text"])
                self.assertEqual([said["type"], said["role"], said["model"]], ["message", "assistant", model])
                self.assertEqual(said["stop_reason"], "end_turn")
                self.assertGreater(said["usage"]["output_tokens"], 0)
                generated = gemini(self.gateway, model)
                self.assertEqual(generated.status, 200, generated.body)
                said = generated.json()
                self.assertIn(ASK["text"], said["candidates"][0]["content"]["parts"][0]["text"])
                self.assertEqual(said["candidates"][0]["finishReason"], "STOP")
                self.assertGreater(said["usageMetadata"]["candidatesTokenCount"], 0)

    def test_every_client_streams_from_every_provider(self):
        for model in self.MODELS:
            with self.subTest(model=model):
                chat = self.gateway.chat(model, stream=True, stream_options={"include_usage": True})
                self.assertIn(ASK["text"], chat.content())
                self.assertEqual(chat.events()[-1], b"[DONE]")
                self.assertGreater(events(chat)[-1]["usage"]["completion_tokens"], 0)
                messages = events(anthropic(self.gateway, model, stream=True))
                self.assertEqual([messages[0]["type"], messages[-1]["type"]], ["message_start", "message_stop"])
                text = "".join(e["delta"].get("text", "") for e in messages if e["type"] == "content_block_delta")
                self.assertIn(ASK["text"], text)
                generated = events(gemini(self.gateway, model, "streamGenerateContent", query="?alt=sse"))
                parts = [p for e in generated for c in e.get("candidates", []) for p in c.get("content", {}).get("parts", [])]
                self.assertIn(ASK["text"], "".join(p.get("text", "") for p in parts))
                self.assertEqual(generated[-1]["candidates"][0]["finishReason"], "STOP")

    def test_a_dead_provider_falls_back_to_one_of_another_dialect(self):
        for stream in (False, True):
            answer = self.gateway.chat("frail", stream=stream)
            self.assertEqual([answer.status, answer.header("x-millrace-provider")], [200, "a"], answer.body)
            self.assertEqual(answer.header("x-millrace-fallback"), "true")
            self.assertIn(ASK["text"], answer.content())

    def test_what_is_left_out_is_told(self):
        answer = self.gateway.chat("claude", seed=1, metadata={"a": "b"}, presence_penalty=0.5)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(set(answer.header("x-millrace-dropped").split(", ")), {"metadata", "seed", "presence_penalty"})
        self.assertIsNone(self.gateway.chat("gpt", metadata={"a": "b"}).header("x-millrace-dropped"))

    def test_what_is_left_out_is_told_with_a_known_answer_too(self):
        for stream in (False, True):
            first, again = (self.gateway.chat("claude", temperature=0, seed=1, metadata={"a": "b"}, user="x", stream=stream)
                            for _ in range(2))
            self.assertEqual(again.header("x-millrace-cache"), "hit")
            self.assertEqual(set(again.header("x-millrace-dropped").split(", ")), {"metadata", "seed"})
            together = at_once([lambda: self.gateway.chat("slow", seed=1, stream=stream)] * 4)
            self.assertEqual({a.header("x-millrace-cache") for a in together}, {"bypass", "coalesced"})
            self.assertEqual({a.header("x-millrace-dropped") for a in together}, {"seed"})

    def test_what_cannot_be_said_is_a_400_that_names_it(self):
        answer = self.gateway.chat("claude", n=2)
        self.assertEqual([answer.status, answer.error["param"]], [400, "n"])
        answer = gemini(self.gateway, "gpt", cachedContent="cachedContents/1")
        self.assertEqual(answer.status, 400)
        self.assertIn("cachedContent", answer.json()["error"]["message"])

    def test_a_providers_refusal_comes_in_the_clients_dialect(self):
        answer = anthropic(self.gateway, "refused")
        self.assertEqual(answer.status, 400, answer.body)
        self.assertEqual([answer.json()["type"], answer.json()["error"]["type"]], ["error", "invalid_request_error"])

    def test_errors_have_the_shape_of_the_route(self):
        answer = anthropic(self.gateway, "no-such-model")
        self.assertEqual([answer.status, answer.json()["error"]["type"]], [404, "not_found_error"])
        answer = gemini(self.gateway, "no-such-model")
        self.assertEqual([answer.status, answer.json()["error"]["status"]], [404, "NOT_FOUND"])
        answer = gemini(self.gateway, "gem", "streamGenerateContent")
        self.assertEqual([answer.status, answer.json()["error"]["status"]], [400, "INVALID_ARGUMENT"])
        answer = request(self.gateway.port, "POST", "/v1/messages", "{", {"x-api-key": "any"})
        self.assertEqual([answer.status, answer.json()["type"]], [400, "error"])

    def test_tokens_are_counted_by_the_provider_or_estimated(self):
        for model in ("claude", "gpt", "gem", "local"):
            body = {"model": model, "messages": [{"role": "user", "content": ASK["text"]}]}
            answer = request(self.gateway.port, "POST", "/v1/messages/count_tokens", json.dumps(body),
                             {"x-api-key": "any", "anthropic-version": "2023-06-01"})
            self.assertEqual(answer.status, 200, answer.body)
            self.assertGreater(answer.json()["input_tokens"], 3)

    def test_embeddings(self):
        for model, width in (("gpt", None), ("gem", None), ("local", 512)):
            answer = request(self.gateway.port, "POST", "/v1/embeddings",
                             json.dumps({"model": model, "input": ["a mill", "a race"]}))
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(len(answer.json()["data"]), 2)
            if width:
                self.assertEqual(len(answer.json()["data"][0]["embedding"]), width)
            packed = request(self.gateway.port, "POST", "/v1/embeddings",
                             json.dumps({"model": model, "input": "a mill", "encoding_format": "base64"}))
            self.assertIsInstance(packed.json()["data"][0]["embedding"], str)
            content = {"parts": [{"text": "a mill"}]}
            single = request(self.gateway.port, "POST", f"/v1beta/models/{model}:embedContent",
                             json.dumps({"content": content}), {"x-goog-api-key": "any"})
            self.assertEqual(single.status, 200, single.body)
            self.assertTrue(single.json()["embedding"]["values"])
        answer = request(self.gateway.port, "POST", "/v1/embeddings", json.dumps({"model": "claude", "input": "x"}))
        self.assertEqual([answer.status, answer.error["code"]], [400, "route_not_supported"])

    def test_the_builtin_provider_needs_nobody(self):
        answer = self.gateway.chat("local", text="The mill was built in 1820. Bread is baked here.\nWhen was the mill built?")
        self.assertIn("The mill was built in 1820.", answer.content())
        self.assertIn("no language model", answer.content())
        self.assertEqual(answer.header("x-millrace-provider"), "b")
        self.assertIn("no language model", anthropic(self.gateway, "local").json()["content"][0]["text"])
        said = gemini(self.gateway, "local").json()["candidates"][0]["content"]["parts"][0]["text"]
        self.assertIn("no language model", said)
        answer = request(self.gateway.port, "POST", "/v1/responses", json.dumps({"model": "local", "input": ASK["text"]}))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn("no language model", answer.json()["output"][0]["content"][0]["text"])

    def test_answers_of_every_dialect_are_cached_in_it(self):
        for ask in (lambda **f: anthropic(self.gateway, "gpt", text="again?", **f),
                    lambda **f: anthropic(self.gateway, "claude", text="again?", **f),
                    lambda **f: gemini(self.gateway, "gpt", text="again?", generationConfig=f),
                    lambda **f: gemini(self.gateway, "gem", text="again?", generationConfig=f)):
            first = ask(temperature=0)
            again = ask(temperature=0)
            self.assertEqual([first.header("x-millrace-cache"), again.header("x-millrace-cache")], ["miss", "hit"])
            self.assertEqual(first.json(), again.json())
        streamed = anthropic(self.gateway, "gpt", text="again?", temperature=0, stream=True)
        self.assertEqual(streamed.header("x-millrace-cache"), "hit")
        self.assertEqual(events(streamed)[-1]["type"], "message_stop")


if __name__ == "__main__":
    unittest.main()
