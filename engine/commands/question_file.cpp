#include "engine/commands/question_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "http/json_scan.hpp"

namespace millrace::commands {

namespace {

constexpr std::array<std::string_view, 3> routes = {"/v1/chat/completions", "/v1/completions",
                                                    "/v1/embeddings"};
constexpr std::size_t piece_bytes = 64u << 10;

bool blank(std::string_view text) {
  return http::json_trim(text).empty();
}

}  // namespace

question_file::question_file(std::string path)
    : path_(std::move(path)), file_(std::fopen(path_.c_str(), "rbe")) {
  if (!file_) fail("cannot open");
}

void question_file::fail(const char* what) const {
  throw std::runtime_error(std::string(what) + " " + path_ + ": " + std::generic_category().message(errno));
}

question_file::result question_file::next(question& out, std::string& why) {
  std::string text;
  bool too_long = false;
  {
    const std::lock_guard lock(mutex_);
    do {
      if (!read_line(text, too_long)) return result::end;
      out.line = ++line_;
    } while (!too_long && blank(text));
  }
  if (too_long) {
    why = "longer than 32 MiB, which no node takes: shorten it";
    return result::unreadable;
  }
  return read_question(text, out, why) ? result::question : result::unreadable;
}

/// False at the file's end.
bool question_file::read_line(std::string& text, bool& too_long) {
  text.clear();
  too_long = false;
  bool any = false;
  while (true) {
    const std::string_view rest = std::string_view(ahead_).substr(ahead_at_);
    const auto end = rest.find('\n');
    const auto piece = rest.substr(0, end);
    any = any || !rest.empty();
    too_long = too_long || text.size() + piece.size() > max_line_bytes;
    if (too_long) {
      std::string().swap(text);
    } else {
      text += piece;
    }
    ahead_at_ += piece.size();
    if (end != std::string_view::npos) {
      ++ahead_at_;
      return true;
    }
    ahead_.resize(piece_bytes);
    ahead_.resize(std::fread(ahead_.data(), 1, piece_bytes, file_.get()));
    ahead_at_ = 0;
    if (!ahead_.empty()) continue;
    if (std::ferror(file_.get())) fail("cannot read");
    return any;
  }
}

bool read_question(std::string_view line, question& out, std::string& why) {
  const std::string_view text = http::json_trim(line);
  http::json_scanner scan(text);
  const bool is_object = scan.enter_object();
  std::string_view key;
  std::string_view route;
  std::string_view body;
  while (is_object && scan.next_member(key)) {
    std::string_view* into = key == "route" ? &route : key == "body" ? &body : nullptr;
    const auto value = scan.value();
    if (into != nullptr) *into = value;
  }
  if (!is_object || !scan.at_end()) {
    why = "not a JSON object: write one request body per line, without line breaks inside";
    return false;
  }
  if (route.empty() && body.empty()) {
    out.route = routes.front();
    out.body = text;
    return true;
  }
  out.route = http::json_text(route);
  if (std::find(routes.begin(), routes.end(), out.route) == routes.end() || !body.starts_with('{')) {
    why =
        R"(write {"route": ROUTE, "body": {...}} with /v1/chat/completions, /v1/completions or /v1/embeddings)";
    return false;
  }
  out.body = body;
  return true;
}

}  // namespace millrace::commands
