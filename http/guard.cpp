#include "http/guard.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

namespace millrace::http {

namespace {

struct refusal_text {
  std::string_view code;
  int status;
};
constexpr std::array<refusal_text, refusals> refusal_texts{{{"bad_request", 400},
                                                            {"unknown_route", 404},
                                                            {"method_not_allowed", 405},
                                                            {"request_timeout", 408},
                                                            {"request_too_large", 413},
                                                            {"uri_too_long", 414},
                                                            {"expectation_failed", 417},
                                                            {"headers_too_large", 431},
                                                            {"internal_error", 500},
                                                            {"overloaded", 503},
                                                            {"http_version_not_supported", 505},
                                                            {"drain_timeout", 503}}};

constexpr size_t max_method_bytes = 32;

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

/// A set of byte values; the table makes the test a load.
using byte_set = std::array<bool, 256>;

template <class Predicate>
constexpr byte_set make_set(Predicate p) {
  byte_set set{};
  for (size_t i = 0; i < set.size(); ++i) set[i] = p(static_cast<char>(i));
  return set;
}

constexpr bool contains(std::string_view s, char c) {
  return s.find(c) != std::string_view::npos;
}

/// RFC 9110, 5.6.2: tchar.
constexpr auto token_bytes =
    make_set([](char c) { return is_digit(c) || is_alpha(c) || (c != 0 && contains("!#$%&'*+-.^_`|~", c)); });
/// RFC 9110, 5.5: field-content, HTAB and obs-text included.
constexpr auto value_bytes =
    make_set([](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); });
/// Visible ASCII without "#": targets carry no fragment.
constexpr auto target_bytes = make_set([](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
/// RFC 3986 reg-name. A comma would be allowed; here it stands for two Host fields joined by somebody.
constexpr auto host_bytes =
    make_set([](char c) { return is_digit(c) || is_alpha(c) || (c != 0 && contains("-._~!$&'()*+;=%", c)); });
constexpr auto address_bytes =
    make_set([](char c) { return is_digit(c) || is_alpha(c) || (c != 0 && contains(".:", c)); });

bool all_in(const byte_set& set, std::string_view s) {
  return std::ranges::all_of(s, [&](char c) { return set[static_cast<unsigned char>(c)]; });
}

bool valid_escapes(std::string_view s) {
  for (auto at = s.find('%'); at != std::string_view::npos; at = s.find('%', at + 3)) {
    if (at + 2 >= s.size() || hex_value(s[at + 1]) < 0 || hex_value(s[at + 2]) < 0) return false;
  }
  return true;
}

/// host [":" port]; the host is a name, an IPv4 address, or an IPv6 address in brackets. Empty is for the
/// caller.
bool valid_authority(std::string_view s) {
  auto host_end = s.find(':');
  if (s.starts_with('[')) {
    const auto bracket = s.find(']');
    if (bracket == std::string_view::npos || bracket < 2) return false;
    if (!all_in(address_bytes, s.substr(1, bracket - 1))) return false;
    host_end = bracket + 1;
  } else if (host_end == 0 || !all_in(host_bytes, s.substr(0, host_end)) ||
             !valid_escapes(s.substr(0, host_end))) {
    return false;
  }
  if (host_end >= s.size()) return true;
  const auto port = s.substr(host_end);
  return port[0] == ':' && port.size() <= 6 && std::ranges::all_of(port.substr(1), is_digit);
}

}  // namespace

std::string_view to_string(refusal r) {
  return refusal_texts[static_cast<size_t>(r)].code;
}
int status_of(refusal r) {
  return refusal_texts[static_cast<size_t>(r)].status;
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const auto l = to_lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

bool is_value_byte(char c) {
  return value_bytes[static_cast<unsigned char>(c)];
}

bool equals_lower(std::string_view any, std::string_view lower) {
  return any.size() == lower.size() &&
         std::ranges::equal(any, lower, [](char a, char l) { return to_lower(a) == l; });
}

std::string_view trim_field_value(std::string_view value) {
  const auto first = value.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return value.substr(first, value.find_last_not_of(" \t") - first + 1);
}

std::string_view field_line_fault(std::string_view line, size_t& colon) {
  if (line.starts_with(' ') || line.starts_with('\t')) return "header lines must not be folded";
  colon = line.find(':');
  if (colon == std::string_view::npos) return "a header line has no colon";
  if (colon == 0) return "a header line has no name";
  if (!all_in(token_bytes, line.substr(0, colon))) {
    return "a header name holds a character that is not allowed (white space before the colon included)";
  }
  if (!all_in(value_bytes, line.substr(colon + 1))) return "a header value holds a control character";
  return {};
}

void head_guard::reset() {
  fields_.clear();
  auto fields = std::move(fields_);
  *this = head_guard(limits_);
  fields_ = std::move(fields);
}

progress head_guard::advance(std::string_view bytes) {
  while (progress_ == progress::incomplete) {
    // The line's end is searched only as far as the limits reach, so that a limit is hit at the same byte
    // however the bytes were split. Two more bytes: CRLF.
    const auto end =
        headers_at_ == 0 ? line_ + limits_.request_line_bytes + 2 : headers_at_ + limits_.header_bytes + 2;
    const auto until = std::min(end, bytes.size());
    const auto* lf =
        until > scanned_ ? std::memchr(bytes.data() + scanned_, '\n', until - scanned_) : nullptr;
    if (lf == nullptr) {
      scanned_ = until;
      if (until < end) break;
      if (headers_at_ == 0) {
        refuse(refusal::uri_too_long, "the request line is too long; shorten the URL");
      } else {
        refuse(refusal::headers_too_large, "the headers are too large; send fewer or shorter ones");
      }
      break;
    }
    const auto at = static_cast<size_t>(static_cast<const char*>(lf) - bytes.data());
    if (at == line_ || bytes[at - 1] != '\r') {
      refuse(refusal::bad_request, "lines must end with CRLF");
      break;
    }
    const auto line = bytes.substr(line_, at - 1 - line_);
    line_ = scanned_ = at + 1;
    judge_line(bytes, line);
  }
  return progress_;
}

void head_guard::refuse(refusal reason, std::string_view message) {
  progress_ = progress::refused;
  fault_ = {reason, message};
}

void head_guard::judge_line(std::string_view bytes, std::string_view line) {
  if (headers_at_ != 0) {
    if (line.empty()) {
      judge_whole();
    } else {
      judge_field(bytes, line);
    }
  } else if (!line.empty()) {
    headers_at_ = line_;
    judge_request_line(bytes, line);
  } else if (std::exchange(blank_, true)) {
    // RFC 9112, 2.2 asks to ignore one empty line, as some clients send one behind a body.
    refuse(refusal::bad_request, "send a request line, not empty lines");
  }
}

void head_guard::judge_request_line(std::string_view bytes, std::string_view line) {
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos) {
    return refuse(refusal::bad_request, "the request line must be: METHOD target HTTP/1.1");
  }
  const auto method = line.substr(0, first);
  const auto target = line.substr(first + 1, second - first - 1);
  const auto version = line.substr(second + 1);
  const auto span_of = [&](std::string_view part) {
    return span{static_cast<std::uint32_t>(part.data() - bytes.data()),
                static_cast<std::uint32_t>(part.size())};
  };
  if (!judge_method(method) || !judge_version(version)) return;
  method_ = span_of(method);
  version_ = span_of(version);
  if (method == "CONNECT") return refuse(refusal::method_not_allowed, "CONNECT is not offered here");
  judge_target(bytes, target, method == "OPTIONS");
}

bool head_guard::judge_method(std::string_view method) {
  if (method.empty() || method.size() > max_method_bytes || !all_in(token_bytes, method) ||
      std::ranges::any_of(method, [](char c) { return c >= 'a' && c <= 'z'; })) {
    refuse(refusal::bad_request, "the method must be one word in upper case");
  }
  return progress_ != progress::refused;
}

bool head_guard::judge_version(std::string_view version) {
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    refuse(refusal::bad_request, "the request line must end with HTTP/1.1");
  } else if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    refuse(refusal::http_version_not_supported, "use HTTP/1.1");
  }
  old_ = version == "HTTP/1.0";
  return progress_ != progress::refused;
}

