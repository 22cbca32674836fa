"""Who answers: shares of traffic that change while the node runs, requests that only private providers may see,
models chosen by how hard a prompt looks, and models that stand in where another one refuses."""

import collections
import json
import unittest

from harness import Gateway, Simulator, TestCase, bearer, chat_body, provider, request, target, wait_until

CALM = {"breaker": {"consecutive_failures": 10000, "min_calls": 1000000},
        "retry": {"attempts": 3, "base": "1ms", "cap": "20ms", "budget": 1}}
TENANTS = 60


class Migration(TestCase):
    """A model whose traffic moves from an API to GPUs of one's own."""

    @classmethod
    def prepare(cls):
        cls.api, cls.gpu = cls.shared(Simulator()), cls.shared(Simulator())

    def gateway(self, sticky="tenant", weights=(90, 10), **more):
        keys = [{"name": f"t{i}", "secret": f"secret-{i}"} for i in range(TENANTS)]
        self.config = {
            **CALM, "auth": {"keys": [*keys, {"name": "ops", "secret": "ops", "admin": True}]},
            "providers": {"api": provider(self.api.base_url, "k"), "gpu": provider(self.gpu.base_url, "k")},
            "models": {"chat": {
                "strategy": "weighted", "sticky": sticky,
                "groups": [{"name": "api", "weight": weights[0]}, {"name": "gpu", "weight": weights[1]}],
                "targets": [target("api", "big", group="api"), target("gpu", "llama", group="gpu")], **more}}}
        return self.own(Gateway(self.config))

    @staticmethod
    def answered_by(gateway, tenant, **headers):
        answer = gateway.chat(key=f"secret-{tenant}", headers=headers)
        if answer.status != 200:
            raise AssertionError(f"{answer.status}: {answer.body}")
        return answer.header("x-millrace-provider")

    def placement(self, gateway):
        """Who answers each tenant, asked twice; the simulators' own books agree."""
        before = self.api.key("k")["requests"], self.gpu.key("k")["requests"]
        first = [self.answered_by(gateway, t) for t in range(TENANTS)]
        self.assertEqual([self.answered_by(gateway, t) for t in range(TENANTS)], first, "every tenant stays")
        count = collections.Counter(first)
        after = self.api.key("k")["requests"], self.gpu.key("k")["requests"]
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (2 * count["api"], 2 * count["gpu"]))
        return first

    @staticmethod
    def weigh(gateway, body, key="ops"):
        return request(gateway.port, "PUT", "/v1/models/chat/weights", json.dumps(body), bearer(key))

    def test_tenants_move_once_and_never_back(self):
        gateway = self.gateway()
        at_10 = self.placement(gateway)
        self.assertGreater(at_10.count("api"), at_10.count("gpu"))
        answer = self.weigh(gateway, {"groups": {"api": 50, "gpu": 50}})
        self.assertEqual((answer.status, answer.json()), (200, {
            "object": "model.weights", "model": "chat", "groups": {"api": 50, "gpu": 50},
            "targets": {"api/big": 1, "gpu/llama": 1}, "changed": True}))
        at_50 = self.placement(gateway)
        self.assertTrue(all(now == "gpu" for was, now in zip(at_10, at_50) if was == "gpu"), "nobody moves back")
        self.assertGreater(at_50.count("gpu"), at_10.count("gpu"))
        self.assertGreater(at_50.count("api"), 0)
        self.weigh(gateway, {"groups": {"api": 0}})
        self.assertEqual(set(self.placement(gateway)), {"gpu"})
        shown = gateway.status("ops")["weights"]
        self.assertEqual(shown, [{"model": "chat", "groups": {"api": 0, "gpu": 50},
                                  "targets": {"api/big": 1, "gpu/llama": 1}, "changed": True}])

    def test_a_group_without_weight_is_the_last_resort(self):
        gateway = self.gateway(weights=(1, 0))
        self.api.control(faults=["status=500"])
        self.addCleanup(lambda: self.api.control(faults=[]))
        answer = gateway.chat(key="secret-0")
        self.assertEqual((answer.status, answer.header("x-millrace-provider")), (200, "gpu"))
        self.assertEqual(answer.header("x-millrace-fallback"), "true")

    def test_sessions_stay_where_they_are(self):
        gateway = self.gateway(sticky="session", weights=(1, 1))
        seen = {}
        for session in range(20):
            who = {self.answered_by(gateway, 0, **{"x-millrace-session": f"s{session}"}) for _ in range(3)}
            self.assertEqual(len(who), 1)
            seen[session] = who.pop()
        self.assertEqual(set(seen.values()), {"api", "gpu"}, "one tenant's sessions are spread")
        refused = gateway.chat(key="secret-0", headers={"x-millrace-session": "s" * 257})
        self.assertEqual((refused.status, refused.error["code"]), (400, "invalid_session"))

    def test_a_reload_keeps_them_until_the_file_says_something_else(self):
        gateway = self.gateway(weights=(1, 0))
        self.weigh(gateway, {"groups": {"api": 0, "gpu": 1}})
        gateway.reload({**self.config, "http": {"listen": f"127.0.0.1:{gateway.port}"}, "limits": {"headroom": 0.7}})
        wait_until(lambda: gateway.events("reloaded"), "the reload")
        self.assertEqual(self.answered_by(gateway, 0), "gpu")
        self.config["models"]["chat"]["groups"][0]["weight"] = 3
        gateway.reload({**self.config, "http": {"listen": f"127.0.0.1:{gateway.port}"}})
        wait_until(lambda: len(gateway.events("reloaded")) == 2, "the second reload")
        shown = request(gateway.port, "GET", "/v1/models/chat/weights", headers=bearer("ops")).json()
        self.assertEqual((shown["groups"], shown["changed"]), ({"api": 3, "gpu": 0}, False))
        self.assertEqual(self.answered_by(gateway, 0), "api")

    def test_only_admins_and_only_what_exists(self):
        gateway = self.gateway()
        self.assertEqual(self.weigh(gateway, {"groups": {"gpu": 1}}, key="secret-0").status, 403)
        wrong = self.weigh(gateway, {"groups": {"cpu": 1}})
        self.assertEqual((wrong.status, wrong.error["code"]), (400, "invalid_weights"))
        self.assertIn("`api`, `gpu`", wrong.error["message"])
        missing = request(gateway.port, "PUT", "/v1/models/none/weights", "{}", bearer("ops"))
        self.assertEqual((missing.status, missing.error["code"]), (404, "model_not_found"))
        answer = gateway.chat(key="secret-0")
        self.assertEqual(answer.status, 200)


