#include <utility>

#include "http/edge_thread.hpp"

#include <algorithm>
#include <chrono>

#include <netinet/tcp.h>
#include <spdlog/spdlog.h>

#include "http/connection.hpp"

namespace millrace::http {

namespace asio = boost::asio;

namespace {

template <class T>
using linked_list = boost::intrusive::list<T, boost::intrusive::constant_time_size<false>>;

constexpr auto tick_interval = std::chrono::milliseconds(50);

/// Unsent bytes that the kernel takes for one connection. More would hide a slow reader behind megabytes.
constexpr int max_unsent_bytes = 128 * 1024;

size_t slots_for(engine::duration check) {
  return static_cast<size_t>(std::max<engine::duration::rep>(1, check / engine::duration(tick_interval)));
}

/// Calls `f` for all members of `from`, which move to `to` before. `f` may resume coroutines, and these may
/// end any member of both: so each time the first of those that are left is taken.
template <class T, class F>
void visit(linked_list<T>& from, linked_list<T>& to, F f) {
  linked_list<T> left;
  left.swap(from);
  while (!left.empty()) {
    auto& member = left.front();
    left.pop_front();
    to.push_back(member);
    f(member);
  }
}

}  // namespace

struct edge_thread::lists {
  explicit lists(size_t n) : slots(n) {}
  std::vector<linked_list<connection>> slots;  ///< connections by the tick that checks their deadlines
  linked_list<connection> cancelled;
  linked_list<client_socket> watched;
  linked_list<client_socket> overdue;
};

edge_thread::edge_thread(asio::io_context& context, size_t index, edge_common& common,
                         std::shared_ptr<const engine::http_config> config)
    : context(context),
      index(index),
      common(common),
      config(std::move(config)),
      lists_(std::make_unique<lists>(slots_for(common.limits.check))),
      timer_(context.get_executor()) {}

edge_thread::~edge_thread() = default;

void edge_thread::adopt(int native_socket, std::string remote, bool refuse) {
  tcp_socket socket(context.get_executor());
  socket.assign(asio::ip::tcp::v4(), native_socket);
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_NOTSENT_LOWAT>(max_unsent_bytes),
                    ignored);
  auto c = std::make_shared<connection>(*this, std::move(socket), std::move(remote), refuse);
  lists_->slots[next_slot_++ % lists_->slots.size()].push_back(*c);
  start_ticking();
  engine::start_coroutine(context, [c = std::move(c)](engine::yield y) { c->run(y); });
}

void edge_thread::drain() {
  draining = true;
  for (auto& slot : lists_->slots) {
    for (auto& c : slot) c.drain();
  }
}

void edge_thread::cancel_all() {
  for (auto& slot : lists_->slots) {
    visit(slot, lists_->cancelled, [](connection& c) { c.cut(); });
  }
}

void edge_thread::ended(connection& c) {
  c.unlink();
  if (c.refused()) refused.fetch_sub(1);
  if (open.fetch_sub(1) != 1 || !draining) return;
  const std::lock_guard lock(common.mutex);
  common.ended.notify_all();
}

void edge_thread::watch(client_socket& s) {
  lists_->watched.push_back(s);
}

void edge_thread::cut_soon(client_socket& s) {
  s.unlink();
  lists_->overdue.push_back(s);
}

std::string_view edge_thread::date() {
  const auto now = std::time(nullptr);
  if (now != date_second_) {
    date_second_ = now;
    std::tm utc{};
    gmtime_r(&now, &utc);
    // Not the locale's names: those of RFC 9110.
    constexpr std::array<const char*, 7> days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array<const char*, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const auto text =
        fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days.at(utc.tm_wday), utc.tm_mday,
                    months.at(utc.tm_mon), utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
    date_.fill(0);
    text.copy(date_.data(), date_.size() - 1);
  }
  return date_.data();
}

void edge_thread::start_ticking() {
  if (std::exchange(ticking_, true)) return;
  timer_.expires_after(tick_interval);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code&) { self->tick(); });
}

void edge_thread::tick() {
  ticking_ = false;
  if (open.load() == 0) return;
  const auto now = engine::clock::now();
  for (auto& c : lists_->slots[ticks_++ % lists_->slots.size()]) c.check(now);
  // Those who are told why they were cut have deadlines, too.
  for (auto& c : lists_->cancelled) c.check(now);
  while (!lists_->overdue.empty()) {
    auto& s = lists_->overdue.front();
    lists_->overdue.pop_front();
    s.abort();
  }
  visit(lists_->watched, lists_->watched, [](client_socket& s) { s.look(); });
  start_ticking();
}

}  // namespace millrace::http
