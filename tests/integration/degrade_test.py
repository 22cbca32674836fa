"""What clients get when providers fail, step by step, and how each step is told."""

import json
import tempfile
import unittest

from harness import Gateway, RecordingUpstream, TestCase, chat_body, provider, reply, request, target, wait_until

# Breakers stay out of the way, and nothing is repeated.
CALM = {"breaker": {"consecutive_failures": 10000, "min_calls": 1000000}, "retry": {"attempts": 1}}
TEXT = "We are sorry: come back in a minute."


def completion(text):
    return json.dumps({"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})


class Provider(RecordingUpstream):
    """Answers with a number that counts up, or fails."""

    def __init__(self):
        self.status = 200
        super().__init__(self.reply)

    def reply(self, _recorded, _connection):
        if self.status != 200:
            return reply(self.status, '{"error":{"message":"no","type":"t","param":null,"code":null}}')
        return reply(200, completion(f"answer {len(self.requests)}"))


class Degrade(TestCase):
    def setUp(self):
        self.cloud = self.own(Provider())
        self.house = self.own(Provider())
        directory = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.addCleanup(directory.cleanup)
        self.data = directory.name

    def node(self, **models):
        gateway = Gateway({
            **CALM, "node": {"data_dir": self.data},
            "providers": {"cloud": provider(self.cloud.base_url, "c"),
                          "second": provider(self.house.base_url, "s"),
                          "house": {**provider(self.house.base_url, "h"), "private": True}},
            "models": {name: {"targets": [target("cloud", "m")], **more} for name, more in models.items()}})
        return self.own(gateway)

    def ask(self, gateway, text="one", model="chat", cache=None, **fields):
        body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}
        return request(gateway.port, "POST", "/v1/chat/completions", json.dumps(body),
                       {"Cache-Control": cache} if cache else {})

    def steps(self, answer):
        return (answer.status, answer.header("x-millrace-cache"), answer.header("x-millrace-degraded"))

    def test_another_target_is_a_fallback_and_a_private_one_local(self):
        gateway = self.node(chat={"fallbacks": ["other"]}, inside={"fallbacks": ["home"]},
                            other={"targets": [target("second", "m")]}, home={"targets": [target("house", "m")]})
        self.assertEqual(self.steps(self.ask(gateway)), (200, "miss", None))
        self.cloud.status = 500
        for model, step in (("chat", "fallback"), ("inside", "local")):
            answer = self.ask(gateway, "two", model)
            self.assertEqual(self.steps(answer), (200, "miss", step))
            self.assertEqual(answer.header("x-millrace-fallback"), "true")
            again = self.ask(gateway, "two", model)
            self.assertEqual(self.steps(again), (200, "hit", step), "a hit says the same")
            self.assertEqual(gateway.metric("millrace_degraded_total", model=model, step=step), 2)
        self.assertEqual(self.steps(self.ask(gateway, "two", "home")), (200, "miss", None))

    def test_an_expired_answer_serves_while_providers_fail_also_after_a_restart(self):
        brief = {"cache": {"ttl": "1s"}, "degrade": {"stale": "1h"}}
        gateway = self.node(chat=brief)
        first = self.ask(gateway)
        self.assertEqual(self.steps(first), (200, "miss", None))
        self.cloud.status = 503
        wait_until(lambda: self.ask(gateway).header("x-millrace-cache") != "hit", "the answer expired")
        stale = self.ask(gateway)
        self.assertEqual(self.steps(stale), (200, "stale", "stale"))
        self.assertEqual(stale.body, first.body)
        self.assertGreaterEqual(int(stale.header("age")), 1)
        self.assertEqual(stale.header("x-millrace-attempts"), "1", "the provider was asked")
        self.assertEqual(stale.header("x-millrace-provider"), "cloud")
        streamed = self.ask(gateway, stream=True)
        self.assertEqual(self.steps(streamed), (200, "stale", "stale"))
        self.assertEqual(streamed.content(), first.content())
        self.assertEqual(streamed.events()[-1], b"[DONE]")
        for wish in ("no-cache", "no-store", "stale-if-error=0"):
            self.assertEqual(self.ask(gateway, cache=wish).status, 502, wish)
        self.assertEqual(self.ask(gateway, cache="stale-if-error=x").status, 400)
        self.assertEqual(self.ask(gateway, "unknown").status, 502)
        self.assertGreaterEqual(gateway.metric("millrace_degraded_total", model="chat", step="stale"), 2)
        wait_until(lambda: any(r["event"] == "access" and r.get("degraded") == "stale" for r in gateway.log_records()),
                   "the access line tells")
        gateway.stop()
        again = self.node(chat=brief)
        self.assertEqual(self.steps(self.ask(again)), (200, "stale", "stale"))
        self.cloud.status = 200
        fresh = self.ask(again)
        self.assertEqual(self.steps(fresh), (200, "miss", None))
        self.assertNotEqual(fresh.body, first.body)

    def test_the_template_in_every_dialect(self):
        gateway = self.node(chat={"degrade": {"template": TEXT}})
        self.cloud.status = 500
        said = {"messages": [{"role": "user", "content": "?"}]}
        parts = {"contents": [{"role": "user", "parts": [{"text": "?"}]}]}
        routes = {
            "/v1/chat/completions": ({"model": "chat", **said}, lambda a: a["choices"][0]["message"]["content"]),
            "/v1/completions": ({"model": "chat", "prompt": "?"}, lambda a: a["choices"][0]["text"]),
            "/v1/responses": ({"model": "chat", "input": "?"}, lambda a: a["output"][0]["content"][0]["text"]),
            "/v1/messages": ({"model": "chat", "max_tokens": 9, **said}, lambda a: a["content"][0]["text"]),
            "/v1beta/models/chat:generateContent": (parts, lambda a: a["candidates"][0]["content"]["parts"][0]["text"]),
        }
        for path, (body, text_of) in routes.items():
            with self.subTest(path=path):
                plain = request(gateway.port, "POST", path, json.dumps(body))
                self.assertEqual(self.steps(plain), (200, "template", "template"), plain.body)
                self.assertEqual(text_of(plain.json()), TEXT)
                self.assertIsNone(plain.header("x-millrace-provider"))
                self.assertEqual(plain.header("x-millrace-cost-usd"), "0")
                gemini = path.startswith("/v1beta")
                streamed = request(gateway.port, "POST",
                                   path.replace(":generate", ":streamGenerate") + ("?alt=sse" if gemini else ""),
                                   json.dumps(body if gemini else {**body, "stream": True}))
                self.assertEqual(self.steps(streamed), (200, "template", "template"))
                self.assertTrue(streamed.header("content-type").startswith("text/event-stream"))
                self.assertIn(TEXT.encode(), streamed.body)
        vectors = request(gateway.port, "POST", "/v1/embeddings", json.dumps({"model": "chat", "input": "?"}))
        self.assertEqual(vectors.status, 502, "a text is no vector")

    def test_the_clients_own_mistake_is_no_outage(self):
        gateway = self.node(chat={"degrade": {"template": TEXT, "builtin": True}})
        self.cloud.status = 422
        self.assertEqual(self.steps(self.ask(gateway)), (422, "miss", None))

    def test_the_builtin_provider_stands_in_where_it_may(self):
        gateway = self.node(chat={"degrade": {"builtin": True}}, plain={})
        self.cloud.status = 500
        for stream in (False, True):
            answer = gateway.chat(stream=stream)
            self.assertEqual(self.steps(answer), (200, "bypass", "local"))
            self.assertIn("no language model", answer.content())
            self.assertEqual(answer.header("x-millrace-provider"), "builtin")
        self.assertEqual(gateway.chat("plain").status, 502)
        self.cloud.status = 401
        self.assertEqual(gateway.chat().status, 502, "refused keys are told")

    def test_an_open_breaker_degrades_without_a_call(self):
        gateway = self.own(Gateway({
            "breaker": {"consecutive_failures": 1}, "retry": {"attempts": 1},
            "providers": {"cloud": provider(self.cloud.base_url, "c")},
            "models": {"chat": {"targets": [target("cloud", "m")], "degrade": {"template": TEXT}}}}))
        self.cloud.status = 500
        self.assertEqual(self.steps(gateway.chat()), (200, "template", "template"))
        wait_until(lambda: gateway.breaker("cloud/m") == "open", "the breaker opens")
        calls = self.cloud.count()
        answer = request(gateway.port, "POST", "/v1/chat/completions", chat_body())
        self.assertEqual((answer.content(), answer.header("x-millrace-attempts")), (TEXT, "0"))
        self.assertEqual(self.cloud.count(), calls)


if __name__ == "__main__":
    unittest.main()
