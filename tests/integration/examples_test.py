"""The configurations that readers are given are good as they stand, once the variables they name are set."""

import json
import os
import re
import subprocess
import tempfile
import unittest

from harness import MILLRACE, PATIENCE

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


class Examples(unittest.TestCase):
    def check(self, text):
        """What `check` says of `text` with each of its variables set to a word of its own."""
        names = set(re.findall(r'"\$\{env:(\w+)\}"', text))
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as directory:
            file = os.path.join(directory, "my.yaml")
            with open(file, "w", encoding="utf-8") as out:
                out.write(text)
            return subprocess.run([MILLRACE, "check", file], capture_output=True, text=True, timeout=PATIENCE, check=False,
                                  env={**os.environ, **{n: f"word-{n}" for n in names}})

    def test_the_example_with_every_key(self):
        done = self.check(read("examples/millrace.yaml"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_no_key_is_missing_in_the_example(self):
        odd = {"zzzzzzzzzzzz": 1}
        provider = {"base_url": "http://h/v1", "keys": [{"id": "k", "secret": "s"}]}
        target = {"provider": "p", "model": "x"}
        sections = [odd, *({name: odd} for name in ("node", "http", "log", "auth", "breaker", "retry", "limits", "queue",
                                                    "complexity", "cache", "documents", "hedge", "usage")),
                    {"auth": {"keys": [{"name": "a", "secret": "s", "budget_usd": odd}]}},
                    {"auth": {"keys": [{"name": "a", "secret": "s"}]}, "tenants": {"a": odd}}, {"model_data": {"m": odd}},
                    {"auth": {"keys": [odd]}}, {"cache": {"exact": odd}}, {"queue": {"weights": odd}},
                    {"providers": {"p": odd}}, *({"providers": {"p": {**provider, **part}}} for part in (
                        {"timeouts": odd}, {"breaker": odd}, {"keys": [odd]})),
                    *({"providers": {"p": provider}, "models": {"m": part}} for part in (
                        odd, {"targets": [odd]}, {"targets": [target], "cache": odd}, {"groups": [odd]},
                        {"targets": [target], "choose": [odd]}, {"targets": [target], "degrade": odd},
                        {"targets": [target], "upgrade": odd}, {"targets": [target], "hedge": odd}))]
        example = read("examples/millrace.yaml")
        for section in sections:
            said = self.check(json.dumps(section)).stderr
            known = re.search(r"zzzzzzzzzzzz: this version knows no such key; known here: (.*)", said)
            self.assertTrue(known, f"{section}: {said}")
            for key in known[1].split(", "):
                self.assertRegex(example, rf"(?m)^[^#\n]*\b{key}:", f"{section} knows {key}")

    def test_those_of_the_readme(self):
        found = re.findall(r"(?s)```yaml\n(.*?)```", read("README.md"))
        self.assertTrue(found)
        for text in found:
            done = self.check(text)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for name in re.findall(r"\$\{env:(\w+)\}", text):
                self.assertIn(f"`{name}`", read("README.md"), "the text says what to set")


if __name__ == "__main__":
    unittest.main(verbosity=2)
