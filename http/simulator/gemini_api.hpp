#pragma once

#include <cstdint>
#include <string>

#include "engine/ports.hpp"
#include "http/simulator/answers.hpp"
#include "http/simulator/event_stream.hpp"
#include "http/simulator/question.hpp"
#include "http/simulator/request_reader.hpp"

/// The parts of `gemini_api`; see http/simulator/dialect.hpp for the meaning.
namespace millrace::http::simulation {

bool read_gemini_question(engine::route_kind route, const http_request& request, question& q,
                          engine::api_error& error);

/// A whole GenerateContentResponse.
void append_gemini_answer(std::string& out, const identity& who, const reply_choices& choices,
                          const question& q, std::int64_t now_us);
/// The answer of embedContent and batchEmbedContents.
void append_gemini_embeddings(std::string& out, const question& q);

/// A streamed answer: server-sent events, or the elements of a JSON array.
class gemini_stream final : public event_stream {
 public:
  gemini_stream(identity who, reply_choices choices, const question& q, double tokens_per_second,
                bool chunked);

  bool done() const override { return step_ == step::end; }
  engine::duration due() const override { return due_of_token(tokens_, tokens_per_second_); }
  void write_event(std::string& out, std::int64_t now_us) override;
  engine::usage used() const override;

 private:
  enum class step : std::uint8_t { thought, token, call, finish, end };
  void append_chunk(std::int64_t now_us);
  void advance();

  identity who_;
  reply_choices choices_;
  double tokens_per_second_;
  bool thinks_;
  bool shows_thoughts_;
  bool array_;
  std::string scratch_;
  step step_;
  size_t call_ = 0;
  std::int64_t token_ = 0;   ///< of the thought or of the text, the next one
  std::int64_t tokens_ = 0;  ///< visible ones, written
};

}  // namespace millrace::http::simulation