class Residency(TestCase):
    """Whatever fails, private requests stay at private providers."""

    @classmethod
    def prepare(cls):
        cls.public, cls.private = cls.shared(Simulator()), cls.shared(Simulator())

    def setUp(self):
        self.private.control(faults=[], latency="0ms")

    def gateway(self, **models):
        return self.own(Gateway({
            **CALM, "hedge": {"budget": 1},
            "auth": {"keys": [{"name": "plain", "secret": "plain"},
                              {"name": "hidden", "secret": "hidden", "private": True}]},
            "providers": {"public": provider(self.public.base_url, "k"),
                          "mine": provider(self.private.base_url, "k", private=True)},
            "models": {
                "chat": {"targets": [target("public", "a", input_usd=1), target("mine", "b", input_usd=9)],
                         "fallbacks": ["open", "both"]},
                "both": {"targets": [target("mine", "c"), target("public", "d")]},
                "open": {"targets": [target("public", "e")]},
                "secret": {"private": True, "targets": [target("public", "f"), target("mine", "g", input_usd=9)],
                           "fallbacks": ["open"]},
                **models}}))

    WAYS = ({"key": "plain", "headers": {"x-millrace-private": "true"}}, {"key": "hidden"},
            {"key": "hidden", "headers": {"x-millrace-private": "false"}}, {"key": "plain", "model": "secret"})

    def test_header_key_and_model_each_keep_a_request_at_home(self):
        gateway = self.gateway()
        before = self.public.key("k")["requests"]
        for way in self.WAYS:
            for stream in (False, True):
                answer = gateway.chat(stream=stream, **way)
                self.assertEqual((answer.status, answer.header("x-millrace-provider")), (200, "mine"), way)
        self.assertEqual(self.public.key("k")["requests"], before)

    def test_failures_do_not_drive_it_out(self):
        gateway = self.gateway()
        before = self.public.key("k")["requests"]
        for fault, status in (("status=500", 502), ("reset", 502), ("status=429", 429), ("cut=0", 502)):
            self.private.control(faults=[fault])
            for way in self.WAYS:
                answer = gateway.chat(headers={"x-millrace-timeout-ms": "3000", **way.get("headers", {})},
                                      **{k: v for k, v in way.items() if k != "headers"})
                self.assertIn(answer.status, (status, 429, 502, 503, 504), (fault, way))
                self.assertNotEqual(answer.header("x-millrace-provider"), "public")
        self.assertEqual(self.public.key("k")["requests"], before, "not one call, whatever failed")
        self.assertEqual(gateway.chat(key="plain").header("x-millrace-provider"), "public")

    def test_a_slow_one_is_not_hedged_outside(self):
        targets = [target("mine", "slow", input_usd=1), target("public", "fast", input_usd=9)]
        hedged = {"targets": targets, "hedge": {"after": "20ms"}}
        gateway = self.gateway(chat=hedged, secret={**hedged, "private": True})
        self.private.control(latency="300ms")
        before = self.public.key("k")["requests"]
        for way in self.WAYS:
            for stream in (False, True):
                answer = gateway.chat(stream=stream, **way)
                told = answer.status, answer.header("x-millrace-provider"), answer.header("x-millrace-attempts")
                self.assertEqual(told, (200, "mine", "1"), way)
        self.assertEqual(self.public.key("k")["requests"], before, "not one call, however slow")
        answer = gateway.chat(key="plain")
        self.assertEqual((answer.header("x-millrace-hedged"), answer.header("x-millrace-provider")), ("won", "public"))

    def test_without_a_private_provider_it_is_refused_and_told_why(self):
        gateway = self.gateway()
        answer = gateway.chat("open", key="hidden")
        self.assertEqual((answer.status, answer.error["code"]), (503, "no_private_target"))
        self.assertEqual(answer.header("x-should-retry"), "false")

    def test_private_and_public_requests_share_neither_calls_nor_answers(self):
        gateway = self.gateway()
        body = chat_body("both", temperature=0)
        ask = lambda headers: request(gateway.port, "POST", "/v1/chat/completions", body,
                                      {**bearer("plain"), **headers})
        private = {"x-millrace-private": "true"}
        self.assertEqual(ask({}).header("x-millrace-cache"), "miss")
        self.assertEqual(ask({}).header("x-millrace-cache"), "hit")
        self.assertEqual(ask(private).header("x-millrace-cache"), "miss")
        self.assertEqual(ask(private).header("x-millrace-cache"), "hit")
        self.assertEqual(ask({}).header("x-millrace-cache"), "hit")


