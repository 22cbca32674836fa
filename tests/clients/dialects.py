"""Providers of all dialects behind one node, by the names of the models they serve."""

from world import Gateway, Simulator, TestCase, provider, target

TEXT = "What is a mill race?"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
          "required": ["city", "days"]}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE_TOKENS = 500  # the simulator counts more for an image, and some ten for TEXT
MODELS = ["gpt", "claude", "gem"]
NATIVE = "native"  # at a provider that has the Responses API


class Dialects(TestCase):
    @classmethod
    def prepare(cls):
        root = f"http://127.0.0.1:{cls.shared(Simulator()).port}"
        models = {"gpt": ("openai", "gpt-4o-mini"), "claude": ("anthropic", "claude-sonnet-4-5"),
                  "gem": ("gemini", "gemini-2.5-flash"), "gem3": ("gemini", "gemini-3-pro"),
                  "native": ("native", "gpt-5"),
                  "native-broken": ("native", "fault-500"), "native-error": ("native", "fault-error-event=8"),
                  "native-cut": ("native", "fault-cut=8"), "refused": ("openai", "fault-400"),
                  "broken": ("openai", "fault-500"), "embed": ("openai", "text-embedding-3-small")}
        cls.gateway = cls.shared(Gateway({
            "auth": {"keys": [{"name": "sdk", "secret": "sdk-key"}, {"name": "small", "secret": "small-key", "rpm": 1}]},
            "providers": {
                **{kind: {**provider(root + path, f"{kind}-1"), "kind": kind}
                   for kind, path in (("openai", "/v1"), ("anthropic", ""), ("gemini", "/v1beta"))},
                "native": provider(root + "/v1", "native-1", responses=True)},
            "models": {name: {"targets": [target(*where)]} for name, where in models.items()},
            "breaker": {"consecutive_failures": 10000, "min_calls": 1000000},
            "retry": {"attempts": 1}}))
        cls.url = f"http://127.0.0.1:{cls.gateway.port}"
