#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/answer_parser.hpp"
#include "bench/machine.hpp"
#include "bench/request.hpp"
#include "bench/shown.hpp"

/// Opens many event streams, holds them all open for a while and measures their events. See --help.
namespace millrace::bench {
namespace {

struct arguments {
  std::string url;
  std::string body;
  std::string idle_body;
  int streams = 1000;
  double open_rate = 500;  ///< streams per second
  double settle_s = 2;     ///< between the opening of the last one and the measuring
  double duration_s = 20;
  double patience_s = 30;  ///< for the first events of the streams opened last
  int idle_readers = 0;    ///< further streams whose answers nobody reads
};

class stream_generator;

struct stream {
  explicit stream(stream_generator& owner);
  stream_generator& load;
  int fd = -1;
  bool idle_reader = false;
  std::string request;
  size_t written = 0;
  std::int64_t begun = 0;
  std::int64_t first_byte = 0;
  std::int64_t first_event = 0;
  answer_parser parser;
};

/// One thread, one event loop.
class stream_generator {
 public:
  explicit stream_generator(const arguments& a);
  ~stream_generator();
  nlohmann::json run();
  void on_event(stream& s, std::string_view data);

 private:
  void open_all();
  void open(stream& s, const request_template& request);
  void open_idle_readers();
  void serve(std::int64_t until);
  void handle(stream& s, std::uint32_t events);
  void write(stream& s);
  void read(stream& s);
  void end(stream& s, std::int64_t& counter);
  static void say(const char* phase);

  const arguments& options_;
  const request_template request_;
  const request_template idle_request_;
  const socket_address address_;
  const int epoll_;
  std::deque<stream> streams_;
  std::deque<stream> idle_readers_;
  std::array<char, 65536> bytes_;  ///< read last
  std::array<epoll_event, 256> events_;
  std::int64_t now_ = 0;
  std::int64_t serial_ = 0;
  std::int64_t waiting_ = 0;  ///< streams that were begun and have no event yet
  bool measuring_ = false;

  std::int64_t open_ = 0;  ///< streams with an event, and no end
  std::int64_t connect_failed_ = 0;
  std::int64_t cut_ = 0;    ///< broken, or ended before their time
  std::int64_t ended_ = 0;  ///< properly, but before their time
  std::map<int, std::int64_t> refused_;
  std::int64_t measured_events_ = 0;
  histogram first_byte_, first_event_, opening_delay_, delay_;
};

stream::stream(stream_generator& owner)
    : load(owner), parser([this](std::string_view data) { load.on_event(*this, data); }) {}

stream_generator::stream_generator(const arguments& a)
    : options_(a),
      request_(request_template::make("POST", a.url, {}, a.body)),
      idle_request_(request_template::make("POST", a.url, {}, a.idle_body)),
      address_(resolve(request_.host, request_.port)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) throw std::runtime_error("no more file descriptors");
}

stream_generator::~stream_generator() {
  for (auto* all : {&streams_, &idle_readers_}) {
    for (auto& s : *all) {
      if (s.fd >= 0) close(s.fd);
    }
  }
  close(epoll_);
}

nlohmann::json stream_generator::run() {
  const auto begun = now_ns();
  open_all();
  const auto opened_s = static_cast<double>(now_ns() - begun) / second_ns;
  say("open");
  open_idle_readers();
  serve(now_ns() + to_ns(options_.settle_s));
  say("measuring");
  measuring_ = true;
  const auto from = now_ns();
  const auto cpu_before = cpu_seconds();
  serve(from + to_ns(options_.duration_s));
  const auto seconds = static_cast<double>(now_ns() - from) / second_ns;
  const auto cpu = cpu_seconds() - cpu_before;
  say("measured");
  // Who drives this looks at the server now, while the streams are still open.
  std::getchar();
  nlohmann::json refused = nlohmann::json::object();
  for (const auto& [status, count] : refused_) refused[std::to_string(status)] = count;
  return {{"streams", options_.streams},
          {"opening_s", opened_s},
          {"open", open_},
          {"connect_failed", connect_failed_},
          {"refused", refused},
          {"cut", cut_},
          {"ended", ended_},
          {"seconds", seconds},
          {"events", measured_events_},
          {"events_per_second", static_cast<double>(measured_events_) / seconds},
          {"first_byte_us", shown(first_byte_)},
          {"first_event_us", shown(first_event_)},
          {"opening_delay_us", shown(opening_delay_)},
          {"delay_us", shown(delay_)},
          {"cpu_seconds", cpu}};
}

void stream_generator::say(const char* phase) {
  std::printf("%s\n", phase);
  std::fflush(stdout);
}

/// At the opening rate; then waits until every stream had an event or failed.
void stream_generator::open_all() {
  const auto begun = now_ns();
  for (int i = 0; i < options_.streams; ++i) {
    serve(begun + to_ns(i / options_.open_rate));
    open(streams_.emplace_back(*this), request_);
  }
  const auto give_up = now_ns() + to_ns(options_.patience_s);
  while (waiting_ > 0 && now_ns() < give_up) serve(now_ns() + second_ns / 100);
}

void stream_generator::open(stream& s, const request_template& request) {
  s.request = request.bytes;
  write_number(s.request, request.number_at, ++serial_);
  s.begun = now_ns();
  s.fd = connect_to(address_);
  if (s.fd < 0) {
    ++connect_failed_;
    return;
  }
  ++waiting_;
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = &s}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, s.fd, &event);
}

