"""POST /classify_file: what documents are, with a model and with none; bad ones; the cache; the process that opens them."""

import base64
import json
import os
import struct
import tempfile
import threading
import unittest

from harness import (Gateway, RecordingUpstream, TestCase, at_once, bearer, provider, reply, request, target, wait_until)

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
FIELDS = ("classification", "confidence", "provider_used", "model", "upgraded", "cached", "processing_time")

# What the clean samples are.
CLEAN = {"statement.pdf": "bank_statement", "statement.txt": "bank_statement", "statement_scan.png": "bank_statement",
         "statement_turned.jpg": "bank_statement", "statement.tiff": "bank_statement", "invoice.pdf": "invoice",
         "invoice.txt": "invoice", "invoice_photo.jpg": "invoice", "invoice_exif.jpg": "invoice", "invoice.webp": "invoice",
         "license.pdf": "drivers_license", "license_card.jpg": "drivers_license", "contract.pdf": "contract"}

# What the bad ones are refused with.
BAD = {"empty.pdf": (400, "empty_file"), "cut.pdf": (400, "unreadable_document"), "no_pages.pdf": (400, "empty_document"),
       "encrypted.pdf": (400, "encrypted_document"), "cut.jpg": (400, "unreadable_document"),
       "huge_page.pdf": (413, "document_too_large"), "bomb.png": (413, "document_too_large"),
       "bomb.zip": (415, "unsupported_document"), "page.html": (415, "unsupported_document"),
       "noise.bin": (415, "unsupported_document")}


def sample(name):
    with open(os.path.join(DATA, name), "rb") as file:
        return file.read()


def form(fields, boundary="the-boundary"):
    """A form as a browser sends it, and its content type."""
    out = b""
    for name, value in fields:
        out += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode() + value +
                b"\r\n")
    return out + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def send(port, document, query="", headers=None, key=None):
    """The document as the body."""
    return request(port, "POST", "/classify_file" + query, document,
                   {"Content-Type": "application/octet-stream", **bearer(key), **(headers or {})})


def send_form(port, fields, headers=None):
    body, content_type = form(fields)
    return request(port, "POST", "/classify_file", body, {"Content-Type": content_type, **(headers or {})})


def completion(text):
    return reply(200, json.dumps({
        "id": "c", "object": "chat.completion", "created": 1, "model": "small",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 20, "total_tokens": 920}}))


def verdict(label, confidence=0.93):
    return completion(json.dumps({"classification": label, "confidence": confidence}))


def with_model(upstream, **documents):
    return {"providers": {"cloud": provider(upstream.base_url, "k1")},
            "models": {"sorter": {"targets": [target("cloud", "small", input_usd=1, output_usd=10)]}},
            "retry": {"attempts": 1}, "documents": {"model": "sorter", **documents}}


