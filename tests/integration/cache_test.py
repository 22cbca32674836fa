"""Answers already known: what is kept, for whom, how long, and what a damaged or full disk does to it."""

import glob
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import (Gateway, RecordingUpstream, Simulator, TestCase, bearer, chunked, provider, reply, request, target,
                     wait_until)

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"


def question(text, model="chat", **fields):
    """A request that may be kept."""
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}


def completion(text, **fields):
    """A provider's whole answer."""
    return json.dumps({"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}, **fields})


class CacheTest(TestCase):
    """Asks `self.gateway`."""

    def ask(self, body, key=None, path=CHAT, gateway=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return request((gateway or self.gateway).port, "POST", path, body if isinstance(body, (str, bytes)) else
                       json.dumps(body), {**bearer(key), **headers})

    def assert_word(self, word, body, *more, **named):
        answer = self.ask(body, *more, **named)
        self.assertEqual((answer.status, answer.header("x-millrace-cache")), (200, word), answer.body)
        return answer


class Known(CacheTest):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--latency", "3ms", "--tokens", "20"))
        clients = [{"name": "a1", "secret": "a1", "tenant": "a"}, {"name": "a2", "secret": "a2", "tenant": "a"},
                   {"name": "b", "secret": "b"}, {"name": "few", "secret": "few", "rpm": 3},
                   {"name": "tokens", "secret": "tokens", "tpm": 300}, {"name": "root", "secret": "root", "admin": True}]
        priced = {"input_usd": 1000, "output_usd": 1000}
        models = {"chat": {}, "other": {}, "any": {"cache": {"any_temperature": True}}, "brief": {"cache": {"ttl": "2s"}},
                  "off": {"cache": {"enabled": False}}, "keep": {"coalesce": True}}
        cls.gateway = cls.shared(Gateway({
            "auth": {"keys": clients}, "providers": {"p": provider(cls.simulator.base_url, "k")},
            "models": {m: {"targets": [target("p", m, **priced)], **more} for m, more in models.items()}}))

    def setUp(self):
        self.calls_before = self.calls()

    def calls(self):
        return self.simulator.key("k")["requests"]

    def assert_calls(self, count):
        self.assertEqual(self.calls() - self.calls_before, count, "calls of the provider")

    def test_a_hit_and_what_its_headers_say(self):
        first = self.assert_word("miss", question("one"), "b")
        self.assertEqual(first.header("x-millrace-attempts"), "1")
        self.assertGreater(float(first.header("x-millrace-cost-usd")), 0)
        self.assertIsNone(first.header("age"))
        hit = self.assert_word("hit", question("one"), "b")
        self.assertEqual(hit.body, first.body)
        self.assertEqual(hit.header("content-type"), first.header("content-type"))
        self.assertEqual(hit.header("x-millrace-attempts"), "0")
        self.assertEqual(float(hit.header("x-millrace-cost-usd")), 0)
        self.assertRegex(hit.header("age"), r"^\d+$")
        for name in ("provider", "model", "key", "fallback"):
            self.assertEqual(hit.header(f"x-millrace-{name}"), first.header(f"x-millrace-{name}"))
        self.assertNotEqual(hit.header("x-request-id"), first.header("x-request-id"))
        self.assert_calls(1)

    def test_spelling_does_not_count_and_meaning_does(self):
        text = "spelt in many ways"
        self.assert_word("miss", question(text, top_p=0.5, seed=7), "b")
        same = [
            '{"seed":7,"top_p":5e-1,"temperature":0.0,"messages":[{"content":"%s","role":"user"}],"model":"chat"}' % text,
            '{ "model" :\t"chat",\r\n "messages": [ {"role": "user", "content": "spelt in m\\u0061ny ways"} ],'
            ' "temperature": -0e3, "top_p": 0.50, "seed": 7.0 }',
            question(text, top_p=0.5, seed=7, user="somebody", metadata={"trace": "1"}, store=False,
                     service_tier="default"),
            question(text, top_p=0.5, seed=7, stream=False)]
        for body in same:
            self.assert_word("hit", body, "b")
        self.assert_calls(1)
        for body in (question(text, top_p=0.5, seed=8), question(text, top_p=0.5), question(text + " ", top_p=0.5, seed=7),
                     question(text, "other", top_p=0.5, seed=7), question(text, top_p=0.5, seed=7, prediction=None)):
            self.assert_word("miss", body, "b")

    def test_streamed_from_plain(self):
        plain = self.assert_word("miss", question("plain first"), "b")
        streamed = self.assert_word("hit", question("plain first", stream=True,
                                                    stream_options={"include_usage": True}), "b")
        self.assertTrue(streamed.header("content-type").startswith("text/event-stream"))
        self.assertEqual(streamed.content(), plain.content())
        self.assertEqual(streamed.events()[-1], b"[DONE]")
        chunks = [json.loads(e) for e in streamed.events()[:-1]]
        self.assertEqual([c["usage"] for c in chunks if c.get("usage")], [plain.json()["usage"]])
        unasked = self.assert_word("hit", question("plain first", stream=True), "b")
        self.assertFalse(any(json.loads(e).get("usage") for e in unasked.events()[:-1]))
        self.assert_calls(1)

    def test_plain_from_streamed(self):
        streamed = self.assert_word("miss", question("stream first", stream=True), "b")
        plain = self.assert_word("hit", question("stream first"), "b")
        self.assertEqual(plain.header("content-type"), "application/json")
        self.assertEqual(plain.content(), streamed.content())
        self.assertEqual(plain.json()["object"], "chat.completion")
        reasons = [c["finish_reason"] for e in streamed.events()[:-1] for c in json.loads(e)["choices"]]
        self.assertEqual(plain.json()["choices"][0]["finish_reason"], reasons[-1])
        self.assertEqual(self.assert_word("hit", question("stream first", stream=True), "b").content(), plain.content())
        self.assert_calls(1)

    def test_no_cache_asks_anew_and_renews(self):
        body = question("no-cache")
        self.assert_word("bypass", body, "b", Cache_Control="no-cache")
        self.assert_word("hit", body, "b")
        self.assert_word("bypass", body, "b", Cache_Control="No-Cache, max-age=60")
        self.assert_calls(2)

    def test_no_store_neither_asks_nor_keeps(self):
        body = question("no-store")
        self.assert_word("bypass", body, "b", Cache_Control="no-store")
        self.assert_word("miss", body, "b")
        self.assert_word("bypass", body, "b", Cache_Control="no-store")
        self.assert_calls(3)

    def test_max_age(self):
        body = question("max-age")
        self.assert_word("miss", body, "b", Cache_Control="max-age=0")
        self.assert_word("hit", body, "b", Cache_Control="max-age=3600")
        self.assert_word("miss", body, "b", Cache_Control="max-age=0")
        self.assert_word("hit", body, "b")
        self.assert_calls(2)
        answer = self.ask(body, "b", Cache_Control="max-age=soon")
        self.assertEqual((answer.status, answer.error["code"]), (400, "invalid_cache_control"))

    def test_only_if_cached(self):
        for body in (question("only-if-cached"), question("only-if-cached", stream=True)):
            answer = self.ask(body, "b", Cache_Control="only-if-cached")
            self.assertEqual((answer.status, answer.error["code"]), (504, "not_cached"))
            self.assertEqual(answer.error["type"], "invalid_request_error")
            self.assertEqual(answer.header("x-should-retry"), "false", "an SDK would only ask again")
        self.assert_calls(0)
        self.assert_word("miss", question("only-if-cached"), "b")
        self.assert_word("hit", question("only-if-cached", stream=True), "b", Cache_Control="only-if-cached")

    def test_chance_is_not_kept(self):
        for body in ({k: v for k, v in question("by chance").items() if k != "temperature"},
                     question("by chance", temperature=1), question("by chance", temperature=None),
                     question("by chance", "off")):
            self.assert_word("bypass", body, "b")
            self.assert_word("bypass", body, "b")
        self.assert_calls(8)

    def test_a_model_may_keep_any_temperature(self):
        body = question("warm", "any", temperature=0.7)
        self.assert_word("miss", body, "b")
        self.assert_word("hit", body, "b")
        self.assert_word("miss", question("warm", "any", temperature=0.8), "b")

    def test_a_model_has_its_own_time_to_live(self):
        body = question("brief", "brief")
        self.assert_word("miss", body, "b")

        def forgotten():
            answer = self.ask(body, "b")
            self.assertLess(int(answer.header("age") or 0), 3)
            return answer.header("x-millrace-cache") == "miss"
        wait_until(forgotten, "the answer has expired")

    def test_embeddings(self):
        body = {"model": "chat", "input": ["one", "two"]}
        first = self.assert_word("miss", body, "b", EMBEDDINGS)
        self.assertEqual(self.assert_word("hit", {"input": ["one", "two"], "model": "chat"}, "b", EMBEDDINGS).body,
                         first.body)
        self.assert_word("miss", {**body, "input": ["two", "one"]}, "b", EMBEDDINGS)
        self.assert_word("bypass", {**body, "model": "off"}, "b", EMBEDDINGS)

    def test_tenants_share_nothing_and_keys_of_a_tenant_all(self):
        self.assert_word("miss", question("whose?"), "a1")
        self.assert_word("hit", question("whose?"), "a2")
        self.assert_word("miss", question("whose?"), "b")
        self.assert_calls(2)

    def test_hits_count_as_requests(self):
        self.assert_word("miss", question("counted"), "few")
        for left in (1, 0):
            hit = self.assert_word("hit", question("counted"), "few")
            self.assertEqual(hit.header("x-ratelimit-remaining-requests"), str(left))
        answer = self.ask(question("counted"), "few")
        self.assertEqual((answer.status, answer.error["code"]), (429, "rate_limit_exceeded"))
        self.assertGreaterEqual(int(answer.header("retry-after")), 1)

    def test_hits_do_not_count_as_tokens(self):
        body = question("few tokens", max_tokens=200)
        self.assert_word("miss", body, "tokens")
        left = [int(self.assert_word("hit", body, "tokens").header("x-ratelimit-remaining-tokens")) for _ in range(20)]
        self.assertEqual(left, sorted(left), "it only grows, when what the first did not use comes back")

    def test_coalesce_keeps_five_seconds(self):
        body = question("kept", "keep", temperature=1)
        begun = time.monotonic()
        first = self.assert_word("bypass", body, "b")
        kept = self.assert_word("coalesced", body, "b")
        self.assertEqual((kept.body, kept.header("x-millrace-attempts")), (first.body, "0"))
        self.assertEqual(float(kept.header("x-millrace-cost-usd")), 0)
        self.assert_word("coalesced", question("kept", "keep", temperature=1, stream=True), "b")
        self.assert_word("bypass", body, "a1")
        self.assert_word("bypass", body, "b", Cache_Control="no-store")
        self.assert_calls(3)
        wait_until(lambda: self.ask(body, "b").header("x-millrace-cache") == "bypass", "it is forgotten")
        self.assertGreater(time.monotonic() - begun, 4.9)

    def test_purges(self):
        def purge(query="", key="root"):
            return request(self.gateway.port, "DELETE", "/v1/cache" + query, headers=bearer(key))

        def fill():
            for key in ("a1", "b"):
                for model in ("chat", "other"):
                    self.ask(question("purged", model), key)

        def known():
            return {(key, model) for key in ("a1", "b") for model in ("chat", "other") if self.ask(
                question("purged", model), key, Cache_Control="only-if-cached").status == 200}
        everything = {("a1", "chat"), ("a1", "other"), ("b", "chat"), ("b", "other")}
        for query, left in (("?tenant=a", {("b", "chat"), ("b", "other")}), ("?model=chat", {("a1", "other"), ("b", "other")}),
                            ("?tenant=b&model=other", everything - {("b", "other")}), ("", set()),
                            ("?tenant=nobody", everything)):
            fill()
            self.assertEqual(known(), everything)
            answer = purge(query)
            self.assertEqual((answer.status, answer.json()["object"]), (200, "cache.purged"), answer.body)
            self.assertEqual(known(), left, query)
        for key, status in (("b", 403), ("unknown", 401), (None, 401)):
            self.assertEqual(purge("", key).status, status)
        for query in ("?tennant=a", "?tenant=", "?tenant=a&tenant=b"):
            self.assertEqual((purge(query).status, purge(query).error["code"]), (400, "invalid_query"))
        self.assertEqual(known(), everything, "refused ones do nothing")

    def test_status_and_metrics(self):
        before = self.gateway.status("root")["cache"]
        words = {w: self.gateway.metric("millrace_cache_requests_total", "root", outcome=w)
                 for w in ("hit", "miss", "bypass")}
        self.assert_word("miss", question("seen"), "b")
        self.assert_word("hit", question("seen"), "b")
        self.assert_word("bypass", question("seen", temperature=1), "b")
        after = self.gateway.status("root")["cache"]
        self.assertEqual(after["hits"] - before["hits"], 1)
        self.assertEqual(after["entries"] - before["entries"], 1)
        self.assertGreater(after["memory_bytes"], before["memory_bytes"])
        self.assertTrue(0 < after["hit_ratio"] < 1)
        self.assertEqual(after["disk"]["state"], "on")
        for word, count in words.items():
            self.assertEqual(self.gateway.metric("millrace_cache_requests_total", "root", outcome=word), count + 1, word)
        self.assertEqual(self.gateway.metric("millrace_cache_entries", "root", layer="memory"), after["entries"])


class NeverKept(CacheTest):
    """Whatever is not a whole good answer is asked for anew."""

    EVENT = 'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,' \
            '"delta":{"role":"assistant","content":"half"},"finish_reason":null}]}\n\n'
    ERROR = 'data: {"error":{"message":"overloaded","type":"server_error","code":null,"param":null}}\n\n'

    @classmethod
    def prepare(cls):
        cls.next = None
        cls.upstream = cls.shared(RecordingUpstream(lambda recorded, connection: cls.next(connection)))
        cls.gateway = cls.shared(Gateway({
            "providers": {"p": provider(cls.upstream.base_url, "k")}, "retry": {"attempts": 1},
            "breaker": {"consecutive_failures": 10000, "min_calls": 1000000},
            "models": {"chat": {"targets": [target("p", "m")]}}}))

    def test_errors_and_cut_answers(self):
        cls = type(self)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        event = b"%x\r\n%s\r\n" % (len(self.EVENT), self.EVENT.encode())
        last = self.EVENT.replace('"finish_reason":null', '"finish_reason":"stop"').encode()
        good = completion("good")

        def cut(data):
            def send(connection):
                connection.sendall(data)
            return send
        bad = {
            "a refusal": lambda _: reply(400, '{"error":{"message":"no","type":"invalid_request_error"}}'),
            "a failure": lambda _: reply(500, '{"error":{"message":"broken","type":"server_error"}}'),
            "not JSON": lambda _: reply(200, "good"),
            "a cut answer": cut(reply(200, good)[:-5]),
            "a cut stream": cut(head + event),
            "a stream cut before its mark": cut(head + event + b"%x\r\n%s\r\n" % (len(last), last)),
            "a stream with an error": lambda _: chunked([self.EVENT.encode(), self.ERROR.encode()]),
            "a stream without its end": lambda _: chunked([self.EVENT.encode()]),
        }
        for name, answer in bad.items():
            for stream in (True, False) if "stream" not in name else (True,):
                with self.subTest(name, stream=stream):
                    body = question(f"{name} {stream}", stream=stream)
                    cls.next = staticmethod(answer)
                    before = self.upstream.count()
                    self.ask(body)
                    self.assertGreater(self.upstream.count(), before)
                    cls.next = staticmethod(lambda _: reply(200, good))
                    plain = question(f"{name} {stream}")
                    self.assertEqual(self.assert_word("miss", plain).content(), "good")
                    self.assert_word("hit", plain)


class OnDisk(CacheTest):
    QUESTIONS = 30

    def setUp(self):
        self.simulator = self.own(Simulator("--tokens", "200"))
        directory = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.addCleanup(directory.cleanup)
        self.data = os.path.join(directory.name, "data")

    def node(self):
        return self.own(Gateway({
            "node": {"data_dir": self.data}, "providers": {"p": provider(self.simulator.base_url, "k")},
            "models": {"chat": {"targets": [target("p", "m")]}}}))

    @staticmethod
    def disk(gateway):
        return gateway.status()["cache"]["disk"]

    def contents(self, gateway):
        return [self.ask(question(f"question {i}"), gateway=gateway).content() for i in range(self.QUESTIONS)]

    def test_a_restart_finds_them_again(self):
        gateway = self.node()
        asked = self.contents(gateway)
        wait_until(lambda: self.disk(gateway)["entries"] == self.QUESTIONS, "all are counted, the last ones too")
        self.assertEqual(gateway.stop(), 0)
        gateway = self.node()
        hit = self.assert_word("hit", question("question 0"), gateway=gateway)
        self.assertRegex(hit.header("age"), r"^\d+$")
        self.assertEqual(self.contents(gateway), asked)
        self.assertEqual(self.simulator.key("k")["requests"], self.QUESTIONS)
        disk = self.disk(gateway)
        self.assertEqual((disk["state"], disk["hits"]), ("on", self.QUESTIONS))
        self.assertEqual(gateway.metric("millrace_cache_lookups_total", outcome="hit_disk"), self.QUESTIONS)
        self.assertEqual(gateway.metric("millrace_cache_disk_up"), 1)
        self.assertEqual(request(gateway.port, "DELETE", "/v1/cache?model=chat").status, 200)
        self.assertEqual(gateway.stop(), 0)
        gateway = self.node()
        self.assert_word("miss", question("question 0"), gateway=gateway)

    def test_what_is_too_old_for_its_client_is_a_miss(self):
        gateway = self.node()
        self.assert_word("miss", question("old"), gateway=gateway)
        self.assertEqual(gateway.stop(), 0)
        gateway = self.node()
        self.assert_word("miss", question("old"), gateway=gateway, cache_control="max-age=0")
        self.assertEqual((self.disk(gateway)["hits"], self.disk(gateway)["misses"]), (0, 1))

    def test_a_flipped_byte_is_never_an_answer(self):
        gateway = self.node()
        asked = self.contents(gateway)
        rounds = (0.2, 0.5, 0.8, 0.999)
        for part in rounds:
            self.assertEqual(gateway.stop(), 0)
            files = glob.glob(os.path.join(self.data, "cache", "*.sst"))
            self.assertTrue(files)
            for name in files:
                with open(name, "r+b") as file:
                    at = int(os.path.getsize(name) * part)
                    file.seek(at)
                    byte = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes([byte ^ 0x10]))
            gateway = self.node()
            self.assertEqual(self.contents(gateway), asked)
            self.assertEqual(self.contents(gateway), asked, "and again, from memory")
        calls = self.simulator.key("k")["requests"]
        self.assertGreater(calls, self.QUESTIONS, "some were damaged")
        self.assertEqual(gateway.status()["cache"]["disk"]["state"], "on")


class FullDisk(CacheTest):
    """The node has its files on 24 MiB that only it sees, 20 of them taken by a ballast."""

    MOUNT = 'mount -t tmpfs -o size=24m,mode=0700 tmpfs "$0" && head -c 20M /dev/zero >"$0/ballast" && exec "$@"'

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.addCleanup(directory.cleanup)
        self.data = directory.name
        self.under = ["unshare", "-rm", "sh", "-c", self.MOUNT, self.data]
        allowed = shutil.which("unshare") and subprocess.run([*self.under, "true"], capture_output=True, check=False)
        if not allowed or allowed.returncode != 0:
            self.skipTest("no mount namespace can be had here, so no small disk")

    def test_nobody_notices_and_it_comes_back(self):
        upstream = self.own(RecordingUpstream(
            lambda recorded, connection: reply(200, completion(recorded.json()["messages"][0]["content"],
                                                               noise=os.urandom(50_000).hex()))))
        self.gateway = self.own(Gateway({
            "node": {"data_dir": self.data}, "cache": {"exact": {"memory": "1MiB", "disk": "256MiB"}},
            "providers": {"p": provider(upstream.base_url, "k")}, "models": {"chat": {"targets": [target("p", "m")]}}},
            under=self.under))
        numbers = iter(range(1_000_000))

        def ask():
            text = f"question {next(numbers)}"
            self.assertEqual(self.assert_word("miss", question(text)).content(), text)

        def up():
            return self.gateway.metric("millrace_cache_disk_up") == 1

        def written():
            return self.gateway.metric("millrace_cache_disk_written_total")
        self.assertTrue(up())
        wait_until(lambda: ask() or not up(), "the disk is full", 60)
        for _ in range(100):
            ask()
        self.assertEqual([e["why"] for e in self.gateway.events("cache_disk_off")], ["the disk is full"])
        self.assertEqual(self.gateway.status()["cache"]["disk"]["state"], "off")
        os.unlink(f"/proc/{self.gateway.popen.pid}/root{self.data}/ballast")
        wait_until(up, "the disk is used again", 60)
        self.assertEqual(len(self.gateway.events("cache_disk_off")), 1)
        before = written()
        wait_until(lambda: ask() or written() > before, "answers are written again")


if __name__ == "__main__":
    unittest.main(verbosity=2)