class Refusals(TestCase):
    """What one model refuses goes to those that stand in for it, in every provider's dialect."""

    KINDS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
    LONG = "word " * 400
    BAD = "Tell me of the plover, please."

    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--model", "small:context=100,refuse=plover",
                                             "--model", "strict:context=100,refuse=plover"))
        root = cls.simulator.base_url.removesuffix("/v1")
        models = {"wide": {"targets": [target("openai", "wide")]},
                  "lenient": {"targets": [target("openai", "lenient")]},
                  "strict": {"targets": [target("openai", "strict")]}}
        for kind in cls.KINDS:
            models[f"{kind}-alone"] = {"targets": [target(kind, "small")]}
            models[kind] = {"targets": [target(kind, "small")], "context_fallbacks": ["strict", "wide"],
                            "content_policy_fallbacks": ["strict", "lenient"]}
            models[f"{kind}-known"] = {"targets": [target(kind, "small", context_tokens=100)],
                                       "context_fallbacks": ["wide"]}
            models[f"{kind}-stuck"] = {"targets": [target(kind, "small")], "context_fallbacks": ["strict"],
                                       "content_policy_fallbacks": ["strict"]}
        cls.gateway = cls.shared(Gateway({
            **CALM, "providers": {kind: provider(root + path, "k", kind=kind) for kind, path in cls.KINDS.items()},
            "models": models}))

    def ask(self, model, text, **fields):
        return self.gateway.chat(model, messages=[{"role": "user", "content": text}], **fields)

    def told(self, answer):
        names = ("x-millrace-model", "x-millrace-fallback", "x-millrace-attempts")
        return (answer.status, *(answer.header(n) for n in names))

    def test_what_fits_and_is_allowed_stays(self):
        for kind in self.KINDS:
            self.assertEqual(self.told(self.ask(kind, "Hello", max_tokens=9)), (200, "small", "false", "1"), kind)

    def test_too_long_a_prompt_goes_to_a_wider_model(self):
        for kind in self.KINDS:
            for stream in (False, True):
                answer = self.ask(kind, self.LONG, max_tokens=9, stream=stream)
                self.assertEqual(self.told(answer), (200, "wide", "true", "3"), (kind, stream))

    def test_a_known_size_spares_the_call(self):
        for kind in self.KINDS:
            answer = self.ask(f"{kind}-known", self.LONG, max_tokens=9)
            self.assertEqual(self.told(answer), (200, "wide", "true", "1"), kind)
            answer = self.ask(f"{kind}-known", "Hello", max_tokens=200)
            self.assertEqual(self.told(answer), (200, "wide", "true", "1"), "the answer needs room, too")

    def test_forbidden_content_goes_to_another_provider(self):
        for kind in self.KINDS:
            for stream in (False, True):
                answer = self.ask(kind, self.BAD, max_tokens=9, stream=stream)
                self.assertEqual(self.told(answer), (200, "lenient", "true", "3"), (kind, stream))

    def test_without_stand_ins_the_provider_has_the_last_word(self):
        for kind in self.KINDS:
            for text in (self.LONG, self.BAD):
                alone = self.ask(f"{kind}-alone", text, max_tokens=9)
                stuck = self.ask(f"{kind}-stuck", text, max_tokens=9)
                self.assertEqual(alone.status, 200 if (kind, text) == ("gemini", self.BAD) else 400)
                self.assertEqual((stuck.status, stuck.header("x-millrace-model")), (alone.status, "small"))
                self.assertEqual(stuck.header("x-millrace-attempts"), "2")
                if alone.status == 400:
                    self.assertEqual(stuck.error["message"], alone.error["message"])
        blocked = self.ask("gemini-stuck", self.BAD, max_tokens=9, stream=True)
        self.assertEqual((blocked.status, blocked.error["code"]), (400, "content_policy_violation"))

    def test_each_refusal_is_counted_by_its_reason(self):
        before = self.gateway.metric("millrace_attempts_total", provider="openai", outcome="context_length")
        self.ask("openai", self.LONG, max_tokens=9)
        now = self.gateway.metric("millrace_attempts_total", provider="openai", outcome="context_length")
        self.assertEqual(now - before, 2)


