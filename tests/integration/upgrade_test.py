"""A better model where an answer is not sure: who is asked, what is given, told, paid, shared and kept."""

import json
import unittest

from harness import Gateway, Simulator, TestCase, at_once, provider, request, target

CALM = {"breaker": {"consecutive_failures": 10000, "min_calls": 1000000}, "retry": {"attempts": 1}}


def verdict(label, confidence):
    return json.dumps({"label": label, "confidence": confidence})


class Upgrade(TestCase):
    """The simulator's model `small` says what a test wants, `big` likewise."""

    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator())
        root = f"http://127.0.0.1:{cls.simulator.port}"
        small = {"targets": [target("o", "small", input_usd=1, output_usd=1)]}
        cls.gateway = cls.shared(Gateway({
            **CALM,
            "providers": {"o": provider(f"{root}/v1", "key-o"),
                          "few": provider(f"{root}/v1", {"id": "key-few", "secret": "key-few", "rpm": 1})},
            "models": {
                "chat": {**small, "upgrade": {"model": "better"}},
                "asks": {**small, "upgrade": {"model": "better", "when_unreadable": "upgrade"}},
                "probable": {**small, "upgrade": {"model": "better", "confidence": "logprobs", "threshold": 0.6}},
                "narrow": {**small, "upgrade": {"model": "tight", "max_wait": "200ms"}},
                "better": {"targets": [target("o", "big", input_usd=10, output_usd=10)]},
                "tight": {"targets": [target("few", "big")]}}}))

    def say(self, small, big, **more):
        self.simulator.control(models={"small": {"say": small, "faults": [], "probability": more.get("small_p", 0)},
                                       "big": {"say": big, "faults": more.get("faults", []),
                                               "probability": more.get("big_p", 0)}})

    def told(self, answer):
        return tuple(answer.header(f"x-millrace-{n}") for n in ("upgraded", "confidence", "model", "attempts"))

    def test_a_sure_answer_is_given_as_it_is(self):
        self.say(verdict("a", 0.9), verdict("b", 0.95))
        answer = self.gateway.chat()
        self.assertEqual(answer.content(), verdict("a", 0.9))
        self.assertEqual(self.told(answer), ("false", "0.9", "small", "1"))

    def test_an_unsure_one_is_asked_for_again_and_both_are_paid(self):
        self.say(verdict("a", 0.5), verdict("b", 0.95))
        before = self.gateway.metric("millrace_attempts_total", outcome="ok")
        answer = self.gateway.chat()
        self.assertEqual(answer.content(), verdict("b", 0.95))
        self.assertEqual(self.told(answer), ("true", "0.95", "big", "2"))
        self.assertEqual(answer.json()["model"], "chat", "the client's own name of it")
        self.assertEqual(self.gateway.metric("millrace_attempts_total", outcome="ok") - before, 2)
        # Both models saw the same prompt; the dear one's tokens cost ten times as much.
        used = answer.json()["usage"]
        self.assertGreater(float(answer.header("x-millrace-cost-usd")), used["total_tokens"] * 10e-6)

    def test_the_surer_one_is_given_and_a_tie_is_the_upgrades(self):
        self.say(verdict("a", 0.5), verdict("b", 0.4))
        self.assertEqual(self.told(self.gateway.chat()), ("false", "0.5", "small", "2"))
        self.say(verdict("a", 0.5), verdict("b", 0.5))
        self.assertEqual(self.told(self.gateway.chat()), ("true", "0.5", "big", "2"))

    def test_an_upgrade_that_fails_or_has_no_room_leaves_the_first(self):
        self.say(verdict("a", 0.5), verdict("b", 0.95), faults=["status=500"])
        answer = self.gateway.chat()
        self.assertEqual((answer.status, answer.content()), (200, verdict("a", 0.5)))
        self.assertEqual(self.told(answer), ("false", "0.5", "small", "2"))
        self.say(verdict("a", 0.5), verdict("b", 0.95))
        self.assertEqual(self.told(self.gateway.chat("narrow")), ("true", "0.95", "big", "2"))
        self.assertEqual(self.told(self.gateway.chat("narrow")), ("false", "0.5", "small", "1"))

    def test_answers_that_do_not_tell(self):
        self.say("Just words.", verdict("b", 0.4))
        self.assertEqual(self.told(self.gateway.chat()), ("false", None, "small", "1"))
        self.assertEqual(self.told(self.gateway.chat("asks")), ("true", "0.4", "big", "2"))

    def test_the_tokens_probabilities(self):
        self.say("yes", "no", small_p=0.5, big_p=0.9)
        answer = self.gateway.chat("probable", logprobs=True)
        self.assertEqual((answer.content(), self.told(answer)), ("no", ("true", "0.9", "big", "2")))
        self.say("yes", "no", small_p=0.7, big_p=0.9)
        self.assertEqual(self.told(self.gateway.chat("probable", logprobs=True)), ("false", "0.7", "small", "1"))

    def test_a_stream_tells_the_final_answer(self):
        self.say(verdict("a", 0.5), verdict("b", 0.95))
        answer = self.gateway.chat(stream=True, stream_options={"include_usage": True})
        self.assertEqual(answer.content(), verdict("b", 0.95))
        self.assertEqual(answer.events()[-1], b"[DONE]")
        self.assertEqual(json.loads(answer.events()[-2])["model"], "chat")
        self.assertGreater(json.loads(answer.events()[-2])["usage"]["completion_tokens"], 0)
        self.assertEqual(self.told(answer), ("true", "0.95", "big", "2"))
        self.say(verdict("a", 0.9), verdict("b", 0.95))
        sure = self.gateway.chat(stream=True)
        self.assertEqual((sure.content(), self.told(sure)), (verdict("a", 0.9), ("false", "0.9", "small", "1")))

    def test_every_dialect(self):
        self.say(verdict("a", 0.5), verdict("b", 0.95))
        said = {"messages": [{"role": "user", "content": "?"}]}
        routes = {
            "/v1/responses": ({"model": "chat", "input": "?"}, lambda a: a["output"][0]["content"][0]["text"]),
            "/v1/messages": ({"model": "chat", "max_tokens": 99, **said}, lambda a: a["content"][0]["text"]),
            "/v1beta/models/chat:generateContent": (
                {"contents": [{"role": "user", "parts": [{"text": "?"}]}]},
                lambda a: a["candidates"][0]["content"]["parts"][0]["text"]),
        }
        for path, (body, text_of) in routes.items():
            with self.subTest(path=path):
                plain = request(self.gateway.port, "POST", path, json.dumps(body))
                self.assertEqual(plain.status, 200, plain.body)
                self.assertEqual(text_of(plain.json()), verdict("b", 0.95))
                self.assertEqual(self.told(plain), ("true", "0.95", "big", "2"))
                gemini = path.startswith("/v1beta")
                streamed = request(self.gateway.port, "POST",
                                   path.replace(":generate", ":streamGenerate") + ("?alt=sse" if gemini else ""),
                                   json.dumps(body if gemini else {**body, "stream": True}))
                self.assertEqual(self.told(streamed), ("true", "0.95", "big", "2"))

    def test_who_shares_the_call_and_the_cache_get_the_final_answer(self):
        self.say(verdict("a", 0.5), verdict("b", 0.95))
        before = self.simulator.key("key-o")["requests"]
        answers = at_once([lambda: self.gateway.chat(temperature=0, seed=10**9)] * 8)
        for answer in answers:
            self.assertEqual(answer.content(), verdict("b", 0.95))
            self.assertEqual(answer.header("x-millrace-upgraded"), "true")
        hit = self.gateway.chat(temperature=0, seed=10**9, stream=True)
        self.assertEqual(hit.header("x-millrace-cache"), "hit")
        self.assertEqual((hit.content(), self.told(hit)), (verdict("b", 0.95), ("true", "0.95", "big", "0")))
        self.assertEqual(self.simulator.key("key-o")["requests"] - before, 2)

    def test_what_upgrades_changed_is_counted_by_confidence(self):
        config = {**CALM, "providers": {"o": provider(self.simulator.base_url, "key-o")}, "models": {
            "chat": {"targets": [target("o", "small")], "upgrade": {"model": "better", "sample": 1}},
            "better": {"targets": [target("o", "big")]}}}
        gateway = self.own(Gateway(config))
        self.say(verdict("a", 0.5), verdict("b", 0.9))
        gateway.chat()
        gateway.chat(stream=True)
        self.say(verdict("a", 0.55), '```json\n{ "confidence": 0.7, "label": "a" }\n```')
        gateway.chat()
        self.say(verdict("a", 0.95), verdict("b", 0.9))
        gateway.chat()
        rows = gateway.status()["upgrades"]
        self.assertEqual([(r["model"], r["route"], r["upgrade"], r["threshold"]) for r in rows],
                         [("chat", "/v1/chat/completions", "better", 0.8)])
        bins = {b["from"]: b for b in rows[0]["bins"]}
        self.assertEqual(len(bins), 10)
        counts = ("answers", "asked", "failed", "upgraded", "changed")
        self.assertEqual([bins[0.5][c] for c in counts], [3, 3, 0, 3, 2])
        self.assertAlmostEqual(bins[0.5]["mean_before"], (0.5 + 0.5 + 0.55) / 3)
        self.assertAlmostEqual(bins[0.5]["mean_after"], (0.9 + 0.9 + 0.7) / 3)
        self.assertEqual([bins[0.9][c] for c in counts], [1, 1, 0, 0, 0])
        self.assertEqual([bins[0.0][c] for c in counts], [0] * 5)
        self.assertEqual({o: gateway.metric("millrace_upgrade_answers_total", model="chat", outcome=o)
                          for o in ("changed", "same", "kept", "sure")}, {"changed": 2, "same": 1, "kept": 1, "sure": 0})


if __name__ == "__main__":
    unittest.main()
