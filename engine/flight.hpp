#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/degrade.hpp"
#include "engine/output_estimate.hpp"
#include "engine/pipeline.hpp"
#include "engine/shared_answer.hpp"

namespace millrace::engine {

/// Why an attempt did not answer the request: what the dispatcher is told, and what the client would be told.
struct attempt_failure {
  attempt_outcome outcome = attempt_outcome::failed;
  std::string_view reason;  ///< for metrics: "server_error", "timeout", ...
  api_error error;
  duration retry_after{};  ///< as the provider asked
};

/// Judges an upstream answer by its status and, for refusals, its body. Nullopt: the answer goes to the
/// client.
std::optional<attempt_failure> judge_status(const upstream_head& head, std::string_view body,
                                            std::string_view request, const provider_dialect& format);

/// One request's way through its attempts: owned by `pipeline::run`, later by the open stream.
class flight {
 public:
  flight(pipeline::ports& ports, call c);
  ~flight();
  flight(const flight&) = delete;
  flight& operator=(const flight&) = delete;

  /// Attempts until there is an answer. When it is a stream, `streaming()` is true and `read` continues it.
  answer run(yield y);

  // The parts of `run`, for who runs two flights side by side.

  /// Attempts until there is an answer; false when there is none to be had, for the reason in `refusal`.
  bool seek(answer& out, yield y);
  /// The answer with its headers, reported; after a failed `seek` the reason, or what there is instead.
  answer end(answer out, bool good, yield y);
  int attempts() const { return attempts_; }
  /// The client's own limits, as they stood when the request was counted.
  const acquire_reply& counted() const { return client_state_; }
  /// Of two flights this one's answer counts: it pays and tells for both. `asked`: the second one called
  /// somebody; `second`: this is it, and it began `head_start` later.
  void beat(flight& loser, bool asked, bool second, duration head_start);

  bool streaming() const { return reader_ != nullptr; }
  bool read(std::string& out, yield y);
  bool broken() const { return broken_; }
  /// Nothing more comes from the provider; what there is may not all have been read.
  bool stream_over() const { return stream_over_; }
  /// Why the stream broke, as it was told in the stream.
  api_error failure() const;
  /// After `run`: what was answered is this client's own affair (its limits, its deadline, its end), and says
  /// nothing to others who ask the same.
  bool personal() const { return personal_; }
  answer_source source() const;
  const usage& used() const { return used_; }
  /// The body of a plain answer; of one that was asked for as a stream and read whole, the same answer as to
  /// a plain request, null where it cannot be put together.
  const std::string* whole(const answer& a) const;
  /// Why there was no answer of a provider's; the client may have got one of last resort.
  const std::optional<api_error>& refusal() const { return refusal_; }
  /// An answer that may be better in a moment, and so is not kept: of the builtin provider, which stood in
  /// for others.
  bool makeshift() const { return step_ == degrade_step::local && provider_->kind == provider_kind::builtin; }
  /// The client went away, but others want the answer.
  void client_left() { client_gone_ = true; }
  /// The client is served no more, while others still are: why, for the log.
  void client_cut(std::string_view why) { client_cut_ = why; }
  /// From here on the client's deadline is watched by whoever reads the stream: others may read it, too.
  void lift_deadline() { call_.deadline = time_point::max(); }
  /// The client's deadline passed, and nobody else wants the stream: cancelled, it says so.
  void deadline_passed() { late_ = true; }

 private:
  enum class step : std::uint8_t { answered, failed, permit_expired, stale, unspeakable, turned_away };

  /// A refusal that the client gets if none of those who stand in answers.
  struct held_refusal {
    answer told;
    std::optional<std::string> plain;
    const provider_config* provider = nullptr;
    const key_config* key = nullptr;
    std::string upstream_model;
    usage used;
    bool fallback = false;
  };

  /// A permit that ran out while its connection was made is given back and asked for again, so many times.
  static constexpr int max_expired_permits = 3;

  /// A kept connection that is reset before it answered is replaced by a fresh one, so many times a request.
  static constexpr int max_resends = 1;

  /// How long the body of an answer that refuses may take: what it means its head says.
  static constexpr duration refusal_patience = 5s;
  /// The largest whole answer that is taken from a provider.
  static constexpr size_t max_answer_bytes = 64u << 20;
  /// How long the end of the HTTP body may follow a stream's terminal marker for its connection to be reused.
  static constexpr duration trailer_patience = 50ms;

  bool give_up();
  bool counts(const answer& out);
  void speaks(duration after);
  answer conclude(answer out, yield y);
  void improve(answer& out, yield y);
  call second_call(const upgrade_config& u) const;
  void absorb(const flight& other);
  void give_instead(flight& other, answer& out, answer theirs);
  answer refuse(yield y);
  api_error reason_of(const acquire_reply& reply);
  acquire_reply acquire(bool retry_tried, yield y);
  void bar_other_kinds();
  bool take_grant(const acquire_reply& reply);
  step attempt(answer& out, yield y);
  bool encode();
  upstream_failure open_and_send(upstream_head& head, yield y);
  step judge(const upstream_head& head, answer& out, yield y);
  step take_whole(const upstream_head& head, answer& out, yield y);
  bool rewrite_whole(std::string_view body, std::string_view content_type, answer& out);
  void bill_what_came();
  step start_stream(answer& out, yield y);
  step read_stream_whole(answer& out, yield y);
  upstream_failure read_body(std::string& body, time_point latest, yield y);
  step take_cut_refusal(const upstream_head& head, answer& out);
  retry_question question(const attempt_failure& f, time_point now) const;
  bool may_repeat(yield y);
  bool looks_for_refusals() const;
  bool turn_away(int status, std::string_view body, answer& out);
  answer tell_refusal();

