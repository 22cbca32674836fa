#include "bench/load.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <deque>
#include <memory>
#include <random>
#include <stdexcept>
#include <string_view>

#include "bench/answer_parser.hpp"
#include "bench/machine.hpp"
#include "bench/request.hpp"

namespace millrace::bench {
namespace {

/// Open loop: requests that are due but have no free connection.
constexpr size_t max_backlog = 1'000'000;
/// How often overdue requests are looked for, and how long a refused connection rests.
constexpr std::int64_t sweep_interval = second_ns / 10;

class generator;

/// One connection and the request on it.
struct connection {
  explicit connection(generator& owner);
  generator& load;
  int fd = -1;
  enum class state : std::uint8_t { down, connecting, idle, busy } now = state::down;
  std::string request;
  size_t written = 0;
  std::int64_t intended = 0;
  std::int64_t sent = 0;
  std::int64_t first_byte = 0;
  std::int64_t last_event = 0;
  answer_parser parser;
};

class generator {
 public:
  explicit generator(const load_options& options);
  ~generator();
  load_result run();
  void on_event(connection& c, std::string_view data);

 private:
  bool measured(std::int64_t intended) const { return intended >= measure_from_ && intended < stop_at_; }
  void open(connection& c);
  void handle(connection& c, std::uint32_t events);
  void send(connection& c, std::int64_t intended);
  void write(connection& c);
  void read(connection& c, bool to_the_end);
  void finish(connection& c);
  void fail(connection& c, std::int64_t& counter);
  void close(connection& c);
  void idle(connection& c);
  void issue_due();
  void arm_timer();
  void sweep();
  bool may_send() const;

  const load_options& options_;
  load_result result_;
  const socket_address address_;
  int epoll_ = -1;
  int timer_ = -1;
  std::deque<connection> connections_;
  std::vector<connection*> idle_;
  std::deque<std::int64_t> backlog_;  ///< intended starts
  std::mt19937_64 random_;
  std::int64_t measure_from_ = 0;
  std::int64_t stop_at_ = 0;
  std::int64_t next_due_ = 0;
  double gaps_ = 0;  ///< sum of the gaps so far in s, so that rounding does not add up
  std::int64_t started_ = 0;
  std::int64_t issued_ = 0;
  std::int64_t serial_ = 0;  ///< of the request last sent
  std::int64_t busy_ = 0;
  std::array<char, 65536> bytes_;  ///< read last
  std::int64_t now_ = 0;
};

connection::connection(generator& owner)
    : load(owner), parser([this](std::string_view data) { load.on_event(*this, data); }) {}

generator::generator(const load_options& options)
    : options_(options), address_(resolve(options.host, options.port)), random_(options.seed) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (epoll_ < 0 || timer_ < 0) throw std::runtime_error("no more file descriptors");
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event);
}

generator::~generator() {
  for (auto& c : connections_) close(c);
  ::close(timer_);
  ::close(epoll_);
}

load_result generator::run() {
  started_ = now_ = now_ns();
  measure_from_ = started_ + to_ns(options_.warmup_s);
  stop_at_ = measure_from_ + to_ns(options_.duration_s);
  next_due_ = started_;
  for (int i = 0; i < options_.connections; ++i) open(connections_.emplace_back(*this));
  arm_timer();
  std::array<epoll_event, 256> events{};
  std::int64_t next_sweep = now_ + sweep_interval;
  const std::int64_t give_up_at = stop_at_ + to_ns(options_.drain_s);
  while (now_ < give_up_at && (may_send() || busy_ > 0 || !backlog_.empty())) {
    const int n = epoll_wait(epoll_, events.data(), events.size(), 10);
    now_ = now_ns();
    for (int i = 0; i < n; ++i) {
      auto* c = static_cast<connection*>(events[static_cast<size_t>(i)].data.ptr);
      if (c != nullptr) handle(*c, events[static_cast<size_t>(i)].events);
    }
    issue_due();
    if (now_ >= next_sweep) {
      sweep();
      next_sweep = now_ + sweep_interval;
    }
  }
  result_.unfinished = static_cast<std::int64_t>(backlog_.size());
  for (const auto& c : connections_)
    result_.unfinished += c.now == connection::state::busy && measured(c.intended);
  result_.seconds = static_cast<double>(std::max<std::int64_t>(0, std::min(now_, stop_at_) - measure_from_)) /
                    static_cast<double>(second_ns);
  return result_;
}

bool generator::may_send() const {
  return now_ < stop_at_ && (options_.max_requests == 0 || issued_ < options_.max_requests);
}

void generator::open(connection& c) {
  c.fd = connect_to(address_);
  if (c.fd < 0) {
    ++result_.connect_failed;
    return;
  }
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = &c}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event);
  c.now = connection::state::connecting;
}

void generator::handle(connection& c, std::uint32_t events) {
  if (c.now == connection::state::connecting) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
      ++result_.connect_failed;
      return close(c);  // the next sweep tries again
    }
    if ((events & EPOLLOUT) != 0) return idle(c);
    return;
  }
  if (c.now == connection::state::busy && (events & EPOLLOUT) != 0) write(c);
  const bool closed = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (((events & EPOLLIN) != 0 || closed) && c.fd >= 0) read(c, closed);
}