def jpeg_size(data):
    """Width and height by the frame's header."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    height, width = struct.unpack(">HH", data[at + 5:at + 9])
    return width, height


class WithoutProvider(TestCase):
    @classmethod
    def prepare(cls):
        cls.node = cls.shared(Gateway({}))

    def test_the_clean_ones_are_told_right(self):
        for name, label in CLEAN.items():
            with self.subTest(name):
                answer = send(self.node.port, sample(name), headers={"Cache-Control": "no-cache"})
                self.assertEqual(answer.status, 200, answer.body)
                said = answer.json()
                self.assertEqual(said["classification"], label)
                for field in FIELDS:
                    self.assertIn(field, said)
                self.assertEqual((said["provider_used"], said["upgraded"], said["cached"]), ("builtin", False, False))
                self.assertTrue(0 < said["confidence"] <= 1, said)
                self.assertGreater(said["processing_time"], 0)

    def test_a_form_and_a_body_are_the_same(self):
        document = sample("contract.pdf")
        first = send_form(self.node.port, [("industry", b"finance"), ("file", document)])
        second = send(self.node.port, document, "?industry=finance")
        self.assertEqual((first.status, second.status), (200, 200), first.body)
        self.assertEqual(first.json()["classification"], "contract")
        self.assertEqual(first.json()["pages"], 3)
        self.assertTrue(second.json()["cached"])
        self.assertEqual(second.header("x-millrace-cache"), "hit")

    def test_a_name_says_nothing(self):
        answer = send_form(self.node.port, [("file", sample("bomb.zip"))])
        self.assertEqual((answer.status, answer.error["code"]), (415, "unsupported_document"))
        self.assertIn("ZIP", answer.error["message"])

    def test_bad_ones_are_refused_by_what_they_are(self):
        for name, (status, code) in BAD.items():
            with self.subTest(name):
                answer = send_form(self.node.port, [("file", sample(name))])
                self.assertEqual((answer.status, answer.error["code"]), (status, code), answer.body)
                self.assertEqual(answer.error["type"], "invalid_request_error")

    def test_a_polyglot_is_what_it_begins_as(self):
        for name, kind in (("polyglot.pdf", "pdf"), ("polyglot.jpg", "jpeg")):
            said = send(self.node.port, sample(name)).json()
            self.assertEqual(said["document_type"], kind)
            self.assertIn(said["classification"], ("bank_statement", "invoice"))

    def test_many_pages_cost_what_a_few_do(self):
        said = send(self.node.port, sample("many_pages.pdf")).json()
        self.assertEqual((said["pages"], said["confidence"]), (1000, 0))

    def test_what_forms_may_not_be(self):
        boundary = "multipart/form-data; boundary=b"
        for body, content_type, code in (
                (b"", "", "empty_file"), (b"--b", boundary, "invalid_multipart"), (b"--b--", boundary, "missing_file"),
                (b"x", "multipart/form-data", "invalid_multipart")):
            answer = request(self.node.port, "POST", "/classify_file", body, {"Content-Type": content_type})
            self.assertEqual((answer.status, answer.error["code"]), (400, code), answer.body)
        answer = send_form(self.node.port, [("file", b"one"), ("file", b"two")])
        self.assertEqual((answer.status, answer.error["code"]), (400, "duplicate_field"))

    def test_an_unknown_industry_is_told_the_known_ones(self):
        answer = send(self.node.port, b"Invoice", "?industry=mining")
        self.assertEqual((answer.status, answer.error["code"], answer.error["param"]),
                         (400, "unknown_industry", "industry"))
        self.assertIn("finance", answer.error["message"])

    def test_other_methods(self):
        self.assertEqual(request(self.node.port, "GET", "/classify_file").status, 405)

    def test_two_hundred_bad_ones_leave_nothing_behind(self):
        documents = [sample(name) for name in BAD]
        proc = f"/proc/{self.node.popen.pid}"

        def files():
            return len(os.listdir(f"{proc}/fd"))

        def memory():
            with open(f"{proc}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * 4

        def send_them(times):
            for i in range(times):
                self.assertGreaterEqual(send(self.node.port, documents[i % len(documents)]).status, 400)

        send_them(40)
        files_before, memory_before = files(), memory()
        send_them(200)
        wait_until(lambda: files() <= files_before, "files are closed")
        self.assertLess(memory() - memory_before, 4096, "KiB more than before")
        for task in os.listdir(f"{proc}/task"):
            with open(f"{proc}/task/{task}/children", encoding="ascii") as file:
                self.assertEqual(file.read(), "", "no process is left")
        self.assertEqual(send(self.node.port, b"Invoice number 7. Amount due: 5").status, 200)


class Bounds(TestCase):
    def test_what_takes_too_long_is_stopped(self):
        node = self.own(Gateway({"documents": {"time_limit": "300ms", "workers": 1}}))
        answer = send(node.port, sample("slow.pdf"))
        self.assertEqual((answer.status, answer.error["code"]), (413, "document_too_complex"), answer.body)
        self.assertEqual(node.metric("millrace_document_workers", state="running"), 0)

    def test_a_file_above_the_bound(self):
        node = self.own(Gateway({"documents": {"max_file": "1KiB", "max_pixels": 10_000}}))
        answer = send(node.port, b"x" * 1025)
        self.assertEqual((answer.status, answer.error["code"]), (413, "file_too_large"))
        self.assertEqual(send(node.port, b"x" * 1024).status, 200)

    def test_pixels_above_the_bound(self):
        node = self.own(Gateway({"documents": {"max_pixels": 1_000_000}}))
        answer = send(node.port, sample("statement_scan.png"))
        self.assertEqual((answer.status, answer.error["code"]), (413, "document_too_large"))
        self.assertIn("1261 x 1769", answer.error["message"])

    def test_no_more_wait_than_may(self):
        node = self.own(Gateway({"documents": {"workers": 1, "max_waiting": 0, "time_limit": "3s"}}))
        documents = [sample("slow.pdf") + b"%%%d" % i for i in range(2)]
        first = threading.Thread(target=send, args=(node.port, documents[0]))
        first.start()
        wait_until(lambda: node.metric("millrace_document_workers", state="running") == 1, "the first is being opened")
        second = send(node.port, documents[1])
        self.assertEqual((second.status, second.error["code"]), (503, "documents_busy"))
        self.assertEqual(second.header("retry-after"), "1")
        self.assertEqual(send(node.port, b"Plain text needs no place. Invoice.").status, 200)
        first.join()


class WithModel(TestCase):
    def node_for(self, answer, **documents):
        self.upstream = self.own(RecordingUpstream(answer))
        return self.own(Gateway(with_model(self.upstream, **documents)))

    def test_pages_go_to_the_model_as_small_images(self):
        node = self.node_for(lambda r, c: verdict("contract"), edge=512, max_pages=2)
        answer = send(node.port, sample("contract.pdf"))
        said = answer.json()
        self.assertEqual(answer.status, 200, said)
        self.assertEqual([said[f] for f in FIELDS[:6]], ["contract", 0.93, "cloud", "small", False, False])
        self.assertEqual((said["pages"], said["pages_seen"], said["attempts"]), (3, 2, 1))
        self.assertEqual((said["tokens"]["input"], said["tokens"]["output"]), (900, 20))
        self.assertAlmostEqual(said["cost_usd"], 0.0011)
        self.assertEqual(answer.header("x-millrace-provider"), "cloud")
        self.assertEqual(answer.header("x-millrace-cache"), "miss")
        body = self.upstream.last().json()
        self.assertEqual((body["max_tokens"], body["temperature"], body["model"]), (300, 0.05, "small"))
        self.assertEqual(body["response_format"]["type"], "json_schema")
        images = [p["image_url"]["url"] for p in body["messages"][1]["content"]]
        self.assertEqual(len(images), 2)
        for url in images:
            self.assertTrue(url.startswith("data:image/jpeg;base64,"))
            self.assertEqual(max(jpeg_size(base64.b64decode(url.split(",")[1]))), 512)

    def test_an_image_is_upright_and_costs_fewer_tokens(self):
        node = self.node_for(lambda r, c: verdict("invoice"))
        said = send(node.port, sample("invoice_exif.jpg")).json()
        url = self.upstream.last().json()["messages"][1]["content"][0]["image_url"]["url"]
        width, height = jpeg_size(base64.b64decode(url.split(",")[1]))
        self.assertEqual(height, 1024)
        self.assertLess(width, height, "the camera was held sideways")
        self.assertEqual((said["tokens"]["images_before"], said["tokens"]["images_after"]), (1105, 765))
        self.assertAlmostEqual(said["tokens"]["images_saved"], 0.3077)

    def test_text_goes_as_text(self):
        node = self.node_for(lambda r, c: verdict("invoice"))
        self.assertEqual(send(node.port, sample("invoice.txt")).json()["classification"], "invoice")
        content = self.upstream.last().json()["messages"][1]["content"]
        self.assertEqual([p["type"] for p in content], ["text"])
        self.assertIn("INV-2026-0117", content[0]["text"])

    def test_a_chatty_answer_will_do(self):
        node = self.node_for(lambda r, c: completion('Here you go:\n```json\n{"label": "Tax Form", "confidence": "88%"}\n```'))
        said = send(node.port, b"Form W-2").json()
        self.assertEqual((said["classification"], said["confidence"], said["attempts"]), ("tax_form", 0.88, 1))

    def test_an_unusable_answer_is_asked_for_once_more(self):
        answers = iter(["I would rather not say.", '{"classification": "invoice", "confidence": 1}'])
        node = self.node_for(lambda r, c: completion(next(answers)))
        said = send(node.port, b"Invoice").json()
        self.assertEqual((said["classification"], said["provider_used"], said["attempts"]), ("invoice", "cloud", 2))
        self.assertEqual(said["tokens"]["input"], 1800)

    def test_two_unusable_ones_leave_it_to_the_words(self):
        node = self.node_for(lambda r, c: completion('{"classification": "a poem"}'))
        said = send(node.port, sample("invoice_photo.jpg")).json()
        self.assertEqual((said["classification"], said["provider_used"], said["attempts"]), ("invoice", "builtin", 2))
        again = send(node.port, sample("invoice_photo.jpg")).json()
        self.assertFalse(again["cached"], "a last resort is not kept")
        self.assertEqual(self.upstream.count(), 4)

    def test_a_failing_provider_leaves_it_to_the_words(self):
        node = self.node_for(lambda r, c: reply(500, '{"error":{"message":"down"}}'))
        answer = send(node.port, sample("statement.pdf"))
        said = answer.json()
        self.assertEqual((answer.status, said["classification"], said["provider_used"]), (200, "bank_statement", "builtin"))
        self.assertEqual(answer.header("x-millrace-fallback"), "true")

    def test_the_words_are_told_to_be_a_degraded_answer(self):
        node = self.node_for(lambda r, c: reply(500, '{"error":{"message":"down"}}'))
        answer = send(node.port, sample("statement.pdf"))
        self.assertEqual(answer.header("x-millrace-degraded"), "local")
        self.assertEqual(node.metric("millrace_degraded_total", model="sorter", step="local"), 1)

    def test_a_fallback_is_a_model(self):
        down = self.own(RecordingUpstream(lambda r, c: reply(500, '{"error":{"message":"down"}}')))
        self.upstream = self.own(RecordingUpstream(lambda r, c: verdict("bank_statement")))
        config = with_model(down)
        config["providers"]["second"] = provider(self.upstream.base_url, "k2")
        config["models"]["spare"] = {"targets": [target("second", "other")]}
        sorter = config["models"]["sorter"]
        for change in ({"fallbacks": ["spare"]}, {"targets": [*sorter["targets"], target("second", "other", input_usd=2, output_usd=20)]}):
            with self.subTest(change):
                config["models"]["sorter"] = {**sorter, **change}
                node = self.own(Gateway(config))
                answer = send(node.port, sample("statement.pdf"))
                said = answer.json()
                self.assertEqual((said["classification"], said["provider_used"]), ("bank_statement", "second"))
                self.assertEqual((answer.header("x-millrace-degraded"), said["attempts"]), ("fallback", 2))
                self.assertTrue(send(node.port, sample("statement.pdf")).json()["cached"])

    def test_a_spent_budget_is_told(self):
        self.upstream = self.own(RecordingUpstream(lambda r, c: verdict("invoice")))
        config = with_model(self.upstream)
        config["auth"] = {"keys": [{"name": n, "secret": n, "tenant": "t", **more} for n, more in (
            ("poor", {"budget_usd": {"day": 0.000001}}), ("rich", {}))]}
        node = self.own(Gateway(config))
        ask = lambda who: send(node.port, b"Total: 7", headers={"Authorization": f"Bearer {who}"})
        refused = ask("poor")
        self.assertEqual((refused.status, refused.json()["error"]["code"]), (402, "budget_exceeded"))
        self.assertEqual(self.upstream.count(), 0)
        self.assertEqual(ask("rich").json()["provider_used"], "cloud")

    def test_a_stand_in_is_no_model(self):
        self.upstream = self.own(RecordingUpstream(lambda r, c: reply(500, '{"error":{"message":"down"}}')))
        config = with_model(self.upstream)
        config["models"]["sorter"]["degrade"] = {"builtin": True}
        node = self.own(Gateway(config))
        for _ in range(2):
            said = send(node.port, sample("invoice_photo.jpg")).json()
            self.assertEqual((said["classification"], said["provider_used"], said["cached"]), ("invoice", "builtin", False))

    def test_an_unsure_model_is_upgraded(self):
        self.upstream = self.own(RecordingUpstream(
            lambda r, c: verdict("receipt", 0.95) if r.json()["model"] == "large" else verdict("invoice", 0.5)))
        config = with_model(self.upstream)
        config["models"]["better"] = {"targets": [target("cloud", "large")]}
        config["models"]["sorter"]["upgrade"] = {"model": "better", "threshold": 0.8}
        node = self.own(Gateway(config))
        answer = send(node.port, b"Total: 7")
        said = answer.json()
        self.assertEqual([said[f] for f in FIELDS[:5]], ["receipt", 0.95, "cloud", "large", True])
        self.assertEqual((said["attempts"], answer.header("x-millrace-upgraded")), (2, "true"))
        self.assertTrue(send(node.port, b"Total: 7").json()["upgraded"], "also when it is known")

    def test_the_same_document_is_asked_about_once(self):
        node = self.node_for(lambda r, c: verdict("bank_statement"))
        document = sample("statement.pdf")
        first, second = send(node.port, document), send_form(node.port, [("file", document)])
        self.assertEqual((first.header("x-millrace-cache"), second.header("x-millrace-cache")), ("miss", "hit"))
        self.assertEqual((first.json()["cached"], second.json()["cached"]), (False, True))
        self.assertEqual((second.json()["provider_used"], second.json()["cost_usd"]), ("cloud", 0))
        self.assertIsNotNone(second.header("age"))
        self.assertEqual(self.upstream.count(), 1)
        fresh = send(node.port, document, headers={"Cache-Control": "no-cache"})
        self.assertEqual((fresh.json()["cached"], self.upstream.count()), (False, 2))
        self.assertEqual(send(node.port, document + b" ").json()["cached"], False)
        unknown = send(node.port, b"new", headers={"Cache-Control": "only-if-cached"})
        self.assertEqual((unknown.status, unknown.error["code"]), (504, "not_cached"))

    def test_identical_documents_in_flight_share_one_call(self):
        hold = threading.Event()

        def answer(_, __):
            hold.wait(30)
            return verdict("invoice")
        node = self.node_for(answer)
        document = sample("invoice.pdf")

        def release():
            wait_until(lambda: self.upstream.count() == 1, "the call is under way")
            wait_until(lambda: node.status()["connections"]["serving"] == 9, "all are in, and this question")
            hold.set()
        answers = at_once([lambda: send(node.port, document)] * 8 + [release])[:8]
        self.assertEqual({a.json()["classification"] for a in answers}, {"invoice"})
        self.assertEqual(self.upstream.count(), 1)
        words = sorted(a.header("x-millrace-cache") for a in answers)
        self.assertEqual(words.count("miss"), 1)
        self.assertEqual(set(words) - {"miss"} - {"coalesced", "hit"}, set())

    def test_another_tenant_asks_for_itself(self):
        upstream = self.own(RecordingUpstream(lambda r, c: verdict("invoice")))
        node = self.own(Gateway({**with_model(upstream), "auth": {"keys": [
            {"name": "a", "secret": "secret-a"}, {"name": "b", "secret": "secret-b", "rpm": 1}]}}))
        self.assertEqual(send(node.port, b"Invoice").status, 401)
        self.assertFalse(send(node.port, b"Invoice", key="secret-a").json()["cached"])
        mine = send(node.port, b"Invoice", key="secret-b")
        self.assertFalse(mine.json()["cached"])
        self.assertEqual(mine.header("x-ratelimit-limit-requests"), "1")
        over = send(node.port, b"Invoice", key="secret-b")
        self.assertEqual((over.status, over.error["code"]), (429, "rate_limit_exceeded"))

    def test_what_is_known_outlives_a_restart(self):
        upstream = self.own(RecordingUpstream(lambda r, c: verdict("invoice")))
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as directory:
            config = {**with_model(upstream), "node": {"data_dir": directory}}
            node = self.own(Gateway(config))
            self.assertFalse(send(node.port, b"Invoice 1").json()["cached"])
            node.stop()
            again = self.own(Gateway(config))
            self.assertTrue(send(again.port, b"Invoice 1").json()["cached"])
            again.stop()

    def test_a_client_that_leaves_ends_the_call(self):
        node = self.node_for(lambda r, c: c.recv(1) and None)
        with self.assertRaises(OSError):
            request(node.port, "POST", "/classify_file", b"Invoice", {"Content-Type": "text/plain"}, timeout=0.5)
        wait_until(lambda: node.metric("millrace_client_gone_total", route="/classify_file") == 1, "it is noticed")

    def test_labels_of_an_industry(self):
        node = self.node_for(lambda r, c: verdict("x-ray"), industries={"health": ["x-ray", "letter"]})
        said = send(node.port, b"A picture of a wheel", "?industry=health").json()
        self.assertEqual((said["classification"], said["industry"]), ("x-ray", "health"))
        self.assertIn("x-ray, letter", self.upstream.last().json()["messages"][0]["content"])
        known = send(node.port, b"A picture", "?industry=mining").error["message"]
        self.assertIn("finance, health", known)

    def test_metrics(self):
        node = self.node_for(lambda r, c: verdict("invoice"))
        send(node.port, sample("invoice_photo.jpg"))
        send(node.port, sample("invoice_photo.jpg"))
        send(node.port, sample("bomb.zip"))
        self.assertEqual(node.metric("millrace_documents_total", type="jpeg", outcome="model"), 1)
        self.assertEqual(node.metric("millrace_documents_total", type="jpeg", outcome="hit"), 1)
        self.assertEqual(node.metric("millrace_documents_total", outcome="unsupported_document"), 1)
        self.assertEqual(node.metric("millrace_document_pages_total"), 1)
        self.assertEqual(node.metric("millrace_document_image_tokens_total", when="before"), 1105)
        self.assertEqual(node.metric("millrace_document_render_seconds_count", type="jpeg"), 1)
        self.assertEqual(node.metric("millrace_requests_total", route="/classify_file", status="200"), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