/// They send a request and take nothing of its answer: the kernel's buffers fill, and then the server's.
void stream_generator::open_idle_readers() {
  for (int i = 0; i < options_.idle_readers; ++i) {
    auto& s = idle_readers_.emplace_back(*this);
    s.idle_reader = true;
    s.request = idle_request_.bytes;
    write_number(s.request, idle_request_.number_at, ++serial_);
    s.fd = connect_to(address_);
    if (s.fd < 0) throw std::runtime_error("a slow reader could not connect");
    epoll_event event{.events = EPOLLOUT | EPOLLET, .data = {.ptr = &s}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, s.fd, &event);
  }
}

void stream_generator::serve(std::int64_t until) {
  while ((now_ = now_ns()) < until) {
    const auto left_ms = (until - now_) / 1'000'000;
    const int n = epoll_wait(epoll_, events_.data(), events_.size(), static_cast<int>(left_ms));
    for (int i = 0; i < n; ++i) {
      const auto& e = events_[static_cast<size_t>(i)];
      handle(*static_cast<stream*>(e.data.ptr), e.events);
    }
  }
}

void stream_generator::handle(stream& s, std::uint32_t events) {
  if (s.fd >= 0 && (events & EPOLLOUT) != 0) write(s);
  if (s.fd >= 0 && !s.idle_reader && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) read(s);
}

void stream_generator::write(stream& s) {
  while (s.written < s.request.size()) {
    const ssize_t n = send(s.fd, s.request.data() + s.written, s.request.size() - s.written, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return end(s, connect_failed_);
    s.written += static_cast<size_t>(n);
  }
}

void stream_generator::read(stream& s) {
  for (;;) {
    const ssize_t n = recv(s.fd, bytes_.data(), bytes_.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return end(s, cut_);
    now_ = now_ns();
    if (s.first_byte == 0) {
      s.first_byte = now_;
      first_byte_.record(now_ - s.begun);
    }
    const auto state = s.parser.feed({bytes_.data(), static_cast<size_t>(n)});
    if (state == answer_parser::state::bad) return end(s, cut_);
    if (state != answer_parser::state::done) continue;
    if (s.parser.status() != 200) return end(s, refused_[s.parser.status()]);
    return end(s, s.parser.saw_done() ? ended_ : cut_);
  }
}

void stream_generator::end(stream& s, std::int64_t& counter) {
  close(s.fd);
  s.fd = -1;
  if (s.idle_reader) return;
  ++counter;
  --(s.first_event == 0 ? waiting_ : open_);
}

void stream_generator::on_event(stream& s, std::string_view data) {
  if (s.first_event == 0) {
    s.first_event = now_;
    first_event_.record(now_ - s.begun);
    --waiting_;
    ++open_;
  }
  measured_events_ += measuring_ ? 1 : 0;
  const auto written = written_at_ns(data);
  if (written != 0) (measuring_ ? delay_ : opening_delay_).record(now_ - written);
}

void declare(CLI::App& app, arguments& a) {
  app.add_option("url", a.url, "http://HOST:PORT/PATH")->required();
  app.add_option("--data", a.body, "body of a request; each run of 12 '@' becomes the request's number")
      ->required();
  app.add_option("-c,--streams", a.streams, "held open at once")
      ->check(CLI::Range(1, 60000))
      ->capture_default_str();
  app.add_option("--open-rate", a.open_rate, "streams opened per second")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--settle", a.settle_s, "seconds between the last opening and the measuring")
      ->capture_default_str();
  app.add_option("-d,--duration", a.duration_s, "measured seconds, all streams open")->capture_default_str();
  app.add_option("--patience", a.patience_s, "seconds for the last streams' first events")
      ->capture_default_str();
  app.add_option("--idle-readers", a.idle_readers,
                 "further streams that nobody reads, opened before the settling")
      ->check(CLI::Range(0, 10000));
  app.add_option("--idle-data", a.idle_body, "their requests' body");
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Holds many event streams open. Prints `open`, `measuring` and `measured` as it comes to them, waits "
      "for a "
      "line on standard input, and then prints JSON, times in microseconds.");
  millrace::bench::arguments a;
  millrace::bench::declare(app, a);
  CLI11_PARSE(app, argc, argv);
  try {
    millrace::bench::prepare_process();
    std::printf("%s\n", millrace::bench::stream_generator(a).run().dump().c_str());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "streamgen: %s\n", e.what());
    return 2;
  }
}
