"""What tenants used and what it cost them: GET /v1/usage against the simulator's own bills, budgets, and restarts."""

import glob
import json
import os
import tempfile
import unittest

from harness import (Gateway, RawClient, Simulator, TestCase, at_once, bearer, chat_body, post_bytes, provider, request,
                     target, wait_until)

PRICES = {"input_usd": 3, "output_usd": 15}


def usage(gateway, key=None, query=""):
    answer = request(gateway.port, "GET", f"/v1/usage{query}", headers=bearer(key))
    if answer.status != 200:
        raise AssertionError(f"/v1/usage answers {answer.status}: {answer.body}")
    return answer.json()


def by_model(gateway, key=None):
    return {r["model"]: r for r in usage(gateway, key, "?group_by=model")["rows"]}


def nano(cost):
    return round(cost * 1e9)


class Usage(TestCase):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--tokens", "12", "--model", "broken:fault=status=500:1",
                                             "--model", "cut:fault=cut=3:1", "--model", "endless:tokens=5000,tokens_per_second=50"))

    def gateway(self, secret, **more):
        root = self.simulator.base_url
        anthropic = {"kind": "anthropic", "base_url": root[:-3], "keys": [{"id": secret, "secret": secret}]}
        models = {name: {"targets": [target("p", name, **PRICES)]} for name in ("chat", "broken", "cut", "endless")}
        models["claude"] = {"targets": [target("a", "claude-sonnet-4-5", **PRICES)]}
        models["backed"] = {"targets": [target("p", "broken", **PRICES)], "fallbacks": ["chat"]}
        config = {"providers": {"p": provider(root, secret), "a": anthropic}, "models": models,
                  "breaker": {"consecutive_failures": 1000, "min_calls": 1000}, **more}
        return self.own(Gateway(config))

    def test_equals_the_providers_bill_for_everything_that_ended(self):
        gateway = self.gateway("bill")
        calls = [gateway.chat] * 6
        calls += [lambda: gateway.chat(stream=True)] * 6
        calls += [lambda: gateway.chat("claude", max_tokens=50)] * 3
        calls += [lambda: gateway.chat("claude", max_tokens=50, stream=True)] * 3
        calls += [lambda: gateway.chat("backed")] * 3
        answers = at_once(calls)
        self.assertEqual([a.status for a in answers], [200] * len(calls))
        wait_until(lambda: usage(gateway)["totals"]["requests"] == len(calls), "all is counted")
        total = usage(gateway)["totals"]
        bill = self.simulator.key("bill")
        self.assertEqual((total["input_tokens"], total["output_tokens"]), (bill["prompt_tokens"], bill["completion_tokens"]))
        self.assertEqual(total["estimated_tokens"], 0)
        self.assertEqual(total["attempts"], len(calls) + 3, "a failed one each for the backed")
        self.assertEqual(nano(total["cost_usd"]), total["input_tokens"] * 3000 + total["output_tokens"] * 15000)
        plain = [a for a in answers if a.header("x-millrace-cost-usd")]
        self.assertLessEqual(sum(nano(float(a.header("x-millrace-cost-usd"))) for a in plain), nano(total["cost_usd"]))
        self.assertEqual(by_model(gateway)["backed"]["requests"], 3)

    def test_what_comes_from_the_cache_costs_nothing(self):
        gateway = self.gateway("cached")
        for _ in range(3):
            gateway.chat(temperature=0, seed=1)
        row = wait_until(lambda: (r := usage(gateway)["totals"])["requests"] == 3 and r, "three requests")
        self.assertEqual((row["cached_requests"], row["attempts"]), (2, 1))
        self.assertEqual(row["input_tokens"], self.simulator.key("cached")["prompt_tokens"])

    def test_cut_and_cancelled_calls_are_reckoned_and_say_so(self):
        gateway = self.gateway("cut")
        gateway.chat("cut", stream=True)
        cut = wait_until(lambda: by_model(gateway).get("cut"), "the cut stream is counted")
        self.assertGreater(cut["input_tokens"], 0)
        self.assertGreater(cut["output_tokens"], 0)
        self.assertEqual(cut["estimated_tokens"], cut["input_tokens"] + cut["output_tokens"], "the provider told nothing")
        self.assertGreater(cut["cost_usd"], 0)
        with RawClient(gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body("endless", stream=True)))
            client.read_until(b"content")
        left = wait_until(lambda: by_model(gateway).get("endless"), "the abandoned stream is counted")
        self.assertGreater(left["estimated_tokens"], 0)
        self.assertEqual(left["attempts"], 1)

    def test_long_prompts_are_marked_and_cached_tokens_cost_what_cached_tokens_cost(self):
        prices = {**PRICES, "cached_usd": 0.3, "cache_write_usd": 3.75}
        gateway = self.own(Gateway({
            "providers": {"a": {"kind": "anthropic", "base_url": self.simulator.base_url[:-3],
                                "keys": [{"id": "marks", "secret": "marks"}]}},
            "models": {"claude": {"targets": [target("a", "claude-sonnet-4-5", **prices)], "prompt_cache": "auto"}}}))
        system = "Answer in verse. " * 1000

        def billed():
            return self.simulator.key("marks")["models"]["claude-sonnet-4-5"]
        for number in range(2):
            own = request(gateway.port, "POST", "/v1/messages", json.dumps(
                {"model": "claude", "max_tokens": 5, "system": system,
                 "messages": [{"role": "user", "content": f"question {number}"}]}), {"x-api-key": "any"})
            self.assertEqual(own.status, 200, own.body)
        self.assertGreater(billed()["cache_write_tokens"], 1000)
        self.assertGreater(billed()["cache_read_tokens"], 1000)
        for number in range(2):
            translated = request(gateway.port, "POST", "/v1/chat/completions", json.dumps(
                {"model": "claude", "max_tokens": 5, "messages": [
                    {"role": "system", "content": f"{system} Please."}, {"role": "user", "content": f"question {number}"}]}))
            self.assertEqual(translated.status, 200, translated.body)
        total = wait_until(lambda: (t := usage(gateway)["totals"])["requests"] == 4 and t, "all is counted")
        bill = billed()
        fresh = bill["input_tokens"] - bill["cache_read_tokens"] - bill["cache_write_tokens"]
        self.assertEqual((total["cached_tokens"], total["cache_write_tokens"]),
                         (bill["cache_read_tokens"], bill["cache_write_tokens"]))
        self.assertEqual(nano(total["cost_usd"]), fresh * 3000 + bill["cache_read_tokens"] * 300 +
                         bill["cache_write_tokens"] * 3750 + bill["output_tokens"] * 15000)

    def test_each_sees_what_it_may(self):
        keys = [{"name": "a", "secret": "key-a", "tenant": "acme"}, {"name": "u", "secret": "key-u", "tenant": "umbrella"},
                {"name": "ops", "secret": "key-ops", "admin": True}]
        gateway = self.gateway("rights", auth={"keys": keys})
        gateway.chat(key="key-a")
        gateway.chat(key="key-u")
        wait_until(lambda: usage(gateway, "key-ops")["totals"]["requests"] == 2, "both are counted")
        self.assertEqual([r["tenant"] for r in usage(gateway, "key-a")["rows"]], ["acme"])
        rows = usage(gateway, "key-ops", "?group_by=client")["rows"]
        self.assertEqual([r["client"] for r in rows], ["a", "u"])
        for key, query, status, code in (("key-a", "?tenant=umbrella", 403, "admin_required"), ("no", "", 401, "invalid_api_key"),
                                         ("key-ops", "?from=x", 400, "invalid_query")):
            refused = request(gateway.port, "GET", f"/v1/usage{query}", headers=bearer(key))
            self.assertEqual((refused.status, refused.error["code"]), (status, code))

    def test_a_restart_and_a_kill_lose_no_more_than_the_last_moment(self):
        with tempfile.TemporaryDirectory() as data:
            node = {"data_dir": data}
            keys = [{"name": "a", "secret": "key-a", "admin": True, "budget_usd": {"day": 100}}]
            gateway = self.gateway("kept", node=node, auth={"keys": keys})
            gateway.chat(key="key-a")
            gateway.stop()
            gateway = self.gateway("kept", node=node, auth={"keys": keys})
            first = usage(gateway, "key-a")
            self.assertEqual(first["totals"]["requests"], 1)
            self.assertEqual(nano(first["budgets"][0]["spent_usd"]), nano(first["totals"]["cost_usd"]))

            def written():
                return sum(os.path.getsize(f) for f in glob.glob(os.path.join(data, "usage", "*.log")))
            before = written()
            gateway.chat(key="key-a")
            wait_until(lambda: written() > before, "it is on disk")
            gateway.kill()
            gateway = self.gateway("kept", node=node, auth={"keys": keys})
            again = usage(gateway, "key-a")
            self.assertEqual(again["totals"]["requests"], 2)
            self.assertEqual(nano(again["budgets"][0]["spent_usd"]), nano(again["totals"]["cost_usd"]))


