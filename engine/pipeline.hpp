#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cache_policy.hpp"
#include "engine/cache_shards.hpp"
#include "engine/ports.hpp"
#include "engine/retry_policy.hpp"

namespace millrace::engine {

class flight;
class hedge_budget;

/// Who looks after a flight's attempts, because another flight runs beside it or may be started. Called on
/// the flight's thread.
class attempt_watch {
 public:
  virtual ~attempt_watch() = default;
  /// A request was written; nothing has come back.
  virtual void attempt_sent(const acquire_reply& grant) = 0;
  /// Something has, or the attempt is over.
  virtual void attempt_speaks() = 0;
  /// Asked when there is something to show: whether this flight is the one whose answer counts.
  virtual bool claims(const flight& f) = 0;
};

/// One admitted request on its way to a provider. The views and the cancellation outlive the answer and its
/// stream.
struct call {
  config_ptr config;
  route_kind route = route_kind::chat;
  std::string id;  ///< x-request-id
  std::string_view body;
  request_facts facts;
  resolved_model model;  ///< that answers
  size_t asked = 0;      ///< index of the model that was asked for: another one where rules chose
  std::optional<prompt_traits> judged;    ///< where the model that was asked for has rules
  const client_config* client = nullptr;  ///< inside `config`
  header_list forwarded;                  ///< request headers that go on to the provider
  std::uint8_t strategy = 0xff;           ///< override; 0xff: the model's own
  bool private_only = false;
  std::uint64_t affinity = 0;                       ///< whose weighted choices it shares; 0: nobody's
  queue_class asked_queue = queue_class::priority;  ///< x-millrace-priority, which lowers and never raises
  time_point received;                              ///< when its first byte was there
  duration upload{};                                ///< so long since then its client took to send it
  time_point deadline = time_point::max();          ///< the caller's
  cancellation* gone = nullptr;
  cache_key key;     ///< what names the question
  cache_wish cache;  ///< what the client says in Cache-Control

  // set on the way
  std::optional<acquire_reply> counted;  ///< against the client's own limits, with this outcome
  std::string_view cache_word;           ///< for x-millrace-cache
  shared_answer* share = nullptr;        ///< gets the stream as it comes
  cache_plan plan;
  cached_answer_ptr stale;  ///< expired; for an outage

  /// A further call for a request that has one already: it waits for a permit no longer than this, repeats
  /// nothing, and leaves it to the other one to tell of both.
  std::optional<duration> beside;
  std::vector<name_id> barred;  ///< targets that shall not be asked
  bool read_whole = false;      ///< nobody sees a stream before its end
  attempt_watch* watch = nullptr;

  /// The model as the client asked for it: a wildcard has many.
  std::string_view asked_model() const {
    return facts.model.empty() ? std::string_view(config->models[asked].name) : std::string_view(facts.model);
  }
  /// Where it waits.
  queue_class queue() const { return std::max(client->queue, asked_queue); }
};

/// Takes a request through look-up, plan, lease, call, judge, settle and store, and hands back the answer or
/// an open stream.
///
/// One per I/O thread; `run` is called from any number of coroutines of that thread. The decisions (which
/// target, which key, when) are the dispatcher's, asked through `permit_port`; what is decided here is only
/// what one attempt's outcome means for this one request.
class pipeline {
 public:
  struct ports {
    permit_port& permits;
    upstream_port& upstream;
    clock_port& time;
    thread_port& thread;
    const wire_formats& formats;
    observer& watch;
    retry_budget& budget;
    const cache_shards& answers;
    answer_disk* disk = nullptr;  ///< null: answers are kept in memory only
    /// Called, on any I/O thread, when a shard has entries to write.
    std::function<void(std::size_t shard)> to_be_written;
    hedge_budget* hedges = nullptr;  ///< of the node; null: nobody hedges
  };

  explicit pipeline(ports p) : ports_(p) {}

  /// What is known of `c.key` on disk, as `c.plan` allows; then it is in memory, too. What has expired goes
  /// to `c.stale` instead.
  cached_answer_ptr find_on_disk(call& c, yield y);
  /// For other requests that share the thread's cache and permits.
  ports& parts() { return ports_; }

  /// Never throws for what clients or providers do; every outcome is an answer.
  answer run(call c, yield y);

 private:
  /// A request whose leaders all failed for reasons of their own makes its own call after so many.
  static constexpr int max_joins = 3;

  ports ports_;
};

}  // namespace millrace::engine
