"""What clients and providers see of an ordinary request: bytes, headers, routes."""

import gzip
import json
import os
import re
import socket
import unittest

from harness import (Gateway, RawClient, RecordingUpstream, TestCase, bearer, chat_body, chunked, post_bytes,
                     provider, reply, request, target)

# Everything a lesser gateway would parse and write anew: spaces, escapes, number forms, unknown members.
REQUEST = (b'{ "zz\\u00fc" : [1.0, 1e2, -0,  12345678901234567890.5],\n\t"model" :  "%s" ,'
           b'"messages":[{"role":"user","content":[{"type":"text","text":"h\xc3\xa9\\ud83d\\ude00 \\/ \\n"},'
           b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}}]},'
           b'{"role":"tool","model":"inner","tool_call_id":"c","content":""}],'
           b'"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object",'
           b'"properties":{"model":{"type":"string"}},"additionalProperties":false}}}],"tool_choice":"auto",'
           b'"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"b":1,"a":2}}},'
           b'"logprobs":true , "top_logprobs":3,"unknown":{"deep":[null,{"model":"x"}]}, "seed":007e0 }\r\n'
           .replace(b"007e0", b"7e0"))
ANSWER = (b'{ "id" : "chatcmpl-1","object":"chat.completion", "created":1.7e9,"model" : "%s","unknown":[ 1.50 ],'
          b'"choices":[{"index":0,"model":"inner","message":{"role":"assistant","content":"\\u00e9 \\/",'
          b'"refusal":null},"logprobs":{"content":[{"token":"a","logprob":-0.10}]},"finish_reason":"stop"}],'
          b'\n "usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500,'
          b'"prompt_tokens_details":{"cached_tokens":0}},"system_fingerprint":null}\n')
USAGE = b'{"id":"c","model":"%s","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}'
CHUNKS = [b'{"id":"c","object":"chat.completion.chunk","model":"%s","choices":[{"index":0,"delta":{"role":"assistant",'
          b'"content":""}}]}',
          b'{"id":"c", "model" : "%s","x":[1.0],"choices":[{"index":0,"delta":{"content":"h\\u00e9"}}]}',
          b'{"id":"c","model":"%s","choices":[{"index":0,"delta":{"content":"!"},"model":"inner"}]}',
          b'{"id":"c","model":"%s","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}']


def stream(model, usage, end=b"\n\n"):
    chunks = CHUNKS + ([USAGE] if usage else [])
    return [b"data: " + c.replace(b"%s", model) + end for c in chunks] + [b"data: [DONE]" + end]


class Upstream(RecordingUpstream):
    """Answers as the model's name asks."""

    def __init__(self):
        super().__init__(self.reply)

    @staticmethod
    def reply(recorded, _):
        body = recorded.json()
        model = body["model"].encode()
        if recorded.path == "/v1/embeddings":
            return reply(200, b'{"object":"list","model":"%s","data":[],"usage":{"prompt_tokens":3}}' % model)
        if not body.get("stream"):
            answer = ANSWER % model
            if model == b"up-gzip":
                return reply(200, gzip.compress(answer), "Content-Encoding: gzip")
            return reply(200, answer, "Set-Cookie: a=b", "X-Internal: secret", "openai-organization: org")
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        if model == b"up-bytes":
            text = b": ping\r\n\r\n" + b"".join(stream(model, usage, b"\r\n\r\n"))
            return chunked([text[i:i + 1] for i in range(len(text))])
        if model == b"up-gzip":
            return chunked([gzip.compress(b"".join(stream(model, usage)))], "text/event-stream",
                           "Content-Encoding: gzip")
        return chunked(stream(model, usage))


def common_ends(a, b):
    """Bytes that the two share at the front and, of the rest, at the back."""
    front = len(os.path.commonprefix([a, b]))
    back = len(os.path.commonprefix([a[front:][::-1], b[front:][::-1]]))
    return front + back