bool head_guard::judge_target(std::string_view bytes, std::string_view target, bool options) {
  if (target.empty() || !all_in(target_bytes, target) || !valid_escapes(target)) {
    refuse(refusal::bad_request, "the target holds characters that must be percent-encoded");
    return false;
  }
  auto rest = target;
  if (target[0] != '/' && !(target == "*" && options)) {
    const auto scheme_end = target.find("://");
    const auto scheme = target.substr(0, scheme_end);
    if (scheme_end == std::string_view::npos ||
        !(equals_lower(scheme, "http") || equals_lower(scheme, "https"))) {
      refuse(refusal::bad_request, "the target must begin with a slash");
      return false;
    }
    const auto authority_at = scheme_end + 3;
    const auto authority_end = std::min(target.find_first_of("/?", authority_at), target.size());
    const auto authority = target.substr(authority_at, authority_end - authority_at);
    if (authority.empty() || !valid_authority(authority)) {
      refuse(refusal::bad_request, "the target's host is not valid");
      return false;
    }
    rest = target.substr(authority_end);
    root_ = rest.empty() || rest[0] == '?';
  }
  const auto at = static_cast<std::uint32_t>(rest.data() - bytes.data());
  const auto mark = std::min(rest.find('?'), rest.size());
  path_ = {at, static_cast<std::uint32_t>(mark)};
  if (mark < rest.size()) {
    query_ = {static_cast<std::uint32_t>(at + mark + 1), static_cast<std::uint32_t>(rest.size() - mark - 1)};
  }
  return true;
}

