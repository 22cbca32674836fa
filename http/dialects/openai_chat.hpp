#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"

/// Conversations in the dialect of OpenAI's /v1/chat/completions, for translation from and to others. Pure.
///
/// Of a client's request these go on to providers of other dialects: model, messages (system and developer,
/// user, assistant, tool; text, image_url, input_audio, file with file_data, refusal, tool_calls), tools of
/// type function, tool_choice, parallel_tool_calls, response_format, max_tokens, max_completion_tokens,
/// temperature, top_p, top_k, presence_penalty, frequency_penalty, seed, stop, reasoning_effort, user,
/// safety_identifier, stream, stream_options. Dropped and told: metadata, store, service_tier,
/// prompt_cache_key, prompt_cache_retention, prediction, verbosity, name of a message. Everything else
/// is a 400: logit_bias, functions, audio output, web_search_options, hosted files, custom tools, ...
///
/// Towards providers of this dialect: images in tool results follow in a user message of their own; dropped
/// and told are thinking of earlier turns, thinking that was switched off, cache_control, top_k, is_error of
/// tool results; a 400 are documents by URL. A thinking budget becomes reasoning_effort: below 4096 tokens
/// low, below 16384 medium, else high.
namespace millrace::http {

const chat_format& openai_chat();

bool decode_openai_request(std::string_view body, chat_request& out, engine::api_error& error);
bool encode_openai_chat(const chat_request& request, const encode_options& options, std::string& out,
                        std::vector<std::string>& dropped, engine::api_error& error);
bool decode_openai_answer(std::string_view body, chat_answer& out);
void encode_openai_answer(const chat_answer& answer, const encode_options& options, std::string& out);
std::unique_ptr<delta_source> decode_openai_stream();
std::unique_ptr<delta_sink> encode_openai_stream(const encode_options& options, bool include_usage);

/// What content says that is a list of parts: `say` gets texts and thoughts, as literals. Mistral's models
/// that think have it so, and some servers for all.
void each_openai_part(json_literal content, const std::function<void(part_kind, json_literal)>& say);

/// `calls`: the answer calls tools. Some say `stop` even so, OpenAI itself where the request demands one
/// function.
finish_reason read_openai_finish(std::string_view word, bool calls);
std::string_view openai_finish_word(finish_reason finish);
/// Appends the object of `usage`.
void write_openai_usage(const engine::usage& used, std::string& out);

/// `data:image/png;base64,AAAA` in its parts; false for every other URL.
bool split_data_url(std::string_view url, std::string_view& media_type, std::string_view& data);

}  // namespace millrace::http