class Budgets(TestCase):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--tokens", "10"))

    def gateway(self, budget, tenants=None):
        root = self.simulator.base_url
        anthropic = {"kind": "anthropic", "base_url": root[:-3], "keys": [{"id": "k", "secret": "k"}]}
        gemini = {"kind": "gemini", "base_url": root[:-3] + "/v1beta", "keys": [{"id": "k", "secret": "k"}]}
        keys = [{"name": "a", "secret": "key-a", "tenant": "acme", **({"budget_usd": budget} if budget else {})},
                {"name": "b", "secret": "key-b", "tenant": "acme"}, {"name": "ops", "secret": "key-ops", "admin": True}]
        return self.own(Gateway({
            "providers": {"p": provider(root, "k"), "a": anthropic, "g": gemini}, "auth": {"keys": keys},
            "models": {"chat": {"targets": [target("p", "m", output_usd=1000)]},
                       "claude": {"targets": [target("a", "claude-sonnet-4-5", output_usd=1000)]},
                       "gem": {"targets": [target("g", "gemini-2.5-flash", output_usd=1000)]},
                       "free": {"targets": [target("p", "m")]}}, **({"tenants": tenants} if tenants else {})}))

    def test_calls_at_once_never_spend_more(self):
        # 10 tokens an answer are 0.01 USD, which max_tokens 20 may double: 5 fit at once, and 9 in the end.
        gateway = self.gateway({"day": 0.1})

        def settled():
            return wait_until(lambda: (b := usage(gateway, "key-ops")["budgets"][0])["reserved_usd"] == 0 and b, "all is settled")
        answers = at_once([lambda: gateway.chat(key="key-a", max_tokens=20)] * 30)
        self.assertLessEqual({a.status for a in answers}, {200, 402})
        while settled()["spent_usd"] < 0.09:
            answers.append(gateway.chat(key="key-a", max_tokens=20))
        answers.append(gateway.chat(key="key-a", max_tokens=20))
        self.assertEqual(answers[-1].status, 402)
        state = settled()
        self.assertEqual(nano(state["spent_usd"]), sum(a.status == 200 for a in answers) * 10_000_000)
        self.assertEqual(sum(a.status == 200 for a in answers), 9, "a tenth might cost twice its share")
        self.assertEqual(gateway.chat("free", key="key-a").status, 200, "what costs nothing goes on")
        self.assertEqual(gateway.metric("millrace_budget_spent_usd", "key-ops", client="a"), state["spent_usd"])

    def test_the_refusal_is_in_the_clients_dialect(self):
        gateway = self.gateway({"day": 0, "month": 5})
        chat = gateway.chat(key="key-a")
        self.assertEqual((chat.status, chat.error["type"], chat.error["code"]), (402, "insufficient_quota", "budget_exceeded"))
        self.assertRegex(chat.error["message"], r"daily budget of your key .* begins anew at \d{4}-\d\d-\d\dT00:00:00Z")
        self.assertEqual(chat.header("x-should-retry"), "false")
        self.assertLessEqual(int(chat.header("retry-after")), 86400)
        claude = request(gateway.port, "POST", "/v1/messages", json.dumps(
            {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}), {"x-api-key": "key-a"})
        self.assertEqual((claude.status, claude.json()["error"]["type"]), (402, "billing_error"))
        gem = request(gateway.port, "POST", "/v1beta/models/gem:generateContent", json.dumps(
            {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}), {"x-goog-api-key": "key-a"})
        self.assertEqual((gem.status, gem.json()["error"]["status"]), (402, "RESOURCE_EXHAUSTED"))

    def test_a_tenants_keys_share_its_budget(self):
        gateway = self.gateway(None, {"acme": {"budget_usd": {"month": 0.015}}})
        self.assertEqual(gateway.chat(key="key-a", max_tokens=15).status, 200)
        wait_until(lambda: usage(gateway, "key-ops")["budgets"][0]["reserved_usd"] == 0, "it is settled")
        refused = gateway.chat(key="key-b", max_tokens=15)
        self.assertEqual(refused.status, 402)
        self.assertIn("monthly budget of your tenant", refused.error["message"])
        self.assertEqual(gateway.chat(key="key-ops", max_tokens=15).status, 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
