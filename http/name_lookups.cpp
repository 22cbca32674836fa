#include "http/name_lookups.hpp"

#include <netdb.h>

#include <cstring>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include <boost/asio/ip/tcp.hpp>

namespace millrace::http {

struct name_lookups::state {
  using callbacks = std::vector<callback>;
  enum class place : std::uint8_t { joined, queued, thread, nowhere };

  state(blocking_lookup l, size_t t, size_t q) : lookup(std::move(l)), threads_limit(t), queue_limit(q) {}

  place admit(const std::string& host, callback& done);
  callbacks take(const std::string& host);
  bool next(std::string& host);
  callbacks thread_failed(const std::string& host);
  static void run(const std::shared_ptr<state>& self, std::string host);

  const blocking_lookup lookup;
  const size_t threads_limit;
  const size_t queue_limit;
  std::mutex lock;                                    ///< guards what follows
  std::unordered_map<std::string, callbacks> wanted;  ///< names being looked up and those queued
  std::deque<std::string> queue;                      ///< of `wanted`: those without a thread
  size_t threads = 0;
};

name_lookups::name_lookups(blocking_lookup lookup, size_t threads, size_t queued)
    : state_(std::make_shared<state>(std::move(lookup), threads, queued)) {}

name_lookups::~name_lookups() {
  const std::lock_guard guard(state_->lock);
  state_->queue.clear();
}

void name_lookups::find(const std::string& host, callback done) {
  switch (state_->admit(host, done)) {
    case state::place::joined:
    case state::place::queued:
      return;
    case state::place::nowhere:
      return done({});
    case state::place::thread:
      break;
  }
  try {
    std::thread(state::run, state_, host).detach();
  } catch (const std::system_error&) {
    for (const auto& told : state_->thread_failed(host)) told({});
  }
}

/// Takes `done` unless it has no place for it.
name_lookups::state::place name_lookups::state::admit(const std::string& host, callback& done) {
  const std::lock_guard guard(lock);
  auto where = place::joined;
  if (!wanted.contains(host)) {
    where = threads < threads_limit      ? place::thread
            : queue.size() < queue_limit ? place::queued
                                         : place::nowhere;
  }
  if (where == place::nowhere) return where;
  wanted[host].push_back(std::move(done));
  if (where == place::thread) ++threads;
  if (where == place::queued) queue.push_back(host);
  return where;
}

/// Those who wait for a name that was looked up: who comes later starts anew.
name_lookups::state::callbacks name_lookups::state::take(const std::string& host) {
  const std::lock_guard guard(lock);
  auto found = wanted.extract(host);
  return found ? std::move(found.mapped()) : callbacks();
}

/// The next name for a thread that has ended its own, or false: the thread ends, too.
bool name_lookups::state::next(std::string& host) {
  const std::lock_guard guard(lock);
  if (queue.empty()) {
    --threads;
    return false;
  }
  host = std::move(queue.front());
  queue.pop_front();
  return true;
}

/// The system gave no thread for `host`. Without any thread nobody would come to those in the queue.
name_lookups::state::callbacks name_lookups::state::thread_failed(const std::string& host) {
  callbacks out = take(host);
  const std::lock_guard guard(lock);
  if (--threads > 0) return out;
  for (const auto& queued : std::exchange(queue, {})) {
    auto found = wanted.extract(queued);
    std::move(found.mapped().begin(), found.mapped().end(), std::back_inserter(out));
  }
  return out;
}

void name_lookups::state::run(const std::shared_ptr<state>& self, std::string host) {
  do {
    const address_list found = self->lookup(host);
    for (const auto& told : self->take(host)) told(found);
  } while (self->next(host));
}

address_list system_addresses(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_protocol = IPPROTO_TCP;
  addrinfo* all = nullptr;
  address_list out;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &all) != 0) return out;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(all, freeaddrinfo);
  for (const addrinfo* a = all; a != nullptr; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    boost::asio::ip::tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), a->ai_addr, a->ai_addrlen);
    endpoint.resize(a->ai_addrlen);
    out.push_back(endpoint.address());
  }
  return out;
}

}  // namespace millrace::http
