#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "http/simulator/answers.hpp"
#include "http/simulator/dialect.hpp"
#include "http/simulator/prefix_cache.hpp"
#include "http/simulator/request_reader.hpp"
#include "http/simulator/settings.hpp"
#include "http/simulator/stats.hpp"

namespace millrace::http::simulation {

/// What all threads of a simulator share. Thread-safe.
class shared_state {
 public:
  explicit shared_state(const simulator_settings& settings);
  void configure(const simulator_settings& settings);
  std::shared_ptr<const simulator_settings> settings() const;
  /// Changes with every `configure`.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  /// Numbers the requests; every draw depends on this number and the seed alone.
  std::uint64_t next_ordinal() { return ordinal_.fetch_add(1, std::memory_order_relaxed); }
  /// Applies `change` to the present settings and makes the outcome the settings.
  template <class Change>
  void change(Change change) {
    const std::lock_guard lock(change_mutex_);
    simulator_settings changed = *settings();
    change(changed);
    configure(changed);
  }

  stats_book stats;
  prefix_cache prompts;

 private:
  mutable std::mutex mutex_;
  std::mutex change_mutex_;
  std::shared_ptr<const simulator_settings> settings_;
  std::atomic<std::uint64_t> version_{1};
  std::atomic<std::uint64_t> ordinal_{0};
};

/// What a connection is to do: wait, write `bytes`, then the stream's events, then end.
struct reply {
  enum class ending : std::uint8_t {
    keep,  ///< ready for the next request
    close,
    reset,  ///< RST
    stall,  ///< nothing more, until the client goes
  };
  engine::duration wait{};  ///< until the first byte
  std::string bytes;
  engine::duration drip{};  ///< above 0: `bytes` goes out in small pieces, so far apart
  std::unique_ptr<event_stream> stream;
  engine::duration pause{};           ///< of the stream, after its first event
  std::int64_t stop_after = -1;       ///< events of the stream before it breaks off; -1: it does not
  std::string last_event;             ///< of a stream that breaks off: said before its proper end
  ending broken_then = ending::keep;  ///< how a stream that breaks off ends
  ending then = ending::keep;         ///< how everything else ends

  key_ledger* ledger = nullptr;  ///< null: nobody counts this request
  model_bill* bill = nullptr;    ///< the ledger's, of the model
  outcome how = outcome::answered;
  engine::usage used;  ///< a stream's is counted as it is written
};

/// Makes replies. One per thread.
class provider {
 public:
  explicit provider(shared_state& shared);
  void answer(const http_request& request, reply& out);

 private:
  struct model_entry_cached {
    std::atomic<std::int64_t>* requests;
    const model_behaviour* behaviour;
    simulated_fault named;  ///< asked for by the name itself
  };
  struct text_hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  template <class T>
  using cache = std::unordered_map<std::string, T, text_hash, std::equal_to<>>;
  struct key_entry {
    key_ledger* ledger = nullptr;
    simulated_limits limits;
    bool allowed = false;
    cache<model_bill*> bills;  ///< by model
    std::string last_model;    ///< most requests name the same as the one before
    model_bill* last_bill = nullptr;
  };

  void refresh();
  key_entry& key(std::string_view name);
  model_bill& bill(key_entry& k, std::string_view model);
  const model_entry_cached& model(std::string_view name);

  void answer_question(engine::route_kind route, const http_request& request, reply& out);
  bool choose_texts(const model_entry_cached& m, reply_choices& choices, engine::api_error& error);
  void answer_other(const http_request& request, reply& out);
  void answer_control(const http_request& request, reply& out);
  void refuse(const http_request& request, const engine::api_error& error, reply& out);
  void list_models(const http_request& request, reply& out);
  void reply_plainly(const http_request& request, std::string_view body, const simulated_fault& f,
                     reply& out);
  void reply_completely(const http_request& request, const reply_choices& choices,
                        const model_behaviour& behaviour, const simulated_fault& f, reply& out);
  void reply_streaming(const http_request& request, reply_choices choices, const model_behaviour& behaviour,
                       const simulated_fault& f, reply& out);
  void look_up_prompt(reply_choices& choices);
  bool replace_by_fault(const http_request& request, const simulated_fault& f, reply& out);
  bool replace_by_refusal(const http_request& request, const model_behaviour& behaviour, reply& out);

  simulated_fault draw_fault(const model_entry_cached& m, std::uint64_t ordinal);
  engine::duration draw_latency(const latency_model& l, std::uint64_t ordinal) const;
  void write_head(const http_request& request, int status, std::string_view content_type,
                  std::optional<size_t> length, reply& out);
  std::string_view date();
  identity make_identity() const;

  shared_state& shared_;
  std::uint64_t version_ = 0;
  std::shared_ptr<const simulator_settings> settings_;
  cache<key_entry> keys_;
  cache<model_entry_cached> models_;
  const dialect* speaks_ = nullptr;  ///< of the request being answered
  question question_;
  std::string body_;           ///< scratch
  std::string extra_headers_;  ///< of the reply in the making
  std::string request_id_;     ///< the same
  std::uint64_t ordinal_ = 0;  ///< of the request being answered
  std::int64_t now_s_ = 0;     ///< Unix time of `date_`
  std::string date_;
};

}  // namespace millrace::http::simulation
