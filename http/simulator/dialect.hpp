#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "http/simulator/answers.hpp"
#include "http/simulator/event_stream.hpp"
#include "http/simulator/question.hpp"
#include "http/simulator/request_reader.hpp"
#include "http/simulator/settings.hpp"
#include "http/simulator/stats.hpp"

namespace millrace::http::simulation {

/// One provider's way to say everything. Stateless; safe from any thread. Errors come in the form of
/// engine::api_error and are written in the provider's shape; `retry_after` is a hint in the body where there
/// is one.
class dialect {
 public:
  virtual ~dialect() = default;

  /// Judges a request as strictly as the real API and reads what an answer depends on. False: `error` says
  /// why not. `q.facts.model` and `q.facts.stream` are set as far as they could be read.
  virtual bool read(engine::route_kind route, const http_request& request, question& q,
                    engine::api_error& error) const = 0;
  /// The API key, from where the API takes it; empty: none.
  virtual std::string_view key(const http_request& request) const = 0;

  virtual engine::api_error bad_key(bool missing) const = 0;
  virtual engine::api_error error_of_status(int status) const = 0;
  virtual engine::api_error out_of_quota() const = 0;
  virtual engine::api_error over_limit(const admission& a, const simulated_limits& limits) const = 0;
  /// The question needs more tokens than the model's context of `limit` has.
  virtual engine::api_error too_long(const question& q, std::int64_t limit) const = 0;
  /// The question is against the provider's policy. Gemini says so in an answer: that is put into `answer`.
  virtual engine::api_error forbidden(const question& q, const identity& who, std::string& answer) const = 0;
  virtual std::string error_body(const engine::api_error& e, std::string_view request_id) const = 0;
  /// In the middle of a stream, behind `number` events.
  virtual std::string error_event(const engine::api_error& e, const question& q,
                                  std::int64_t number) const = 0;

  /// Header lines of every answer.
  virtual void append_head(std::string& head, std::string_view request_id, engine::duration wait) const = 0;
  /// Header lines that tell a key's limits.
  virtual void append_limits(std::string& head, const admission& a, const simulated_limits& limits) const = 0;
  /// Header lines of a 429 that knows when to come back.
  virtual void append_retry(std::string& head, engine::duration after) const = 0;

  /// `number` makes an answer's id.
  virtual std::string id_of(engine::route_kind route, std::uint64_t number) const = 0;
  /// The body of any route that is answered at once.
  virtual void append_answer(std::string& out, const identity& who, const reply_choices& choices,
                             const question& q, std::int64_t now_us) const = 0;
  virtual std::string_view stream_type(const question& q) const = 0;
  virtual std::unique_ptr<event_stream> stream(identity who, reply_choices choices, const question& q,
                                               double tokens_per_second, bool chunked) const = 0;
};

const dialect& openai_api();
const dialect& azure_api();
const dialect& anthropic_api();
const dialect& gemini_api();

/// How paths of Azure's begin that name a deployment.
inline constexpr std::string_view azure_deployments = "/openai/deployments/";

/// Lines of a head.
void append_header(std::string& out, std::string_view name, std::int64_t value);
void append_header(std::string& out, std::string_view name, std::string_view value);
/// Whole seconds, rounded up.
std::int64_t ceil_seconds(engine::duration d);

}  // namespace millrace::http::simulation
