#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cached_answer.hpp"
#include "engine/exchange.hpp"
#include "engine/ports.hpp"
#include "engine/wait_point.hpp"

namespace millrace::engine {

/// The most of one stream that is kept for those who join late; a longer one can no longer be joined.
inline constexpr std::size_t max_transcript_bytes = 1u << 20;

/// How long those who have read all of a stream wait for one who is `max_transcript_bytes` behind. Then it
/// goes on without him: they would stand still until his connection is given up.
inline constexpr duration longest_wait_for_slow = std::chrono::seconds(1);

/// Memory that all transcripts of a node may take together. Thread-safe.
class transcript_budget {
 public:
  explicit transcript_budget(std::int64_t bytes = 64LL << 20) : all_(bytes), left_(bytes) {}
  /// False, and nothing is taken, when less is left.
  bool take(std::int64_t bytes) {
    if (left_.fetch_sub(bytes, std::memory_order_relaxed) >= bytes) return true;
    give(bytes);
    return false;
  }
  void give(std::int64_t bytes) { left_.fetch_add(bytes, std::memory_order_relaxed); }
  std::int64_t taken() const { return all_ - left_.load(std::memory_order_relaxed); }

 private:
  const std::int64_t all_;
  std::atomic<std::int64_t> left_;
};

/// Who answered.
struct answer_source {
  std::string provider;
  std::string upstream_model;
  std::string key_id;
  bool fallback = false;
  const provider_dialect* wire = nullptr;  ///< in which its bytes are to be read
  std::string dropped;                     ///< see cached_answer
  bool upgraded = false;                   ///< the upgrade of the model that was asked for
  double confidence = -1;                  ///< of the answer; below 0: not known
};

/// Who gave an answer that is known.
inline answer_source source_of(const cached_answer& a) {
  return {a.provider, a.upstream_model, a.key_id, a.fallback, nullptr, a.dropped, a.upgraded, a.confidence};
}

/// A whole answer for everybody who waits for it.
struct shared_result {
  int status = 200;
  header_list headers;       ///< that say when and whether to try again
  cached_answer_ptr answer;  ///< also when it is no good one
  bool from_cache = false;
  std::optional<api_error> outage;  ///< with a failure of providers (see `is_outage`): which
};

using shared_result_ptr = std::shared_ptr<const shared_result>;

class follower;

/// One upstream call whose answer several requests wait for: the leader, who makes the call, and followers,
/// who joined. A stream is kept as the provider sent it (the transcript), so that everybody gets it in the
/// form he asked for. Thread-safe; followers may be on other threads than the leader.
class shared_answer {
 public:
  enum class state : std::uint8_t {
    pending,    ///< nothing that could be shown yet
    streaming,  ///< the transcript grows
    ended,      ///< the transcript is whole, or broke off: see `failure`
    whole,      ///< the answer is there in one piece, good or not
    abandoned,  ///< the leader ended for reasons of its own: ask again
  };

  explicit shared_answer(transcript_budget& budget) : budget_(budget) {}
  virtual ~shared_answer();
  shared_answer(const shared_answer&) = delete;
  shared_answer& operator=(const shared_answer&) = delete;

  // --- the leader's side

  /// The stream has content; `so_far` is what the provider sent of it.
  void begin_stream(answer_source source, std::string_view so_far);
  void append(std::string_view bytes);
  /// The stream is over: in good order, or broken by `failure`. Whoever wants it whole gets `collected`.
  void end_stream(std::optional<api_error> failure, shared_result_ptr collected);
  void finish(shared_result_ptr result);
  void abandon();
  /// Nobody can join from now on.
  void close();
  /// The leader needs no answer any more. True when nobody else does either; then nobody can join.
  bool leader_left();
  /// Neither the leader nor anybody else waits for the answer.
  bool unwanted() const;
  bool has_followers() const;
  /// Whether a follower waits for the stream in one piece.
  bool wanted_whole() const;
  /// The transcript when nothing of it was dropped.
  std::optional<std::string> transcript() const;
  std::size_t end_position() const;
  /// False while the slowest follower is more than `max_transcript_bytes` behind.
  bool has_room() const;
  /// Breaks the streams of those who are so far behind, where somebody else is not: another follower, or the
  /// leader, who reads for all where `leader_reads`. True when the leader's own is among them.
  bool part_with_slow(bool leader_reads);

 protected:
  /// Followers came, left or caught up: the leader should look. Called with the lock held, from any thread.
  virtual void changed() = 0;

 private:
  friend class follower;

  bool attach(follower& f);
  void detach(follower& f);
  void attach_leader(follower& f);
  void wake_all();
  bool grow(std::size_t more, bool anyway);
  void stop_keeping();
  void trim();

  transcript_budget& budget_;
  mutable std::mutex mutex_;
  state state_ = state::pending;
  bool open_ = true;       ///< may be joined
  bool leader_in_ = true;  ///< the leader itself still wants the answer
  bool keeps_ = true;      ///< the transcript is kept from its beginning
  std::string transcript_;
  std::size_t taken_ = 0;    ///< of the budget, for the transcript's memory
  std::size_t dropped_ = 0;  ///< bytes of the stream before the transcript's first
  std::vector<follower*> followers_;
  answer_source source_;
  std::optional<api_error> failure_;
  shared_result_ptr result_;
};

using shared_answer_ptr = std::shared_ptr<shared_answer>;

/// One request's seat at a shared answer. Used on its own thread; leaving is its destruction.
class follower {
 public:
  enum class event : std::uint8_t {
    content,    ///< bytes of the transcript were appended
    end,        ///< the stream ended in good order
    broken,     ///< the stream broke off, see `failure`
    whole,      ///< see `result`
    abandoned,  ///< the leader gave up for reasons of its own
    gone,       ///< the client of this request is gone
    late,       ///< its deadline passed
  };

  /// Joins; `joined()` tells whether that was still possible. `whole`: a stream is wanted in one piece, at
  /// its end.
  follower(shared_answer_ptr answer, bool whole, cancellation& gone, thread_port& thread,
           time_point deadline);
  /// The seat of the leader's own client: from position `from` of the stream on, and never refused.
  struct leaders_seat {
    std::size_t from;
  };
  follower(shared_answer_ptr answer, leaders_seat seat, cancellation& gone, thread_port& thread,
           time_point deadline);
  ~follower();
  follower(const follower&) = delete;
  follower& operator=(const follower&) = delete;

  bool joined() const { return joined_; }
  /// Waits for what comes next; `out` gets bytes of a stream. After `whole`, `end`, `broken`, `abandoned`
  /// there is nothing more.
  event next(std::string& out, const clock_port& time, yield y);
  /// Who answers; known from the first content on.
  answer_source source() const;
  const api_error& failure() const { return *failure_; }
  /// The others went on without it.
  bool left_behind() const;
  const cancellation& gone() const { return gone_; }
  const shared_result_ptr& result() const { return result_; }

 private:
  friend class shared_answer;

  std::optional<event> poll(std::string& out);

  shared_answer_ptr answer_;
  const bool whole_;
  const bool is_leader_ = false;
  std::size_t position_ = 0;
  bool joined_ = false;
  bool too_slow_ = false;  ///< the others go on without it
  wait_point point_;
  cancellation& gone_;
  cancellation::hook on_gone_;
  thread_port& thread_;
  const time_point deadline_;
  std::unique_ptr<thread_port::alarm> alarm_;
  std::optional<api_error> failure_;
  shared_result_ptr result_;
};

}  // namespace millrace::engine