class Passthrough(TestCase):
    @classmethod
    def prepare(cls):
        cls.upstream = cls.shared(Upstream())
        one = {"input_usd": 0.15, "output_usd": 0.60}
        cls.gateway = cls.shared(Gateway({
            "providers": {"p": provider(cls.upstream.base_url, {"id": "k1", "secret": "provider-secret"})},
            "models": {"chat": {"targets": [target("p", "up/model-1", **one)]},
                       "gzip": {"targets": [target("p", "up-gzip")]},
                       "bytes": {"targets": [target("p", "up-bytes")]}}}))

    def post(self, body, path="/v1/chat/completions", headers=None):
        return request(self.gateway.port, "POST", path, body, headers)

    def test_whole_answers_pass_byte_for_byte(self):
        answer = self.post(REQUEST % b"chat")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(self.upstream.last().body, REQUEST % b"up/model-1")
        self.assertEqual(answer.body, ANSWER % b"chat")
        self.assertEqual(answer.header("content-type"), "application/json")

    def test_an_escaped_model_key_is_still_the_model(self):
        body = b'{"m\\u006fdel":"ch\\u0061t","messages":[{"role":"user","content":"x"}]}'
        self.assertEqual(self.post(body).status, 200)
        self.assertEqual(self.upstream.last().body, body.replace(b"ch\\u0061t", b"up/model-1"))

    def test_all_routes(self):
        self.assertEqual(self.post('{"model":"chat","input":"x","dimensions":3}', "/v1/embeddings").status, 200)
        self.assertEqual(self.upstream.last().path, "/v1/embeddings")
        self.assertEqual(self.upstream.last().body, b'{"model":"up/model-1","input":"x","dimensions":3}')
        self.assertEqual(self.post('{"model":"chat","prompt":"x"}', "/v1/completions").status, 200)
        self.assertEqual(self.upstream.last().path, "/v1/completions")

    def test_headers_that_go_on_and_those_that_do_not(self):
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        sent = {"Accept": "application/json", "OpenAI-Beta": "b=1", "OpenAI-Organization": "o", "OpenAI-Project": "p",
                "anthropic-version": "2023-06-01", "anthropic-beta": "x", "traceparent": trace, "User-Agent": "ua/1"}
        kept = {**bearer("client-secret"), "x-api-key": "client-secret", "x-goog-api-key": "client-secret",
                "api-key": "client-secret", "Cookie": "c=client-secret", "X-Forwarded-For": "1.2.3.4", "X-Other": "y",
                "Origin": "https://a.example", "Referer": "https://a.example/", "x-request-id": "id-1",
                "x-millrace-timeout-ms": "30000", "Idempotency-Key": "i", "Cache-Control": "no-cache"}
        self.assertEqual(self.post(chat_body(), headers={**sent, **kept}).status, 200)
        seen = self.upstream.last()
        for name, value in sent.items():
            if name != "traceparent":
                self.assertEqual(seen.header(name.lower()), value)
        self.assertTrue(seen.header("traceparent").startswith("00-0af7651916cd43dd8448eb211c80319c-"))
        self.assertEqual(seen.header("authorization"), "Bearer provider-secret")
        self.assertEqual(seen.header("host"), f"127.0.0.1:{self.upstream.port}")
        names = {n.lower() for n, _ in seen.headers}
        own = {"host", "authorization", "content-type", "content-length", "accept-encoding", "connection"}
        self.assertLessEqual(names, own | {n.lower() for n in sent})
        self.assertNotIn("client-secret", repr(seen.headers))

    def test_headers_of_an_answer(self):
        answer = self.post(chat_body(), headers={"x-request-id": "my.id_1-2"})
        self.assertEqual(answer.header("x-request-id"), "my.id_1-2")
        self.assertEqual(answer.header("x-millrace-provider"), "p")
        self.assertEqual(answer.header("x-millrace-model"), "up/model-1")
        self.assertEqual(answer.header("x-millrace-key"), "k1")
        self.assertEqual(answer.header("x-millrace-attempts"), "1")
        self.assertEqual(answer.header("x-millrace-fallback"), "false")
        self.assertEqual(float(answer.header("x-millrace-cost-usd")), 0.00045)
        self.assertRegex(answer.header("x-millrace-cost-usd"), r"^\d+(\.\d{1,9})?$")
        self.assertRegex(answer.header("x-millrace-overhead-us"), r"^\d+$")
        for name in ("set-cookie", "x-internal"):
            self.assertIsNone(answer.header(name))

    def test_request_ids_are_made_where_none_is_usable(self):
        for given in (None, "", "a b", "x" * 129, "a/b"):
            headers = {} if given is None else {"x-request-id": given}
            made = self.post(chat_body(), headers=headers).header("x-request-id")
            self.assertRegex(made, r"^[A-Za-z0-9._-]{1,128}$")
            self.assertNotEqual(made, given)

    def test_streams_pass_byte_for_byte_and_ask_for_usage(self):
        body = b'{"messages":[{"role":"user","content":"x"}], "stream" : true ,"model":"chat","z":[1.0]}'
        answer = self.post(body)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertTrue(answer.header("content-type").startswith("text/event-stream"))
        self.assertEqual(answer.body, b"".join(stream(b"chat", False)))
        seen = self.upstream.last()
        expected = body.replace(b'"chat"', b'"up/model-1"')
        self.assertEqual(seen.json()["stream_options"], {"include_usage": True})
        self.assertEqual(common_ends(seen.body, expected), len(expected), seen.body)
        self.assertIsNone(answer.header("x-millrace-cost-usd"))
        self.assertEqual(answer.header("x-millrace-attempts"), "1")

    def test_usage_of_a_stream_is_shown_to_those_who_ask(self):
        body = b'{"model":"chat","stream":true,"stream_options" : {"include_usage" : true},"messages":[{"role":"user","content":"x"}]}'
        self.assertEqual(self.post(body).body, b"".join(stream(b"chat", True)))
        self.assertEqual(self.upstream.last().body, body.replace(b'"chat"', b'"up/model-1"'))
        for options in (b'{"include_usage":false}', b'{}', b'null', b'{"other":1}'):
            body = b'{"model":"chat","stream_options":%s,"stream":true,"messages":[{"role":"user","content":"x"}]}' % options
            self.assertEqual(self.post(body).body, b"".join(stream(b"chat", False)), options)
            self.assertIs(self.upstream.last().json()["stream_options"]["include_usage"], True)
        self.assertEqual(self.upstream.last().json()["stream_options"]["other"], 1)

    def test_a_stream_may_be_split_anywhere(self):
        answer = self.post(chat_body("bytes", stream=True, stream_options={"include_usage": True}))
        chunks = [c.replace(b"%s", b"bytes") for c in CHUNKS + [USAGE]]
        self.assertEqual(answer.events(), chunks + [b"[DONE]"])

    def test_gzip_answers_arrive_plain(self):
        answer = self.post(chat_body("gzip"))
        self.assertEqual((answer.status, answer.body), (200, ANSWER % b"gzip"))
        self.assertIsNone(answer.header("content-encoding"))
        answer = self.post(chat_body("gzip", stream=True))
        self.assertEqual(answer.body, b"".join(stream(b"gzip", False)))
        self.assertIsNone(answer.header("content-encoding"))

    def test_http_1_0(self):
        with RawClient(self.gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body(), version="1.0"))
            head, _, body = client.read_all().partition(b"\r\n\r\n")
            self.assertIn(b" 200 ", head.split(b"\r\n")[0])
            self.assertEqual(body, ANSWER % b"chat")
        with RawClient(self.gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body(stream=True), version="1.0"))
            head, _, body = client.read_all().partition(b"\r\n\r\n")
            self.assertNotIn(b"chunked", head.lower())
            self.assertEqual(body, b"".join(stream(b"chat", False)))

    def test_pipelined_requests_are_answered_in_order(self):
        with RawClient(self.gateway.port) as client:
            client.send(b"".join(post_bytes("/v1/chat/completions", chat_body(), f"x-request-id: r{i}")
                                 for i in range(5)) + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            answers = [client.read_answer() for _ in range(6)]
            self.assertEqual([a.header("x-request-id") for a in answers[:5]], [f"r{i}" for i in range(5)])
            self.assertEqual([a.status for a in answers], [200] * 6)

    def test_expect_100_continue(self):
        data = post_bytes("/v1/chat/completions", chat_body(), "Expect: 100-continue")
        at = data.index(b"\r\n\r\n") + 4
        with RawClient(self.gateway.port) as client:
            client.send(data[:at])
            self.assertEqual(client.read_answer().status, 100)
            client.send(data[at:])
            self.assertEqual(client.read_answer().status, 200)
        with RawClient(self.gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body(), "Expect: 200-ok"))
            self.assertEqual(client.read_answer().status, 417)

    def test_chunked_request_bodies(self):
        body = REQUEST % b"chat"
        with RawClient(self.gateway.port) as client:
            client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(body), 37):
                piece = body[i:i + 37]
                client.send(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
            self.assertEqual(client.read_answer().status, 200)
            self.assertEqual(self.upstream.last().body, REQUEST % b"up/model-1")

    def test_bodies_that_are_refused(self):
        deep = b"[" * 200 + b"]" * 200
        bad = {"not JSON": b"hello", "empty": b"", "array": b"[]", "trailing bytes": b'{"model":"chat"} x',
               "duplicate": b'{"model":"chat","model":"chat","messages":[]}',
               "escaped duplicate": b'{"model":"chat","m\\u006fdel":"other","messages":[]}',
               "utf-8": b'{"model":"chat","messages":[{"role":"user","content":"\xff"}]}',
               "deep": b'{"model":"chat","messages":[],"x":%s}' % deep,
               "no model": b'{"messages":[]}', "model is a number": b'{"model":1,"messages":[]}'}
        before = self.upstream.count()
        for name, body in bad.items():
            answer = self.post(body)
            self.assertEqual(answer.status, 400, name)
            self.assertEqual(answer.error["type"], "invalid_request_error", name)
            self.assertRegex(answer.error["code"], r"^[a-z0-9_]+$")
        self.assertEqual(self.upstream.count(), before)

    def test_unknown_models_and_routes_and_methods(self):
        answer = self.post(chat_body("nobody"))
        self.assertEqual((answer.status, answer.error["code"], answer.error["param"]), (404, "model_not_found", "model"))
        answer = request(self.gateway.port, "GET", "/v1/nothing")
        self.assertEqual(answer.status, 404)
        self.assertRegex(answer.error["message"], r"^[A-Z].*\.$")
        self.assertRegex(answer.header("x-request-id"), r"^[A-Za-z0-9._-]{1,128}$")
        answer = request(self.gateway.port, "GET", "/v1/chat/completions", headers={"x-request-id": "mine"})
        self.assertEqual(answer.header("x-request-id"), "mine")
        self.assertEqual(answer.status, 405)
        self.assertRegex(answer.error["message"], r"^[A-Z].*\.$")
        self.assertEqual(set(answer.header("allow").split(", ")), {"OPTIONS", "POST"})
        self.assertTrue(answer.error["code"])

    def test_own_headers_that_make_no_sense(self):
        for headers in ({"x-millrace-timeout-ms": "soon"}, {"x-millrace-strategy": "best"}, {"x-millrace-private": "1"}):
            self.assertEqual(self.post(chat_body(), headers=headers).status, 400, headers)
        answer = self.post(chat_body(), headers={"x-millrace-private": "true"})
        self.assertEqual(answer.status, 503, "no provider here is private")


class Routes(TestCase):
    @classmethod
    def prepare(cls):
        cls.upstream = cls.shared(Upstream())
        cls.gateway = cls.shared(Gateway({
            "http": {"cors_origins": ["https://app.example"], "max_body": "64KiB"},
            "auth": {"keys": [{"name": "root", "secret": "root-key", "admin": True}, {"name": "user", "secret": "user-key"}]},
            "providers": {"p": provider(cls.upstream.base_url, "k1")},
            "models": {name: {"targets": [target("p", "up")]} for name in ("b-model", "a/model")}}))

    def get(self, path, key=None, headers=None, method="GET"):
        return request(self.gateway.port, method, path, headers={**bearer(key), **(headers or {})})

    def test_models(self):
        answer = self.get("/v1/models", "user-key").json()
        self.assertEqual(answer["object"], "list")
        self.assertEqual({m["id"] for m in answer["data"]}, {"b-model", "a/model"})
        for model in answer["data"]:
            self.assertEqual((model["object"], type(model["created"]), type(model["owned_by"])), ("model", int, str))
        self.assertEqual(self.get("/v1/models/b-model", "user-key").json()["id"], "b-model")
        self.assertEqual(self.get("/v1/models/a%2Fmodel", "user-key").json()["id"], "a/model")
        self.assertEqual(self.get("/v1/models/zz", "user-key").error["code"], "model_not_found")

    def test_keys_of_clients(self):
        chat = "/v1/chat/completions"
        for headers in ({}, bearer("wrong"), bearer("user-ke"), bearer("user-keyy"), {"Authorization": "user-key"},
                        {"Authorization": "Basic user-key"}):
            answer = request(self.gateway.port, "POST", chat, chat_body("b-model"), headers)
            self.assertEqual((answer.status, answer.error["code"]), (401, "invalid_api_key"), headers)
            self.assertIsNotNone(answer.header("x-request-id"))
        self.assertEqual(request(self.gateway.port, "POST", chat, chat_body("b-model"), bearer("user-key")).status, 200)
        self.assertEqual(self.get("/v1/models").status, 401)

    def test_no_body_is_awaited_of_who_has_no_key(self):
        whole = post_bytes("/v1/messages", "x" * 60000, "x-api-key: wrong", "Expect: 100-continue")
        for sent in (whole[:-60000], whole[:-1]):
            with RawClient(self.gateway.port) as client:
                client.send(sent)
                answer = client.read_answer()
                self.assertEqual((answer.status, answer.json()["error"]["type"]), (401, "authentication_error"))
                self.assertEqual(answer.header("connection"), "close")
                client.socket.shutdown(socket.SHUT_WR)
                self.assertEqual(client.read_all(), b"")
        with RawClient(self.gateway.port) as client:
            whole = post_bytes("/v1/chat/completions", chat_body("b-model"), "Authorization: Bearer user-key",
                               "Expect: 100-continue")
            head, body = whole.split(b"\r\n\r\n", 1)
            client.send(head + b"\r\n\r\n")
            self.assertEqual(client.read_answer().status, 100)
            client.send(body)
            self.assertEqual(client.read_answer().status, 200)

    def test_two_keys_are_none(self):
        with RawClient(self.gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body("b-model"), "Authorization: Bearer user-key",
                                   "Authorization: Bearer root-key"))
            answer = client.read_answer()
            self.assertEqual((answer.status, answer.error["code"]), (400, "bad_request"))
            self.assertIn("credentials", answer.error["message"])

    def test_the_node_is_shown_to_admins_only(self):
        for path in ("/metrics", "/v1/status"):
            self.assertEqual([self.get(path).status, self.get(path, "user-key").status, self.get(path, "root-key").status],
                             [401, 403, 200], path)
        status = self.get("/v1/status", "root-key").json()
        for field in ("config", "providers", "breakers", "queues"):
            self.assertIn(field, status)
        metrics = self.get("/metrics", "root-key").body.decode()
        samples = {re.split(r"[{ ]", line)[0] for line in metrics.splitlines() if line and line[0] != "#"}
        described = {line.split(" ")[2] for line in metrics.splitlines() if line.startswith("# HELP ")}
        for name in samples:
            self.assertTrue({name, re.sub(r"_(bucket|sum|count)$", "", name)} & described, name)

    def test_health_and_ready_are_open(self):
        for path in ("/health", "/ready"):
            self.assertEqual(self.get(path).status, 200)

    def test_head_is_get_without_the_body(self):
        for path, key in (("/health", None), ("/v1/models", "user-key")):
            with RawClient(self.gateway.port) as client:
                lines = [f"HEAD {path} HTTP/1.1", "Host: a"] + ([f"Authorization: Bearer {key}"] if key else [])
                client.send("\r\n".join(lines) + "\r\n\r\n")
                answer = client.read_answer(without_body=True)
                self.assertEqual(answer.status, 200)
                self.assertEqual(int(answer.header("content-length")), len(self.get(path, key).body))
                client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertEqual(client.read_answer().status, 200, "the connection is in step")

    def test_browsers_of_allowed_origins(self):
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "authorization, content-type"}
        answer = self.get("/v1/chat/completions", headers=asked, method="OPTIONS")
        self.assertEqual((answer.status, answer.header("access-control-allow-origin")), (204, "https://app.example"))
        self.assertIn("POST", answer.header("access-control-allow-methods"))
        self.assertIn("authorization", answer.header("access-control-allow-headers"))
        answer = self.get("/health", headers={"Origin": "https://app.example"})
        self.assertEqual(answer.header("access-control-allow-origin"), "https://app.example")
        for origin in ("https://evil.example", "https://app.example.evil", "null"):
            answer = self.get("/v1/chat/completions", headers={**asked, "Origin": origin}, method="OPTIONS")
            self.assertIsNone(answer.header("access-control-allow-origin"), origin)

    def test_bodies_have_a_limit(self):
        answer = request(self.gateway.port, "POST", "/v1/chat/completions", chat_body("b-model", "x" * 70_000),
                         bearer("user-key"))
        self.assertEqual((answer.status, answer.header("connection")), (413, "close"))
        self.assertTrue(json.loads(answer.body)["error"]["code"])


