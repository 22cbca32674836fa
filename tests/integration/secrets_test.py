"""Canaries as keys: not one may come back in an answer, a log line, a metric or a status."""

import json
import os
import unittest

from harness import Gateway, RecordingUpstream, Simulator, TestCase, bearer, chat_body, provider, reply, request, target

PROVIDER, SECOND, CLIENT, ADMIN = (f"sk-{who}-canary-{os.urandom(6).hex()}" for who in ("p", "q", "client", "admin"))
CANARIES = (PROVIDER, SECOND, CLIENT, ADMIN)
SECRETS = {"PROVIDER_KEY": PROVIDER, "SECOND_KEY": SECOND, "CLIENT_KEY": CLIENT, "ADMIN_KEY": ADMIN}


class Secrets(TestCase):
    def setUp(self):
        self.simulator = self.own(Simulator("--tokens", "4", "--require-key", PROVIDER))
        # Real providers show parts of a refused key; this one is worse and shows all of it, in each place.
        self.upstream = self.own(RecordingUpstream(self.indiscreet))
        keys = {"keys": [{"name": "client", "secret": "${env:CLIENT_KEY}", "rpm": 60},
                         {"name": "root", "secret": "${env:ADMIN_KEY}", "admin": True}]}
        faults = ("fault-500", "fault-reset", "fault-html", "fault-cut=1", "fault-429", "fault-400", "good")
        self.models = {**{f: [target("sim", f)] for f in faults}, "refused": [target("refused", "x")],
                       "indiscreet": [target("indiscreet", "x")], "unreachable": [target("unreachable", "x")]}
        self.config = {
            "auth": keys, "log": {"level": "trace"}, "retry": {"base": "1ms", "cap": "5ms"}, "queue": {"max_wait": "200ms"},
            "providers": {"sim": provider(self.simulator.base_url, {"id": "k", "secret": "${env:PROVIDER_KEY}"}),
                          "refused": provider(self.simulator.base_url, {"id": "k2", "secret": "${env:SECOND_KEY}"}),
                          "indiscreet": provider(self.upstream.base_url, {"id": "k3", "secret": "${env:SECOND_KEY}"}),
                          "unreachable": provider("http://127.0.0.1:1/v1", {"id": "k4", "secret": "${env:SECOND_KEY}"})},
            "models": {name: {"targets": targets} for name, targets in self.models.items()}}
        self.gateway = Gateway(self.config, SECRETS)
        self.addCleanup(self.gateway.stop)
        self.seen = []

    @staticmethod
    def indiscreet(recorded, _):
        key = recorded.header("authorization")
        return reply(401, json.dumps({"error": {"message": f"Incorrect API key provided: {key}", "code": key}}),
                     f"x-key: {key}", f"www-authenticate: {key}")

    def ask(self, method, path, body=None, headers=None):
        answer = request(self.gateway.port, method, path, body, headers)
        self.seen.append((path, repr(answer.headers), answer.body.decode("utf-8", "replace")))
        return answer

    def test_no_canary_is_ever_seen(self):
        statuses = set()
        for model in [*self.models, "unknown"]:
            for stream in (False, True):
                for headers in (bearer(CLIENT), {"x-api-key": CLIENT}, {**bearer(CLIENT), "Cookie": f"a={CLIENT}"}):
                    statuses.add(self.ask("POST", "/v1/chat/completions", chat_body(model, stream=stream), headers).status)
        statuses.add(self.ask("POST", "/v1/chat/completions", "not JSON", bearer(CLIENT)).status)
        statuses.add(self.ask("POST", "/v1/chat/completions", chat_body("good"), bearer(CLIENT + "x")).status)
        statuses.add(self.ask("GET", "/v1/status", headers=bearer(CLIENT)).status)
        statuses.add(self.ask("GET", f"/v1/models/{CLIENT[:0]}zz", headers=bearer(CLIENT)).status)
        self.gateway.reload({**self.config, "wrong": 1})
        self.gateway.reload(self.config)
        for path in ("/metrics", "/v1/status", "/v1/models", "/health", "/ready"):
            self.assertEqual(self.ask("GET", path, headers=bearer(ADMIN)).status, 200)
        self.assertLessEqual({200, 400, 401, 403, 404, 502}, statuses, "the test reaches what it means to")
        self.assertEqual(self.gateway.stop(), 0)
        self.assertTrue(self.gateway.errors)
        self.seen += [("stdout", *self.gateway.output), ("stderr", *self.gateway.errors)]
        for where in self.seen:
            for canary in CANARIES:
                self.assertFalse(any(canary in text for text in where), f"a secret in {where[0]}")

    def test_a_core_file_is_never_written(self):
        with open(f"/proc/{self.gateway.popen.pid}/limits", encoding="ascii") as limits:
            core = next(line.split() for line in limits if line.startswith("Max core file size"))
        self.assertEqual(core[4:6], ["0", "0"], "soft and hard limit")

    def test_a_secret_is_not_in_the_environment_of_an_error(self):
        """A key with a character that no header may carry is refused without being shown."""
        bad = Gateway.__new__(Gateway)
        with self.assertRaises(AssertionError) as caught:
            Gateway.__init__(bad, self.config, {**SECRETS, "PROVIDER_KEY": PROVIDER + "\n x"})
        bad.directory.cleanup()
        self.assertNotIn(PROVIDER, str(caught.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
