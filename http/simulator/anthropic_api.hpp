#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/ports.hpp"
#include "http/simulator/answers.hpp"
#include "http/simulator/event_stream.hpp"
#include "http/simulator/question.hpp"
#include "http/simulator/request_reader.hpp"

/// The parts of `anthropic_api`; see http/simulator/dialect.hpp for the meaning.
namespace millrace::http::simulation {

bool read_anthropic_question(engine::route_kind route, const http_request& request, question& q,
                             engine::api_error& error);

/// A whole message.
void append_anthropic_message(std::string& out, const identity& who, const reply_choices& choices,
                              const question& q, std::int64_t now_us);

/// A content block of an answer and the tokens it is made of.
struct reply_block {
  enum class kind : std::uint8_t { thinking, redacted, text, call };
  kind what = kind::text;
  size_t call = 0;
  std::int64_t first = 0;
  std::int64_t end = 0;
};
std::vector<reply_block> blocks_of(const reply_text& text, const question& q);

/// A streamed message.
class anthropic_stream final : public event_stream {
 public:
  anthropic_stream(identity who, reply_choices choices, const question& q, double tokens_per_second,
                   bool chunked);

  bool done() const override { return step_ == step::end; }
  engine::duration due() const override;
  void write_event(std::string& out, std::int64_t now_us) override;
  engine::usage used() const override;

 private:
  enum class step : std::uint8_t {
    start,
    block_start,
    ping,
    delta,
    signature,
    block_stop,
    finish,
    stop,
    end
  };
  void append_event(std::int64_t now_us);
  void append_block_start();
  void append_delta(std::int64_t now_us);
  void advance();

  identity who_;
  reply_choices choices_;
  double tokens_per_second_;
  std::vector<reply_block> blocks_;
  bool shows_thoughts_;
  std::string signature_;
  std::string scratch_;
  step step_ = step::start;
  size_t block_ = 0;
  std::int64_t token_ = 0;   ///< of the block, the next one
  std::int64_t tokens_ = 0;  ///< visible ones, written
};

}  // namespace millrace::http::simulation
