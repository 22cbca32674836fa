#pragma once

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// Conversations in Gemini's generateContent and streamGenerateContent, v1beta. Stateless; safe from any
/// thread.
///
/// Requests of clients, to other providers
/// | field | becomes |
/// |---|---|
/// | `systemInstruction` | a system message (text only) |
/// | `contents` | messages; a row of contents of the model is one message, its thoughts joined |
/// | `text`, `inlineData`, `fileData` | text, image, document (text/* unpacked), audio; urls are passed on |
/// | `functionCall`, `functionResponse` | calls and results; without ids `call_<n>`, matched by name in
/// order; `response` with only `output`, `result` or `error` is that value, otherwise its JSON | | `thought`,
/// `thoughtSignature` | thinking; see gemini_signature.hpp | | `tools.functionDeclarations` | tools;
/// `parameters` as plain JSON schema | | `toolConfig.functionCallingConfig` | AUTO and VALIDATED automatic,
/// ANY required, NONE none; with `allowedFunctionNames` the tool of that name, or only those tools | |
/// `generationConfig` | max tokens, temperature, top p, top k, penalties, seed, stop, JSON and schemas,
/// candidateCount, logprobs, thinkingConfig (budget 0 off, level as effort) | Dropped: `safetySettings`,
/// `labels`, `serviceTier`, `store`, `mediaResolution`, `partMetadata`, `enableEnhancedCivicAnswers`,
/// `tools.functionDeclarations.response`, `...responseJsonSchema`, `propertyOrdering` of schemas. Without
/// meaning elsewhere and not told: signatures of the user's parts. 400 `unsupported_field`: `cachedContent`,
/// every other tool (`googleSearch`, `codeExecution`, ...), `executableCode` and its like, uploaded files and
/// gs:// addresses, video, audio by address, a `responseMimeType` but text/plain and application/json,
/// `responseModalities` but TEXT, `retrievalConfig`, whatever is not known.
///
/// Requests of other clients, to Gemini
/// | field (OpenAI's name) | becomes |
/// |---|---|
/// | system messages | `systemInstruction`, wherever they stood; with nothing else, what the user says |
/// | messages | `contents`; rows of one role are one, results of tools are one of their own and come first |
/// | tool results | `functionResponse` with `output` or `error`; media inside it for Gemini 3, else behind it
/// | | thoughts | `thought` parts; a signature of Gemini's at the part that follows; calls without one get
/// Google's word for that (Gemini 3) | | tools, `tool_choice` | `parametersJsonSchema`,
/// `functionCallingConfig` | | `response_format` | `responseMimeType`, `responseJsonSchema` (its name has no
/// place) | | `reasoning_effort`, thinking budgets | `thinkingConfig`, see gemini_thinking.hpp | | sampling,
/// `stop`, `seed`, `max_completion_tokens` | the same in `generationConfig` | Dropped: `parallel_tool_calls`
/// (when false), `user`, `strict`, `cache_control`, `detail`, `filename`, `seed` (beyond 32 bits), `thinking`
/// (of other providers), `reasoning_effort` (where said in part only). 400: `n` above 1, `logprobs`,
/// `top_logprobs`, `stop` with more than 5 sequences, results of unknown calls.
///
/// Answers: STOP is stop (or tool_calls), MAX_TOKENS length, every other reason and a blocked prompt
/// content_filter; the other way round tool_calls is STOP, content_filter SAFETY, and a call whose arguments
/// are no object MALFORMED_FUNCTION_CALL. Calls without id get `call_<responseId>_<n>`. `modelVersion` is the
/// client's name of the model. A stream's calls, usage and reason come in its last event.
const chat_format& gemini_chat();

}  // namespace millrace::http