/// A connection is free: for a request that waits, or for the next one at once (closed loop).
void generator::idle(connection& c) {
  c.now = connection::state::idle;
  if (!backlog_.empty()) {
    const std::int64_t intended = backlog_.front();
    backlog_.pop_front();
    return send(c, intended);
  }
  if (options_.rate > 0 || !may_send()) {
    idle_.push_back(&c);
    return;
  }
  ++issued_;
  send(c, now_);
}

void generator::send(connection& c, std::int64_t intended) {
  if (c.request.empty()) c.request = options_.request;
  write_number(c.request, options_.number_at, ++serial_);
  c.now = connection::state::busy;
  c.parser.reset();
  c.written = 0;
  c.intended = intended;
  c.first_byte = c.last_event = 0;
  ++busy_;
  if (measured(intended)) ++result_.sent;
  c.sent = now_ns();
  write(c);
}

void generator::write(connection& c) {
  while (c.written < c.request.size()) {
    const ssize_t n = ::send(c.fd, c.request.data() + c.written, c.request.size() - c.written, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) fail(c, result_.broken);
      return;
    }
    c.written += static_cast<size_t>(n);
  }
}

/// `to_the_end`: the other side has closed, so that no further edge will come.
void generator::read(connection& c, bool to_the_end) {
  for (;;) {
    const ssize_t n = recv(c.fd, bytes_.data(), bytes_.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (c.now != connection::state::busy) return close(c);  // the server gave up an idle connection
    if (n <= 0) {
      if (n == 0 && c.parser.end() == answer_parser::state::done) return finish(c);
      return fail(c, result_.broken);
    }
    now_ = now_ns();
    if (c.first_byte == 0) {
      c.first_byte = now_;
      if (measured(c.intended)) result_.first_byte.record(now_ - c.intended);
    }
    const auto state = c.parser.feed({bytes_.data(), static_cast<size_t>(n)});
    if (state == answer_parser::state::bad) return fail(c, result_.broken);
    if (state == answer_parser::state::done) return finish(c);
    if (!to_the_end && static_cast<size_t>(n) < bytes_.size())
      return;  // the next edge comes with the next bytes
  }
}

void generator::on_event(connection& c, std::string_view data) {
  if (!measured(c.intended)) return;
  ++result_.events;
  if (c.last_event == 0)
    result_.first_event.record(now_ - c.intended);
  else
    result_.event_gap.record(now_ - c.last_event);
  c.last_event = now_;
  if (const auto written = written_at_ns(data); written != 0) result_.event_delay.record(now_ - written);
}

void generator::finish(connection& c) {
  --busy_;
  const bool whole = !c.parser.is_stream() || c.parser.saw_done();
  const bool ok = whole && c.parser.status() / 100 == 2;
  if (measured(c.intended)) {
    if (whole)
      ++result_.by_status[c.parser.status()];
    else
      ++result_.broken;
    if (ok) {
      ++result_.ok;
      result_.latency.record(now_ - c.intended);
      result_.service.record(now_ - c.sent);
    }
  }
  if (ok && now_ >= measure_from_ && now_ < stop_at_) ++result_.finished_in_time;
  if (c.parser.keep_alive()) return idle(c);
  close(c);
  open(c);
}

void generator::fail(connection& c, std::int64_t& counter) {
  --busy_;
  if (measured(c.intended)) ++counter;
  close(c);
}

void generator::close(connection& c) {
  if (c.fd >= 0) ::close(c.fd);
  c.fd = -1;
  if (c.now == connection::state::idle) std::erase(idle_, &c);
  c.now = connection::state::down;
}

/// Open loop: everything whose time has come.
void generator::issue_due() {
  if (options_.rate <= 0) return;
  bool issued = false;
  while (next_due_ <= now_ && next_due_ < stop_at_ &&
         (options_.max_requests == 0 || issued_ < options_.max_requests)) {
    const std::int64_t intended = next_due_;
    ++issued_;
    issued = true;
    gaps_ += options_.poisson ? -std::log1p(-std::generate_canonical<double, 53>(random_)) / options_.rate
                              : 1 / options_.rate;
    next_due_ = started_ + to_ns(gaps_);
    if (!idle_.empty()) {
      connection* c = idle_.back();
      idle_.pop_back();
      send(*c, intended);
    } else if (backlog_.size() < max_backlog) {
      backlog_.push_back(intended);
    } else if (measured(intended)) {
      ++result_.dropped;
    }
  }
  if (issued) arm_timer();
}

void generator::arm_timer() {
  if (options_.rate <= 0) return;
  itimerspec when{};
  when.it_value.tv_sec = next_due_ / second_ns;
  when.it_value.tv_nsec = next_due_ % second_ns;
  timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
}

void generator::sweep() {
  const std::int64_t timeout = to_ns(options_.timeout_s);
  for (auto& c : connections_) {
    if (c.now == connection::state::busy && now_ - c.sent > timeout) fail(c, result_.timed_out);
    if (c.now == connection::state::down && (may_send() || !backlog_.empty())) open(c);
  }
}

}  // namespace

load_result run_load(const load_options& options) {
  prepare_process();
  generator load(options);
  load_result result = load.run();
  result.cpu_seconds = cpu_seconds();
  return result;
}

}  // namespace millrace::bench
