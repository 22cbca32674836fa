"""Who answers: shares of traffic that change while the node runs, and requests that only private providers may see."""

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
        before = self.api.key("k")["answered"], self.gpu.key("k")["answered"]
        first = [self.answered_by(gateway, t) for t in range(TENANTS)]
        self.assertEqual([self.answered_by(gateway, t) for t in range(TENANTS)], first, "every tenant stays")
        count = collections.Counter(first)
        after = self.api.key("k")["answered"], self.gpu.key("k")["answered"]
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
        self.private.control(faults=[])

    def gateway(self, **models):
        return self.own(Gateway({
            **CALM,
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

    def test_without_a_private_provider_it_is_refused_and_told_why(self):
        gateway = self.gateway()
        answer = gateway.chat("open", key="hidden")
        self.assertEqual((answer.status, answer.error["code"]), (403, "no_private_target"))
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
