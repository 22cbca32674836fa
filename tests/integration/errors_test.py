"""Failing providers: what is passed on, retried, replaced, and what the client is told."""

import json
import socket
import time
import unittest

from harness import (PATIENCE, Gateway, RawClient, RecordingUpstream, Simulator, TestCase, chat_body, post_bytes,
                     provider, reply, reset, target, wait_until)

# Breakers stay out of the way here, and nothing waits longer than it must.
CALM = {"breaker": {"consecutive_failures": 10000, "min_calls": 1000000},
        "retry": {"attempts": 3, "base": "1ms", "cap": "20ms", "budget": 1}}
QUICK = {"connect": "1s", "first_byte": "400ms", "first_token": "400ms", "idle": "400ms"}
GOOD = b'{"id":"x","object":"chat.completion","model":"m","choices":[{"message":{"content":"good"}}]}'


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Upstream(RecordingUpstream):
    """What a key named `status-NNN` gets; a model named `status-NNN` the same."""

    def __init__(self):
        super().__init__(self.reply)
        self.refusals = {}  # key -> the answer that it gets once more

    def reply(self, recorded, _):
        key = recorded.header("authorization").removeprefix("Bearer ")
        if key in self.refusals:
            return self.refusals[key](recorded)
        model = recorded.json()["model"]
        if model.startswith("status-"):
            return reply(int(model[7:]), b'{ "error" : {"message":"\\u00e9","type":"t","weird":1.0}}\n',
                         content_type="application/json; charset=utf-8")
        if model == "redirect":
            return reply(307, b"", "Location: /v1/chat/completions")
        return reply(200, GOOD)

    def seen_with(self, key):
        return sum(r.header("authorization") == f"Bearer {key}" for r in list(self.requests))


def refuse(status, *lines, code=None):
    body = json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": code}})
    return lambda _: reply(status, body, *lines)


class Refusals(TestCase):
    """Errors that are the request's or the key's affair."""

    @classmethod
    def prepare(cls):
        cls.upstream = cls.shared(Upstream())

    def gateway(self, *keys, models=("m",), **more):
        return self.own(Gateway({**CALM, "providers": {"p": provider(self.upstream.base_url, *keys)},
                                 "models": {m: {"targets": [target("p", m)]} for m in models}, **more}))

    def test_the_requests_own_faults_are_passed_on_byte_for_byte(self):
        names = [f"status-{s}" for s in (400, 404, 413, 422)]
        gateway = self.gateway("plain", models=names)
        for name in names:
            before = self.upstream.count()
            answer = gateway.chat(name)
            self.assertEqual(answer.status, int(name[7:]))
            self.assertEqual(answer.body, b'{ "error" : {"message":"\\u00e9","type":"t","weird":1.0}}\n')
            self.assertEqual(answer.header("content-type"), "application/json; charset=utf-8")
            self.assertEqual((answer.header("x-millrace-attempts"), self.upstream.count() - before), ("1", 1))

    def test_a_refused_key_is_quarantined_and_the_client_not_blamed(self):
        for status, code in ((401, None), (402, None), (403, None), (429, "insufficient_quota")):
            key = f"refused-{status}"
            self.upstream.refusals[key] = refuse(status, code=code)
            gateway = self.gateway(key)
            answer = gateway.chat("m")
            self.assertEqual(answer.status, 502, status)
            self.assertEqual(answer.header("x-should-retry"), "false")
            self.assertTrue(answer.error["message"])
            self.assertEqual(gateway.provider_key(key)["state"], "quarantined")
            self.assertIn(gateway.chat("m").status, (502, 503))
            self.assertEqual(self.upstream.seen_with(key), 1, "a quarantined key is not used")

    def test_the_other_key_answers_for_a_refused_one(self):
        for status in (401, 402, 403):
            bad, good = f"bad-{status}", f"good-{status}"
            self.upstream.refusals[bad] = refuse(status)
            gateway = self.gateway(bad, good)
            for _ in range(30):
                answer = gateway.chat("m")
                self.assertEqual((answer.status, answer.header("x-millrace-key")), (200, good), status)
            self.assertEqual(self.upstream.seen_with(bad), 1)
            states = [gateway.provider_key(k)["state"] for k in (bad, good)]
            self.assertEqual(states, ["quarantined", "active"])

    def test_reload_lifts_a_quarantine(self):
        self.upstream.refusals["mended"] = refuse(401)
        gateway = self.gateway("mended")
        self.assertEqual(gateway.chat("m").status, 502)
        del self.upstream.refusals["mended"]
        with open(gateway.config_file, encoding="utf-8") as file:
            config = file.read()
        version = gateway.status()["config"]["version"]
        gateway.reload(config)
        while gateway.status()["config"]["version"] == version:
            pass
        self.assertEqual(gateway.chat("m").status, 200)
        names = ("key_quarantined", "key_quarantine_lifted")
        events = wait_until(lambda: len(gateway.events(*names)) > 1 and gateway.events(*names), "both are logged")
        self.assertEqual(events, [{"level": "warn", "event": "key_quarantined", "key": "p/mended", "why": "unauthorized"},
                                  {"level": "info", "event": "key_quarantine_lifted", "key": "p/mended"}])

    def test_a_limited_key_cools_down_and_the_other_answers(self):
        self.upstream.refusals["limited"] = refuse(429, "Retry-After: 30")
        gateway = self.gateway("limited", "free")
        for _ in range(30):
            answer = gateway.chat("m")
            self.assertEqual((answer.status, answer.header("x-millrace-key")), (200, "free"))
        self.assertEqual(self.upstream.seen_with("limited"), 1)
        key = gateway.provider_key("limited")
        self.assertEqual(key["state"], "cooldown")
        self.assertGreater(key["cooldowns"][0]["remaining_s"], 20)

    def test_a_cooldown_is_waited_out_where_the_caller_has_the_time(self):
        calls = []

        def once(recorded):
            calls.append(time.monotonic())
            return refuse(429, "Retry-After: 1")(recorded) if len(calls) == 1 else reply(200, GOOD)

        self.upstream.refusals["cools"] = once
        gateway = self.gateway("cools")
        hasty = gateway.chat("m", headers={"x-millrace-timeout-ms": "300"})
        self.assertEqual(hasty.status, 429)
        self.assertGreaterEqual(int(hasty.header("retry-after")), 1)
        patient = gateway.chat("m")
        self.assertEqual(patient.status, 200)
        self.assertEqual(len(calls), 2)
        self.assertGreaterEqual(calls[1] - calls[0], 1.0)

    def test_a_cooldown_that_outlasts_the_caller_is_told_at_once(self):
        self.upstream.refusals["rests"] = refuse(429, "Retry-After: 600")
        gateway = self.gateway("rests")
        gateway.chat("m")
        answers = [gateway.chat("m") for _ in range(3)]  # each would wait for queue.max_wait, 30 s
        for answer in answers:
            self.assertEqual((answer.status, answer.error["code"]), (429, "no_capacity"))
            self.assertTrue(590 < int(answer.header("retry-after")) <= 600)
        self.assertEqual(self.upstream.seen_with("rests"), 1)

    def test_redirects_are_not_followed(self):
        answer = self.gateway("plain", models=["redirect"]).chat("redirect")
        self.assertEqual(answer.status, 502)
        self.assertTrue(all(r.line.startswith("POST /v1/chat/completions") for r in list(self.upstream.requests)))


