"""Anthropic's SDK for Python, unmodified, at providers of every dialect."""

import unittest

from dialects import MODELS, PNG, SCHEMA, TEXT, Dialects

import anthropic

QUESTION = [{"role": "user", "content": TEXT}]
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
            self.assertIn(TEXT, self.ask(model, messages=messages).content[0].text)

    def test_thinking_comes_with_a_signature_that_may_be_sent_back(self):
        thinking = {"type": "enabled", "budget_tokens": 1024}
        answer = self.ask("claude", max_tokens=2000, thinking=thinking)
        self.assertEqual(answer.content[0].type, "thinking")
        self.assertTrue(answer.content[0].signature)
        messages = [*QUESTION, {"role": "assistant", "content": answer.content}, {"role": "user", "content": "And?"}]
        self.assertEqual(self.ask("claude", max_tokens=2000, thinking=thinking, messages=messages).stop_reason, "end_turn")

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
        self.assertGreater(int(caught.exception.response.headers["retry-after"]), 0)


if __name__ == "__main__":
    unittest.main()