class Complexity(TestCase):
    """Easy questions of some go to small models."""

    @classmethod
    def prepare(cls):
        simulator = cls.shared(Simulator())
        tiers = ("free", "basic", "pro")
        cls.gateway = cls.shared(Gateway({
            **CALM,
            "auth": {"keys": [*({"name": t, "secret": t, "tier": t, "tenant": "acme"} for t in tiers),
                              {"name": "ops", "secret": "ops", "admin": True}]},
            "providers": {"p": provider(simulator.base_url, "k")},
            "complexity": {"simple_below": 60},
            "models": {
                "assistant": {"targets": [target("p", "premium")], "choose": [
                    {"complexity": "simple", "tier": "free", "model": "small"},
                    {"complexity": "medium", "tier": "basic", "model": "middle"},
                    {"code": True, "model": "coder"}]},
                "small": {"targets": [target("p", "local-small")]},
                "middle": {"targets": [target("p", "local-medium")]},
                "coder": {"targets": [target("p", "local-code")]}}}))

    SIMPLE = "What is a mill race?"
    MEDIUM = "Tell me at some length what a mill race is and who built the first one in this country."
    COMPLEX = "Design a mill race, and compare it with a leat."
    CODE = "What does this do?\n```python\nprint(1)\n```"

    def ask(self, text, tier, path="/v1/chat/completions", body=None):
        body = body or chat_body("assistant", text)
        return request(self.gateway.port, "POST", path, body, bearer(tier))

    def test_tier_and_prompt_decide(self):
        for text, tier, complexity, model in (
                (self.SIMPLE, "free", "simple", "local-small"), (self.SIMPLE, "basic", "simple", "premium"),
                (self.MEDIUM, "basic", "medium", "local-medium"), (self.MEDIUM, "free", "medium", "premium"),
                (self.CODE, "pro", "medium", "local-code"), (self.COMPLEX, "free", "complex", "premium")):
            answer = self.ask(text, tier)
            told = (answer.status, answer.header("x-millrace-complexity"), answer.header("x-millrace-model"))
            self.assertEqual(told, (200, complexity, model), (text, tier))
            self.assertEqual(answer.json()["model"], "assistant", "the name that the client knows")

    def test_every_dialect_is_read(self):
        user = {"role": "user", "content": self.SIMPLE}
        google = json.dumps({"contents": [{"role": "user", "parts": [{"text": self.SIMPLE}]}]})
        for path, body in (
                ("/v1/messages", json.dumps({"model": "assistant", "max_tokens": 9, "messages": [user]})),
                ("/v1/responses", json.dumps({"model": "assistant", "input": self.SIMPLE})),
                ("/v1beta/models/assistant:generateContent", google),
                ("/v1beta/models/assistant:streamGenerateContent?alt=sse", google)):
            answer = self.ask(None, "free", path, body)
            told = (answer.status, answer.header("x-millrace-complexity"), answer.header("x-millrace-model"))
            self.assertEqual(told, (200, "simple", "local-small"), path)

    def test_models_without_rules_are_not_judged(self):
        answer = self.gateway.chat("small", key="free")
        self.assertEqual((answer.status, answer.header("x-millrace-complexity")), (200, None))

    def test_one_tiers_answer_is_not_anothers(self):
        body = chat_body("assistant", self.SIMPLE, temperature=0)
        self.assertEqual(self.ask(None, "free", body=body).header("x-millrace-cache"), "miss")
        self.assertEqual(self.ask(None, "free", body=body).header("x-millrace-cache"), "hit")
        other = self.ask(None, "pro", body=body)
        self.assertEqual((other.header("x-millrace-cache"), other.header("x-millrace-model")), ("miss", "premium"))
        hit = self.ask(None, "free", body=body)
        self.assertEqual((hit.header("x-millrace-model"), hit.header("x-millrace-complexity")),
                         ("local-small", "simple"))

    def test_it_is_counted_and_logged(self):
        labels = {"model": "assistant", "complexity": "complex", "chosen": "assistant"}
        before = self.gateway.metric("millrace_complexity_total", "ops", **labels)
        answer = self.ask(self.COMPLEX, "pro")
        self.assertEqual(self.gateway.metric("millrace_complexity_total", "ops", **labels), before + 1)
        number = answer.header("x-request-id")
        records = self.gateway.log_records
        line = wait_until(lambda: next((r for r in records() if r.get("request_id") == number), None), "its line")
        self.assertEqual((line["model"], line["complexity"], line["chosen"]), ("assistant", "complex", "assistant"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