class Faults(TestCase):
    """Errors that are the provider's affair: other targets answer, or the client is told."""

    # fault of the simulator -> status when nothing else can answer
    plain = {"500": 502, "503": 502, "529": 502, "reset": 502, "cut=2": 502, "truncate": 502, "html": 502, "stall": 504}
    before_content = {"500": 502, "reset": 502, "cut=0": 502, "cut=1": 502, "html": 502, "error-event=0": 502,
                      "error-event=1": 502, "stall": 504, "stall-stream=0": 504, "stall-stream=1": 504}
    after_content = ("cut=4", "error-event=4", "stall-stream=4")

    @classmethod
    def prepare(cls):
        # Paced, so that no failure arrives together with the content before it.
        cls.simulator = cls.shared(Simulator("--tokens", "8", "--tokens-per-second", "100"))
        faults = {*cls.plain, *cls.before_content, *cls.after_content}
        models = {"good": {"targets": [target("p", "good")]},
                  "refused": {"targets": [target("nobody", "x")]},
                  "once": {"targets": [target("p", "once")]},
                  "two": {"targets": [target("p", "fault-500", input_usd=1), target("p", "good", input_usd=2)]}}
        for fault in faults:
            models["alone-" + fault] = {"targets": [target("p", "fault-" + fault)]}
            models["replaced-" + fault] = {"targets": [target("p", "fault-" + fault)], "fallbacks": ["good"]}
        # `=` may not be wished for in names, but is allowed: the simulator's faults need it.
        cls.gateway = cls.shared(Gateway({
            **CALM, "models": models,
            "providers": {"p": provider(cls.simulator.base_url, "k", timeouts=QUICK),
                          "nobody": provider(f"http://127.0.0.1:{closed_port()}/v1", "k2", timeouts=QUICK)}}))

    def test_without_a_replacement_the_client_is_told(self):
        for stream, faults in ((False, self.plain), (True, self.before_content)):
            for fault, status in faults.items():
                with self.subTest(fault=fault, stream=stream):
                    answer = self.gateway.chat("alone-" + fault, stream=stream)
                    self.assertEqual(answer.status, status, answer.body)
                    self.assertEqual(answer.header("content-type"), "application/json")
                    self.assertRegex(answer.error["code"], "^[a-z_]+$")
                    self.assertEqual(answer.header("x-should-retry"), "false")
                    self.assertLessEqual(int(answer.header("x-millrace-attempts")), 3)

    def test_a_fallback_answers_unseen(self):
        expected = self.gateway.chat("good").content()
        for stream, faults in ((False, self.plain), (True, self.before_content)):
            for fault in faults:
                with self.subTest(fault=fault, stream=stream):
                    answer = self.gateway.chat("replaced-" + fault, stream=stream)
                    self.assertEqual(answer.status, 200, answer.body)
                    self.assertEqual(answer.content(), expected)
                    self.assertNotIn(b'"error":', answer.body)
                    self.assertEqual(answer.header("x-millrace-fallback"), "true")
                    self.assertEqual(answer.header("x-millrace-model"), "good")
                    if stream:
                        self.assertEqual(answer.events()[-1], b"[DONE]")

    def test_a_stream_that_fails_after_content_says_so_and_closes(self):
        for fault in self.after_content:
            for model in ("alone-" + fault, "replaced-" + fault):
                with self.subTest(model=model), RawClient(self.gateway.port) as client:
                    client.send(post_bytes("/v1/chat/completions", chat_body(model, stream=True)))
                    head, _, body = client.read_all().partition(b"\r\n\r\n")
                    self.assertIn(b" 200 ", head.split(b"\r\n")[0])
                    self.assertTrue(body.endswith(b"0\r\n\r\n"), "the body ends in good order")
                    self.assertNotIn(b"[DONE]", body)
                    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]
                    self.assertTrue(any(e["choices"][0]["delta"].get("content") for e in events[:-1]))
                    self.assertEqual(set(events[-1]["error"]), {"message", "type", "param", "code"})
                    self.assertFalse(any(e["choices"][0].get("finish_reason") for e in events[:-1]))

    def test_an_unreachable_provider(self):
        answer = self.gateway.chat("refused")
        self.assertEqual((answer.status, answer.header("x-should-retry")), (502, "false"))

    def test_the_next_target_answers(self):
        answer = self.gateway.chat("two", headers={"x-millrace-strategy": "cost"})
        self.assertEqual((answer.status, answer.header("x-millrace-model")), (200, "good"))
        self.assertEqual(answer.header("x-millrace-attempts"), "2")

    def test_a_passing_fault_is_retried(self):
        self.simulator.control(models={"once": {"faults": ["status=500:x1"]}})
        answer = self.gateway.chat("once")
        self.assertEqual((answer.status, answer.header("x-millrace-attempts")), (200, "2"))

    def test_the_callers_deadline(self):
        self.simulator.control(models={"once": {"latency": "30s"}})
        for stream in (False, True):
            begun = time.monotonic()
            answer = self.gateway.chat("once", stream=stream, headers={"x-millrace-timeout-ms": "200"})
            self.assertEqual((answer.status, answer.error["code"]), (504, "deadline_exceeded"))
            self.assertLess(time.monotonic() - begun, PATIENCE)

    def test_a_deadline_bounds_the_time_in_which_the_request_is_sent(self):
        for path in ("/v1/chat/completions", "/v1/messages"):
            with RawClient(self.gateway.port) as client:
                head, body = post_bytes(path, chat_body("good"), "x-millrace-timeout-ms: 300").split(b"\r\n\r\n")
                begun = time.monotonic()
                client.send(head + b"\r\n\r\n" + body[:10])
                answer = client.read_answer()
                self.assertLess(time.monotonic() - begun, 9, "the longest gap inside a body is 10 s")
                self.assertEqual(answer.status, 504)
                self.assertEqual(answer.json()["error"]["type"], "timeout_error")
                self.assertEqual(client.read_all(), b"", "the connection ends")
            wait_until(lambda path=path: (path, 504, "deadline_exceeded") in
                       [(r["route"], r["status"], r.get("error")) for r in self.gateway.events("access")],
                       "the access log has it")

    def test_a_deadline_bounds_a_stream_under_way(self):
        self.simulator.control(models={"slow": {"tokens_per_second": 5, "tokens": 1000}})
        gateway = self.own(Gateway({**CALM, "providers": {"p": provider(self.simulator.base_url, "k")},
                                    "models": {"slow": {"targets": [target("p", "slow")]}}}))
        answer = gateway.chat("slow", stream=True, headers={"x-millrace-timeout-ms": "900"})
        self.assertEqual(answer.status, 200)
        self.assertIn("error", json.loads(answer.events()[-1]))

    def test_a_stale_pooled_connection_is_replaced_unseen(self):
        served = []

        def close_after_each(recorded, connection):
            """Answers as if it would keep the connection, and resets it when the next request comes."""
            if connection in served:
                reset(connection)
                return None
            served.append(connection)
            return reply(200, GOOD)

        upstream = self.own(RecordingUpstream(close_after_each))
        gateway = self.own(Gateway({**CALM, "http": {"threads": 1}, "providers": {"p": provider(upstream.base_url, "k")},
                                    "models": {"m": {"targets": [target("p", "m")]}}}))
        # Five answers, each on a fresh connection; all but the first after a call on the one kept before.
        told = [(a.status, a.header("x-millrace-attempts")) for a in (gateway.chat("m") for _ in range(5))]
        self.assertEqual(told, [(200, "1")] + [(200, "2")] * 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