class Selection(TestCase):
    """Who answers, as far as the caller's headers and the configuration's figures decide it."""

    @classmethod
    def prepare(cls):
        cls.upstream = cls.shared(Upstream())
        def one(name, **more):
            return provider(cls.upstream.base_url, name, **more)
        targets = [target("cheap", "c", input_usd=0.1, output_usd=0.2, quality=0.3),
                   target("best", "b", input_usd=5, output_usd=10, quality=0.9),
                   target("own", "o", input_usd=9, output_usd=9, quality=0.1)]
        cls.gateway = cls.shared(Gateway({
            "providers": {"cheap": one("k1"), "best": one("k2"), "own": one("k3", private=True)},
            "models": {"m": {"targets": targets, "strategy": "quality"},
                       "even": {"strategy": "weighted", "targets": [target("cheap", "c", weight=3), target("best", "b")]}}}))

    def who(self, model="m", **headers):
        answer = self.gateway.chat(model, headers={"x-millrace-" + k: v for k, v in headers.items()})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.header("x-millrace-provider")

    def test_the_models_strategy_and_the_callers(self):
        self.assertEqual(self.who(), "best")
        self.assertEqual(self.who(strategy="cost"), "cheap")
        self.assertEqual(self.who(strategy="quality"), "best")

    def test_private_requests_stay_with_private_providers(self):
        for strategy in ("cost", "quality", "speed", "weighted", "least_busy"):
            self.assertEqual(self.who(private="true", strategy=strategy), "own")

    def test_weights(self):
        chosen = [self.who("even") for _ in range(100)]
        # 75 of 100 are meant; these bounds are six standard deviations away.
        self.assertTrue(49 <= chosen.count("cheap") <= 99, chosen.count("cheap"))
        self.assertEqual(set(chosen), {"cheap", "best"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
