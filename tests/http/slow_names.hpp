#pragma once

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "http/name_lookups.hpp"

namespace millrace::http {

/// A name service that takes as long as the test wants: a lookup ends when its name is let go. Copies share
/// it, so that a lookup may outlive the test.
class slow_names {
 public:
  /// The blocking lookup that asks this service.
  name_lookups::blocking_lookup lookup() const {
    return [s = state_](const std::string& host) { return s->look(host); };
  }
  /// Ends the lookups of `host`, those to come too.
  void let_go(const std::string& host) {
    const std::lock_guard guard(state_->lock);
    state_->free.insert(host);
    state_->changed.notify_all();
  }
  /// Waits until `n` lookups have begun and returns their names, in order.
  std::vector<std::string> wait_asked(size_t n) {
    std::unique_lock guard(state_->lock);
    state_->changed.wait(guard, [&] { return state_->asked.size() >= n; });
    auto out = state_->asked;
    std::sort(out.begin(), out.end());
    return out;
  }
  size_t most_at_once() const {
    const std::lock_guard guard(state_->lock);
    return state_->most;
  }

 private:
  struct state {
    address_list look(const std::string& host) {
      std::unique_lock guard(lock);
      asked.push_back(host);
      most = std::max(most, ++running);
      changed.notify_all();
      changed.wait(guard, [&] { return free.contains(host); });
      --running;
      return {boost::asio::ip::make_address("127.0.0.1")};
    }

    std::mutex lock;
    std::condition_variable changed;
    std::set<std::string> free;
    std::vector<std::string> asked;
    size_t running = 0;
    size_t most = 0;
  };
  std::shared_ptr<state> state_ = std::make_shared<state>();
};

}  // namespace millrace::http
