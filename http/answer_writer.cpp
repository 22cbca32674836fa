#include "http/answer_writer.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include <fmt/compile.h>
#include <httplib.h>
#include <boost/beast/http/status.hpp>

#include "http/json_scan.hpp"

namespace millrace::http {

namespace {

constexpr std::string_view clean_get = "GET / HTTP/1.1\r\n\r\n";
constexpr std::string_view clean_head = "HEAD / HTTP/1.1\r\n\r\n";
constexpr size_t head_bytes = 512;  ///< enough for most heads

bool has_no_body(int status) {
  return status < 200 || status == 204 || status == 304;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 && c != '\t';
}

char* put(char* at, std::string_view text) {
  return std::copy(text.begin(), text.end(), at);
}

/// Among them are those that would end the line early.
bool has_control(std::string_view text) {
  for (size_t at = find_special(text, 0); at < text.size(); at = find_special(text, at + 1)) {
    if (is_control(text[at])) return true;
  }
  return false;
}

constexpr size_t line_overhead = 4;  ///< ": " and the end of the line

/// A line that no head may hold (RFC 9110, section 5.5) is left out, as cpp-httplib does.
char* put_line(char* at, std::string_view name, std::string_view value) {
  if (has_control(name) || has_control(value)) return at;
  return put(put(put(put(at, name), ": "), value), "\r\n");
}

/// The lines that do not frame the answer, and the end of the head.
void add_lines(std::string& lines, const engine::answer& a, const answer_framing& framing,
               std::string_view content_type = {}) {
  constexpr std::string_view type = "Content-Type";
  constexpr std::string_view date = "Date";
  // In one piece: a dozen lines of four parts each are felt otherwise.
  size_t most = type.size() + content_type.size() + date.size() + framing.date.size() + 3 * line_overhead;
  for (const auto& [name, value] : a.headers) most += name.size() + value.size() + line_overhead;
  const size_t begin = lines.size();
  lines.resize(begin + most);
  char* at = lines.data() + begin;
  if (!content_type.empty()) at = put_line(at, type, content_type);
  at = put_line(at, date, framing.date);
  for (const auto& [name, value] : a.headers) at = put_line(at, name, value);
  lines.resize(static_cast<size_t>(put(at, "\r\n") - lines.data()));
}

/// Writes an answer whose length is known.
bool write_whole(const engine::answer& a, const answer_framing& framing, answer_sink& sink) {
  const bool empty = has_no_body(a.status);
  const auto reason = boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(a.status));
  std::string head;
  head.reserve(head_bytes);
  fmt::format_to(std::back_inserter(head), FMT_COMPILE("HTTP/1.1 {} {}\r\n"), a.status,
                 std::string_view(reason.data(), reason.size()));
  if (!framing.keep_alive) {
    head += "Connection: close\r\n";
  } else if (framing.old) {
    head += "Connection: keep-alive\r\n";
  }
  if (!empty) fmt::format_to(std::back_inserter(head), FMT_COMPILE("Content-Length: {}\r\n"), a.body.size());
  add_lines(head, a, framing, empty ? std::string_view() : a.content_type);
  return sink.write(head) && (empty || framing.without_body || sink.write(a.body));
}

/// Reads the clean request; writes into the sink. The answer's own header lines are put in here, behind those
/// that frame it: through cpp-httplib each would cost a map node and a printf.
class sink_stream : public httplib::Stream {
 public:
  sink_stream(const engine::answer& a, const answer_framing& framing, answer_sink& sink)
      : request_(framing.without_body ? clean_head : clean_get), answer_(a), framing_(framing), sink_(sink) {}

  bool is_readable() const override { return !request_.empty(); }
  bool is_writable() const override { return !failed_; }
  ssize_t read(char* to, size_t size) override {
    const auto n = std::min(size, request_.size());
    std::memcpy(to, request_.data(), n);
    request_.remove_prefix(n);
    return static_cast<ssize_t>(n);
  }
  ssize_t write(const char* from, size_t size) override {
    // cpp-httplib ignores a failure while it writes the head, so it must stay one.
    if (std::exchange(head_written_, true)) {
      failed_ = failed_ || !sink_.write({from, size});
    } else {
      failed_ = !write_head({from, size});
    }
    return failed_ ? -1 : static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return INVALID_SOCKET; }
  bool failed() const { return failed_; }

 private:
  /// cpp-httplib writes the head whole, in one go.
  bool write_head(std::string_view head) {
    constexpr std::string_view line_end = "\r\n";
    head.remove_suffix(line_end.size());
    std::string lines;
    lines.reserve(head_bytes);
    add_lines(lines, answer_, framing_);
    return sink_.write(head) && sink_.write(lines);
  }

  std::string_view request_;
  const engine::answer& answer_;
  const answer_framing& framing_;
  answer_sink& sink_;
  bool head_written_ = false;
  bool failed_ = false;
};

}  // namespace

class answer_writer::server : public httplib::Server {
 public:
  server() {
    svr_sock_ = 0;  // Otherwise content providers take the server for shut down.
    set_pre_routing_handler([this](const httplib::Request&, httplib::Response& res) {
      fill(res);
      return HandlerResponse::Handled;
    });
    set_post_routing_handler([this](const httplib::Request&, httplib::Response& res) { correct(res); });
    // The default one would send the exception's text to the client.
    set_exception_handler([](const httplib::Request&, httplib::Response& res, const std::exception_ptr&) {
      res = httplib::Response();
      res.status = 500;
    });
  }

  bool write(const engine::answer& a, const answer_framing& framing, answer_sink& sink) {
    sink_stream stream(a, framing, sink);
    answer_ = &a;
    framing_ = &framing;
    sink_ = &sink;
    bool closed = false;
    // "close" always: with keep-alive cpp-httplib would format a Keep-Alive header that nobody needs.
    return process_request(stream, true, closed, nullptr) && !stream.failed();
  }

 private:
  // Both run before the first byte is written, so no other coroutine can have replaced the three pointers.
  void fill(httplib::Response& res) {
    res.status = answer_->status;
    if (framing_->without_body) {
      res.set_header("Content-Type", answer_->content_type);
      return;
    }
    auto provider = [sink = sink_, bytes = std::string()](size_t, httplib::DataSink& to) mutable {
      switch (sink->pull(bytes)) {
        case answer_sink::pulled::bytes:
          return to.write(bytes.data(), bytes.size());
        case answer_sink::pulled::end:
          to.done();
          return true;
        case answer_sink::pulled::failed:
          break;
      }
      return false;
    };
    if (framing_->old) {
      res.set_content_provider(answer_->content_type, std::move(provider));
    } else {
      res.set_chunked_content_provider(answer_->content_type, std::move(provider));
    }
  }

  void correct(httplib::Response& res) {
    if (framing_->without_body) res.headers.erase("Accept-Ranges");
    res.headers.erase("Content-Length");
    if (framing_->keep_alive) {
      res.headers.erase("Connection");
      if (framing_->old) res.set_header("Connection", "keep-alive");
    }
  }

  const engine::answer* answer_ = nullptr;
  const answer_framing* framing_ = nullptr;
  answer_sink* sink_ = nullptr;
};

answer_writer::answer_writer() : server_(std::make_unique<server>()) {}
answer_writer::~answer_writer() = default;

bool answer_writer::write(const engine::answer& a, const answer_framing& framing, answer_sink& sink) {
  return a.stream ? server_->write(a, framing, sink) : write_whole(a, framing, sink);
}

}  // namespace millrace::http