void head_guard::judge_field(std::string_view bytes, std::string_view line) {
  if (fields_.size() >= limits_.header_lines) {
    return refuse(refusal::headers_too_large, "there are too many header lines; send fewer");
  }
  size_t colon = 0;
  if (const auto what = field_line_fault(line, colon); !what.empty())
    return refuse(refusal::bad_request, what);
  const auto at = static_cast<size_t>(line.data() - bytes.data());
  const auto value = trim_field_value(line.substr(colon + 1));
  const auto value_at = value.empty() ? at + colon + 1 : static_cast<size_t>(value.data() - bytes.data());
  fields_.push_back({{static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(colon)},
                     {static_cast<std::uint32_t>(value_at), static_cast<std::uint32_t>(value.size())}});
  note(bytes, line.substr(0, colon), value);
}

/// Keeps what framing, the connection and the client's identity depend on.
void head_guard::note(std::string_view bytes, std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 4:
      if (!equals_lower(name, "host")) return;
      if (++hosts_ > 1 || (!value.empty() && !valid_authority(value))) {
        refuse(refusal::bad_request, "send exactly one valid Host header");
      }
      return;
    case 6:
      if (!equals_lower(name, "expect")) return;
      if (!equals_lower(value, "100-continue")) {
        return refuse(refusal::expectation_failed, "the only expectation that can be met is 100-continue");
      }
      expect_ = true;
      return;
    case 9:
      if (equals_lower(name, "x-api-key")) note_credential(bytes, "x-api-key", 1, value);
      return;
    case 10:
      if (equals_lower(name, "connection")) note_connection(value);
      return;
    case 13:
      if (equals_lower(name, "authorization")) note_credential(bytes, "authorization", 2, value);
      return;
    case 14:
      if (equals_lower(name, "content-length")) return note_length(value);
      if (equals_lower(name, "x-goog-api-key")) note_credential(bytes, "x-goog-api-key", 4, value);
      return;
    case 17:
      if (!equals_lower(name, "transfer-encoding")) return;
      if (++codings_ > 1 || !equals_lower(value, "chunked")) {
        refuse(refusal::bad_request, "the only transfer coding that is accepted is chunked, once");
      }
      return;
    default:
      return;
  }
}

/// Two different keys name two clients: which of them counts is nothing to be guessed.
void head_guard::note_credential(std::string_view bytes, std::string_view lower_name, std::uint8_t mark,
                                 std::string_view value) {
  const bool again = (credentials_ & mark) != 0;
  credentials_ |= mark;
  if (!again) return;
  const auto view = [&](span s) { return bytes.substr(s.offset, s.length); };
  for (const auto& f : fields_) {
    if (equals_lower(view(f.name), lower_name) && view(f.value) != value) {
      return refuse(refusal::bad_request, "two credentials are given in headers of one name; send one");
    }
  }
}

void head_guard::note_length(std::string_view value) {
  const auto* end = value.data() + value.size();
  const auto digits = !value.empty() && std::ranges::all_of(value, is_digit);
  if (++lengths_ > 1 || !digits || std::from_chars(value.data(), end, length_).ec != std::errc{}) {
    refuse(refusal::bad_request, "send exactly one Content-Length, a decimal number");
  }
}

void head_guard::note_connection(std::string_view value) {
  while (!value.empty()) {
    const auto comma = std::min(value.find(','), value.size());
    const auto option = trim_field_value(value.substr(0, comma));
    if (equals_lower(option, "close")) close_ = true;
    if (equals_lower(option, "keep-alive")) keep_ = true;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
}

void head_guard::judge_whole() {
  if (hosts_ == 0 && !old_) return refuse(refusal::bad_request, "send exactly one valid Host header");
  if (codings_ != 0 && lengths_ != 0) {
    return refuse(refusal::bad_request, "send either Content-Length or Transfer-Encoding, not both");
  }
  if (codings_ != 0 && old_)
    return refuse(refusal::bad_request, "HTTP/1.0 has no chunked bodies; use HTTP/1.1");
  progress_ = progress::complete;
}

request_head head_guard::take(std::string& storage, std::vector<header_field>& fields) const {
  const auto view = [&](span s) { return std::string_view(storage).substr(s.offset, s.length); };
  fields.clear();
  for (const auto& f : fields_) {
    auto* name = storage.data() + f.name.offset;
    std::transform(name, name + f.name.length, name, to_lower);
    fields.push_back({view(f.name), view(f.value)});
  }
  request_head head;
  head.method = view(method_);
  head.path = root_ ? std::string_view("/") : view(path_);
  head.query = view(query_);
  head.version = old_ ? "HTTP/1.0" : "HTTP/1.1";
  head.fields = fields;
  if (codings_ != 0) head.framing = framing::chunked;
  if (lengths_ != 0) head.framing = framing::length;
  head.content_length = length_;
  head.keep_alive = !close_ && (!old_ || keep_);
  head.expect_continue = expect_ && !old_;
  return head;
}

}  // namespace millrace::http
