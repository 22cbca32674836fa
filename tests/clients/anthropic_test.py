"""Anthropic's SDK for Python, unmodified, at providers of every dialect."""

import itertools
import unittest

from dialects import IMAGE_TOKENS, MODELS, PNG, SCHEMA, TEXT, Dialects

import anthropic

QUESTION = [{"role": "user", "content": TEXT}]
THINKING = {"type": "enabled", "budget_tokens": 1024}
TOOL = {"name": "weather", "description": "tells it", "input_schema": SCHEMA}


class AnthropicSdk(Dialects):
    def sdk(self, key="sdk-key"):
        return self.own(anthropic.Anthropic(base_url=self.url, api_key=key, max_retries=0))

    def ask(self, model, sdk=None, **fields):
        return (sdk or self.sdk()).messages.create(**{"model": model, "max_tokens": 100, "messages": QUESTION, **fields})

    def test_a_whole_answer(self):
        for model in MODELS:
            answer = self.ask(model, system="Be brief.")
            self.assertIn(TEXT, answer.content[0].text)
            self.assertEqual([answer.model, answer.stop_reason], [model, "end_turn"])
            self.assertGreater(answer.usage.output_tokens, 0)

    def test_a_stream(self):
        for model in MODELS:
            with self.sdk().messages.stream(model=model, max_tokens=100, messages=QUESTION) as stream:
                text = "".join(stream.text_stream)
                self.assertIn(TEXT, text)
                final = stream.get_final_message()
            self.assertEqual([final.content[0].text, final.stop_reason], [text, "end_turn"])
            self.assertGreater(final.usage.output_tokens, 0)

    def test_a_tool_is_called_and_its_result_answered(self):
        for model in MODELS:
            answer = self.ask(model, tools=[TOOL], tool_choice={"type": "any"})
            self.assertEqual(answer.stop_reason, "tool_use")
            call = next(b for b in answer.content if b.type == "tool_use")
            self.assertEqual(call.input["days"], 42)
            result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
            messages = [*QUESTION, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
            self.assertEqual(self.ask(model, messages=messages, tools=[TOOL]).stop_reason, "end_turn")

    def test_an_image(self):
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
        for model in MODELS:
            messages = [{"role": "user", "content": [image, {"type": "text", "text": TEXT}]}]
            answer = self.ask(model, messages=messages)
            self.assertIn(TEXT, answer.content[0].text)
            self.assertGreater(answer.usage.input_tokens, IMAGE_TOKENS)

    def think(self, model, streamed=False, **fields):
        fields = {"model": model, "max_tokens": 4000, "messages": QUESTION, "thinking": THINKING, **fields}
        if not streamed:
            return self.sdk().messages.create(**fields)
        with self.sdk().messages.stream(**fields) as stream:
            return stream.get_final_message()

    def test_thinking_comes_with_a_signature_that_may_be_sent_back(self):
        for model in ("claude", "gem"):
            for streamed in (False, True):
                with self.subTest(model=model, streamed=streamed):
                    answer = self.think(model, streamed)
                    self.assertEqual([b.type for b in answer.content[:2]], ["thinking", "text"])
                    self.assertTrue(answer.content[0].thinking)
                    # Gemini signs at the end of a stream, which becomes a block of its own.
                    self.assertTrue(answer.content[0].signature or answer.content[-1].data)
                    messages = [*QUESTION, {"role": "assistant", "content": answer.content}, {"role": "user", "content": "And?"}]
                    self.assertEqual(self.think(model, streamed, messages=messages).stop_reason, "end_turn")

    def test_thinking_in_a_turn_with_a_tool(self):
        asked = [{"role": "user", "content": "Please use the tool."}]
        for model in MODELS:
            for streamed in (False, True):
                with self.subTest(model=model, streamed=streamed):
                    answer = self.think(model, streamed, messages=asked, tools=[TOOL])
                    call = answer.content[-1]
                    self.assertEqual([answer.stop_reason, call.type], ["tool_use", "tool_use"])
                    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
                    messages = [*asked, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
                    last = self.think(model, streamed, messages=messages, tools=[TOOL])
                    self.assertEqual(last.stop_reason, "end_turn")

    def test_an_altered_signature_is_refused(self):
        for model, changed in (("claude", "c2lnbmVk"), ("gem", "gemini#c2lnbmVk")):
            thought = {**self.think(model).content[0].model_dump(exclude_none=True), "signature": changed}
            text = {"type": "text", "text": "so"}
            messages = [*QUESTION, {"role": "assistant", "content": [thought, text]}, {"role": "user", "content": "And?"}]
            with self.subTest(model=model), self.assertRaises(anthropic.BadRequestError):
                self.think(model, messages=messages)

    def test_a_conversation_goes_on_at_another_provider(self):
        asked = [{"role": "user", "content": "Please use the tool."}]
        for first, second in itertools.permutations(MODELS, 2):
            with self.subTest(first=first, second=second):
                answer = self.think(first, messages=asked, tools=[TOOL])
                result = {"type": "tool_result", "tool_use_id": answer.content[-1].id, "content": "rain"}
                messages = [*asked, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
                raw = self.sdk().messages.with_raw_response.create(
                    model=second, max_tokens=4000, messages=messages, thinking=THINKING, tools=[TOOL])
                self.assertEqual(raw.parse().stop_reason, "end_turn")
                if answer.content[0].type.endswith("thinking"):
                    self.assertIn("thinking", raw.headers["x-millrace-dropped"])

    def test_errors_are_the_classes_of_the_sdk(self):
        for model, error in (("nobody", anthropic.NotFoundError), ("refused", anthropic.BadRequestError),
                             ("broken", anthropic.InternalServerError)):
            with self.assertRaises(error):
                self.ask(model)
        with self.assertRaises(anthropic.AuthenticationError):
            self.ask("gpt", self.sdk("wrong"))
        small = self.sdk("small-key")
        self.ask("claude", small)
        with self.assertRaises(anthropic.RateLimitError) as caught:
            self.ask("claude", small, max_tokens=99)
        refusal = caught.exception
        self.assertGreater(int(refusal.response.headers["retry-after"]), 0)
        self.assertEqual(refusal.body["request_id"], refusal.response.headers["request-id"])


if __name__ == "__main__":
    unittest.main()