  step fail(attempt_failure failure);
  void rest_key(const attempt_failure& f, duration cooldown);
  std::vector<key_rest>::iterator rest_of_grant();
  bool affords_grant();
  bool tried(name_id target) const;
  step fail_io(upstream_failure failure, std::string_view phase);
  bool break_stream(const attempt_failure& failure, std::string& out);
  attempt_failure io_failure(upstream_failure failure, std::string_view phase) const;
  attempt_failure stream_failure() const;
  static attempt_failure no_answer(bool json, std::string_view body);
  static bool begins_object(std::string_view body);
  std::string without_key(std::string text) const;
  const client_dialect& format() const { return ports_.formats.of(call_.route); }
  api_error route_not_served() const;
  void add_headers(answer& a, bool with_cost, const answer_source* giver = nullptr);
  void settle(attempt_outcome outcome, std::string_view reason);
  std::int64_t complete_usage(attempt_outcome outcome);
  token_prices prices_at(const target_config& target, std::string_view upstream_model) const;
  void finish(int status, std::string_view error_code);
  void read_trailer(yield y);
  time_point until(duration limit, time_point now) const;

  pipeline::ports& ports_;
  call call_;
  const model_config& model_;
  ticket ticket_;

  // the attempt under way
  const provider_config* provider_ = nullptr;
  const target_config* target_ = nullptr;
  const key_config* key_ = nullptr;
  const provider_dialect* wire_ = nullptr;
  provider_request request_;
  std::string upstream_model_;
  acquire_reply grant_;
  std::unique_ptr<upstream_exchange> exchange_;
  time_point attempt_start_;
  time_point permit_until_;
  bool settled_ = true;
  bool permit_expired_ = false;
  duration first_token_{};         ///< since the attempt began
  duration first_byte_{};          ///< of a plain answer, since the request was written
  duration client_first_token_{};  ///< since the request was received
  limit_hint hint_;
  duration retry_after_{};
  /// How far the provider got with the attempt, as far as its bill goes.
  enum class billing : std::uint8_t {
    nothing,  ///< not called, or it refused
    unheard,  ///< it has the request, and has not answered
    begun,    ///< it took the request and answers, or has answered
  };
  billing billing_ = billing::nothing;
  output_estimate heard_;  ///< what came of the answer

  // the stream
  std::unique_ptr<stream_reader> reader_;
  std::string pending_;  ///< bytes for the client, held back until there is content
  bool stream_over_ = false;
  bool broken_ = false;

  // a stream that was read whole
  const bool reads_whole_;
  std::optional<std::string> plain_;  ///< the same as a plain answer

  // the request so far
  std::vector<name_id> tried_;
  std::vector<name_id> tried_keys_;
  std::vector<key_rest> rests_;
  bool prepaid_ = false;                           ///< the next grant is a repeat, and paid
  bool repeated_ = false;                          ///< a key that had said 429 was asked again
  std::vector<name_id> barred_;                    ///< targets whose dialect cannot say this request
  std::optional<api_error> unsayable_;             ///< why
  refusal_reason refused_ = refusal_reason::none;  ///< by the model: those are asked who stand in for it
  bool refused_twice_ = false;                     ///< for both reasons, one after the other
  std::optional<held_refusal> held_;
  std::optional<attempt_failure> last_failure_;
  std::string unreached_;          ///< what was told of the last connect, if that failed
  name_id limited_key_ = no_name;  ///< the last one whose provider said 429 without a time
  int strikes_ = 0;                ///< so often in a row
  std::optional<api_error> refusal_;
  degrade_step step_ = degrade_step::none;
  acquire_reply client_state_;
  int attempts_ = 0;  ///< calls made, resends among them
  int resends_ = 0;
  int expired_permits_ = 0;
  bool fallback_ = false;
  bool asked_before_ = false;
  duration waited_{};  ///< for permits
  duration aside_{};   ///< neither ours nor the queue's: the client's upload, pauses before a retry
  duration upstream_time_{};
  duration overhead_{};
  usage used_;
  money cost_;
  usage used_beside_;        ///< by attempts before, and by other calls for the same request
  int attempts_beside_ = 0;  ///< of `attempts_`
  bool upgraded_ = false;
  double confidence_ = -1;
  bool finished_ = false;
  bool reports_ = true;     ///< or another flight does, for both
  std::string_view hedge_;  ///< as in x-millrace-hedged
  bool personal_ = false;
  bool client_gone_ = false;
  std::string_view client_cut_;
  bool late_ = false;
};

}  // namespace millrace::engine
