#include "http/resolver.hpp"

#include <algorithm>
#include <mutex>

#include <boost/asio/post.hpp>

namespace millrace::http {

using engine::upstream_failure;

/// The way for lookups of other threads onto the resolver's own, closed when the resolver goes: a lookup may
/// end long after the `io_context`.
class resolver::doorway {
 public:
  explicit doorway(boost::asio::io_context& io) : io_(&io) {}

  template <class Action>
  void post(Action action) {
    const std::lock_guard guard(lock_);
    if (io_ != nullptr) boost::asio::post(*io_, std::move(action));
  }

  void close() {
    const std::lock_guard guard(lock_);
    io_ = nullptr;
  }

 private:
  std::mutex lock_;
  boost::asio::io_context* io_;
};

name_lookup system_lookup() {
  return [names = std::make_shared<name_lookups>(system_addresses)](
             const std::string& host, std::function<void(const address_list&)> done) {
    names->find(host, std::move(done));
  };
}

resolver::resolver(boost::asio::io_context& io, name_lookup lookup)
    : io_(io),
      lookup_(lookup ? std::move(lookup) : system_lookup()),
      doorway_(std::make_shared<doorway>(io)) {}

resolver::~resolver() {
  doorway_->close();
}

upstream_failure resolver::resolve(const std::string& host, const io_scope& scope, address_list& out) {
  boost::system::error_code not_literal;
  out.assign(1, boost::asio::ip::make_address(host, not_literal));
  if (!not_literal) return upstream_failure::none;

  const auto e = find(host);
  const auto age = engine::clock::now() - e->answered;
  if (!e->running && (e->addresses.empty() || age >= fresh_for)) start(host, e);
  if (e->addresses.empty() || age >= usable_for) {
    parking place(io_);
    e->waiting.push_back(&place);
    const upstream_failure failure = place.wait(scope);
    std::erase(e->waiting, &place);
    if (failure != upstream_failure::none) return failure;
  }
  out = e->addresses;
  return out.empty() ? upstream_failure::resolve : upstream_failure::none;
}

void resolver::prefer(const std::string& host, const boost::asio::ip::address& address) {
  const auto found = entries_.find(host);
  if (found == entries_.end()) return;
  auto& list = found->second->addresses;
  const auto at = std::find(list.begin(), list.end(), address);
  if (at != list.end()) std::rotate(list.begin(), at, at + 1);
}

std::shared_ptr<resolver::entry> resolver::find(const std::string& host) {
  if (entries_.size() >= max_names && !entries_.contains(host)) {
    std::erase_if(entries_, [](const auto& item) { return !item.second->running; });
  }
  auto& e = entries_[host];
  if (!e) e = std::make_shared<entry>();
  return e;
}

void resolver::start(const std::string& host, const std::shared_ptr<entry>& e) {
  e->running = true;
  lookup_(host,
          [way = doorway_, e](const address_list& found) { way->post([e, found] { ended(*e, found); }); });
}

void resolver::ended(entry& e, const address_list& found) {
  e.running = false;
  // A failed refresh leaves the old answer in use for as long as it is usable.
  if (!found.empty() || !e.waiting.empty()) {
    e.addresses = found;
    e.answered = engine::clock::now();
  }
  for (auto* place : e.waiting) place->wake();
}

}  // namespace millrace::http
