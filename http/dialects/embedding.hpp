#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ports.hpp"
#include "http/dialects/chat.hpp"

/// Embeddings as OpenAI (/v1/embeddings) and Gemini (embedContent, batchEmbedContents) both mean them. Pure
/// functions, safe from any thread. Literals point into the body that was read, which must outlive the value,
/// or into its `texts`. Decoders replace `out`; encoders append to it.
///
/// | OpenAI | Gemini |
/// |---|---|
/// | `input`: a text or texts | `content` or `requests[].content`, its texts joined by line ends |
/// | `dimensions` | `outputDimensionality`, the same in all requests |
/// | `encoding_format` | - (the answer to an OpenAI client is written in it) |
/// | `user` (dropped) | - |
/// | - | `taskType`, `title` (dropped) |
/// | 400: token arrays as `input`, whatever is not known | 400: media, different `outputDimensionality`,
/// whatever is not known |
namespace millrace::http {

struct embedding_request {
  std::vector<json_literal> inputs;  ///< strings
  std::int64_t dimensions = -1;      ///< -1: not said
  bool base64 = false;               ///< how the answer shall be written
  json_literal task_type;            ///< Gemini's, of the first input; empty: none
  json_literal title;                ///< the same
  std::string_view end_user;

  std::deque<std::string> texts;
  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

struct embedding_answer {
  std::vector<json_literal> vectors;  ///< arrays of numbers, in the order of the inputs
  engine::usage used;

  std::deque<std::string> texts;
  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

bool decode_openai_embedding_request(std::string_view body, embedding_request& out, engine::api_error& error);
/// Asks for numbers, not base64.
void encode_openai_embedding_request(const embedding_request& request, std::string_view model,
                                     std::string& out, std::vector<std::string>& dropped);
/// Takes numbers and base64. False when it is no such answer.
bool decode_openai_embeddings(std::string_view body, embedding_answer& out);
/// base64: of little-endian 32-bit floats.
void encode_openai_embeddings(const embedding_answer& answer, bool base64, std::string_view model,
                              std::string& out);

/// `route` is `embed` or `batch_embed`.
bool decode_gemini_embedding_request(engine::route_kind route, std::string_view body, embedding_request& out,
                                     engine::api_error& error);
/// The body of batchEmbedContents.
void encode_gemini_batch(const embedding_request& request, std::string_view model, std::string& out,
                         std::vector<std::string>& dropped);
/// Takes answers of both routes. False when it is no such answer.
bool decode_gemini_embeddings(std::string_view body, embedding_answer& out);
void encode_gemini_embeddings(engine::route_kind route, const embedding_answer& answer, std::string& out);

/// Whether `literal` is an array of numbers.
bool is_number_array(json_literal literal);

}  // namespace millrace::http
