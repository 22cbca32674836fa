#include "http/resolver.hpp"

#include <algorithm>

namespace millrace::http {

using boost::asio::ip::tcp;
using engine::upstream_failure;

namespace {

name_lookup system_lookup(boost::asio::io_context& io) {
  auto system = std::make_shared<tcp::resolver>(io);
  return [system](const std::string& host, std::function<void(address_list)> done) {
    system->async_resolve(host, "", [done = std::move(done)](const auto& error, const auto& results) {
      address_list out;
      if (!error) {
        for (const auto& r : results) out.push_back(r.endpoint().address());
      }
      done(std::move(out));
    });
  };
}

}  // namespace

resolver::resolver(boost::asio::io_context& io, name_lookup lookup)
    : io_(io), lookup_(lookup ? std::move(lookup) : system_lookup(io)) {}

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
    std::erase_if(entries_, [](const auto& item) { return item.second->waiting.empty(); });
  }
  auto& e = entries_[host];
  if (!e) e = std::make_shared<entry>();
  return e;
}

void resolver::start(const std::string& host, const std::shared_ptr<entry>& e) {
  e->running = true;
  lookup_(host, [e](address_list addresses) {
    e->running = false;
    // A failed refresh leaves the old answer in use for as long as it is usable.
    if (!addresses.empty() || !e->waiting.empty()) {
      e->addresses = std::move(addresses);
      e->answered = engine::clock::now();
    }
    for (auto* place : e->waiting) place->wake();
  });
}

}  // namespace millrace::http
