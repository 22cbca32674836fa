#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ports.hpp"
#include "http/simulator/answers.hpp"
#include "http/simulator/event_stream.hpp"
#include "http/simulator/question.hpp"

/// OpenAI's Responses API, a part of `openai_api`; see http/simulator/dialect.hpp for the meaning.
namespace millrace::http::simulation {

/// `padding` bytes behind the body may be read.
bool read_responses_question(std::string_view body, size_t padding, question& q, engine::api_error& error);

/// Ids of thoughts that the API keeps, so that they may come back without their contents. `number` makes one.
std::string kept_thought_id(std::uint64_t number);
bool is_kept_thought_id(std::string_view id);

/// A whole response.
void append_response(std::string& out, const identity& who, const reply_choices& choices, const question& q,
                     std::int64_t now_us);
/// What is said in the middle of a stream, as its event `number`.
std::string responses_error_event(const engine::api_error& e, std::int64_t number);

/// An item of a response and the tokens it is made of.
struct reply_item {
  enum class kind : std::uint8_t { reasoning, message, call };
  kind what = kind::message;
  size_t call = 0;
  std::int64_t first = 0;
  std::int64_t end = 0;
};

/// A streamed response.
class responses_stream final : public event_stream {
 public:
  responses_stream(identity who, reply_choices choices, const question& q, double tokens_per_second,
                   bool chunked);

  bool done() const override { return step_ == step::end; }
  engine::duration due() const override { return due_of_token(tokens_, tokens_per_second_); }
  void write_event(std::string& out, std::int64_t now_us) override;
  engine::usage used() const override { return choices_.usage_after(events_written() > 0 ? tokens_ : -1); }

 private:
  enum class step : std::uint8_t {
    created,
    in_progress,
    item_added,
    part_added,
    delta,
    text_done,
    part_done,
    item_done,
    finish,
    end
  };
  void begin(std::string_view type);
  void begin_at(std::string_view type);
  void append_event(std::int64_t now_us);
  void append_delta(std::int64_t now_us);
  void append_text_done();
  void append_part(std::string_view text);
  void append_item(std::string_view status);
  std::string_view status_of_item() const;
  bool has_parts() const;
  void advance();

  identity who_;
  reply_choices choices_;
  double tokens_per_second_;
  std::vector<reply_item> items_;
  std::string request_;  ///< what the response repeats of it
  bool shows_thoughts_;
  bool seals_thoughts_;
  bool keeps_;
  std::string scratch_;
  std::string said_;    ///< of the item, escaped
  std::string output_;  ///< the items that are done, with commas
  step step_ = step::created;
  size_t item_ = 0;
  std::int64_t token_ = 0;   ///< of the item, the next one
  std::int64_t tokens_ = 0;  ///< visible ones, written
};

}  // namespace millrace::http::simulation
