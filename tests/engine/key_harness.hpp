#pragma once

#include <cstdint>
#include <string>

#include "engine/key_machine.hpp"

namespace millrace::engine::key_testing {

inline const time_point start{1000s};
inline const std::string target = "openai/gpt-4o";

/// Demand for `permits`, of which `waiting` now and the rest to hold ready, all of them like `head`.
inline lease_request demand(const std::string& node, std::int64_t permits, std::int64_t waiting,
                            token_count head = {}) {
  lease_request r;
  r.node = node;
  r.permits = permits;
  r.waiting = waiting;
  r.head = head;
  r.tokens = {head.input * permits, head.output * permits};
  r.target = target;
  return r;
}

inline lease_request ask(const std::string& node, std::int64_t permits, token_count head = {}) {
  return demand(node, permits, permits, head);
}

/// One key and the nodes that lease from it, with the answers collected.
struct harness {
  explicit harness(const key_limits& limits, const key_machine::origin& from = {})
      : key("key/openai/k1", limits, 500ms, 10min, start, from) {}

  std::int64_t request(const lease_request& r) {
    out.clear();
    key.request(r, now, out);
    return granted(r.node);
  }
  std::int64_t advance(duration d) {
    out.clear();
    now += d;
    key.advance(now, out);
    return granted("");
  }
  void report(const lease_report& r) {
    out.clear();
    key.report(r, now, out);
  }
  void happens(key_event_kind kind, duration retry_after = {}, const std::string& node = "a") {
    lease_report r = from(node);
    r.events.push_back({kind, target, retry_after});
    report(r);
  }
  void use(std::uint64_t lease, std::int64_t permits, token_count tokens = {}, duration age = {}) {
    lease_report r = from("a");
    r.used.push_back({lease, age, permits, tokens});
    report(r);
  }
  void use_last(std::int64_t permits = 1, duration age = {}) {
    use(last().lease, permits, last().tokens, age);
  }
  void give_back(std::uint64_t lease, std::int64_t permits, token_count tokens = {}) {
    lease_report r = from("a");
    r.returned.push_back({lease, permits, tokens});
    report(r);
  }
  void finish(std::int64_t calls, token_count debt = {}, const std::string& node = "a") {
    lease_report r = from(node);
    r.finished = calls;
    r.debt = debt;
    report(r);
  }
  void hint(const limit_hint& h) {
    lease_report r = from("a");
    r.hints.push_back(h);
    report(r);
  }
  void withdraw() { request(demand("a", 0, 0)); }
  static lease_report from(const std::string& node) {
    lease_report r;
    r.node = node;
    return r;
  }
  /// Permits granted by the last call; to any node when `node` is empty.
  std::int64_t granted(const std::string& node) const {
    std::int64_t sum = 0;
    for (const auto& o : out) {
      if (o.grant && (node.empty() || o.node == node)) sum += o.grant->permits;
    }
    return sum;
  }
  lease_grant last() const {
    for (auto o = out.rbegin(); o != out.rend(); ++o) {
      if (o->grant) return *o->grant;
    }
    return {};
  }
  /// What the window of a limit holds, leases included.
  std::int64_t used(window_use key_use::*limit) {
    const key_use all = key.export_use(now);
    std::int64_t sum = 0;
    for (const aged_use& u : (all.*limit).uses) sum += u.amount;
    return sum;
  }

  time_point now = start;
  key_machine key;
  key_machine::outbox out;
};

}  // namespace millrace::engine::key_testing
