#include "http/openai_stream.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "http/event_reader.hpp"
#include "http/json_scan.hpp"
#include "http/openai_answer.hpp"

namespace millrace::http {
namespace {

class openai_stream final : public event_reader {
 public:
  openai_stream(std::string_view client_model, bool client_wants_usage)
      : event_reader(client_model), wants_usage_(client_wants_usage) {}

 private:
  /// A part of the payload to be replaced.
  struct edit {
    size_t offset = 0;
    size_t length = 0;
    std::string_view text;
  };

  void take(std::string& out) override;
  bool read_chunk(std::string_view payload);
  void read_choices(json_scanner& scanner);
  void read_choice(json_scanner& scanner);
  void read_delta(json_scanner& scanner);
  void write_edited(std::string_view payload, std::string& out) const;
  void fail_with(std::string_view error_value);

  const bool wants_usage_;
  bool dropped_ = false;  ///< the block before was left out
  std::string failing_;   ///< the answer said that it failed; what it used is told behind that

  // The block being read. Kept as members for their memory.
  std::vector<edit> edits_;
  std::string_view error_;    ///< value of `error` as written
  bool is_error_ = false;     ///< the chunk calls itself one, as vLLM's do
  bool no_choices_ = false;   ///< `choices` is there and empty
  bool whole_usage_ = false;  ///< `usage` is there and not null
};

void openai_stream::take(std::string& out) {
  if (event_.tail && dropped_) return;
  dropped_ = false;
  const std::string_view text = sse_payload(event_, joined_);
  const std::string_view content = json_trim(text);
  if (content.empty()) {
    out.append(event_.raw);
    return;
  }
  if (content == "[DONE]") {
    if (!failing_.empty()) return fail(failing_);
    if (state_ == state::preamble) return fail(ended_unsaid);
    out.append(event_.raw);
    state_ = state::done;
    return;
  }
  const bool error_event = event_.name == "error";
  const state before = state_;
  const bool is_json = read_chunk(text);
  if (!error_.empty()) return fail_with(error_);
  if (error_event) return is_json ? fail_with(content) : fail(content);
  if (!is_json) return fail("The provider sent an event that is not a JSON object.");
  if (is_error_) return fail_with(content);
  if (const auto reason = failing_reason_in(content); !reason.empty())
    failing_ = "The provider ended its answer for the reason " + std::string(reason) + ".";
  if (!failing_.empty()) {
    state_ = before;
    return;
  }
  dropped_ = no_choices_ && whole_usage_ && !wants_usage_;
  if (!dropped_) write_edited(text, out);
}

/// Reads one chunk and notes the edits it needs, in order; false when it is not a JSON object.
bool openai_stream::read_chunk(std::string_view payload) {
  edits_.clear();
  error_ = {};
  is_error_ = no_choices_ = whole_usage_ = false;
  json_scanner scanner(payload);
  if (!scanner.enter_object()) return false;
  const auto offset_of = [&](std::string_view value) {
    return static_cast<size_t>(value.data() - payload.data());
  };
  bool removed = false;  // `usage` is removed at most once: a second one would need the first one's comma
  size_t leading = 0;    // offset of a removed first member whose comma is yet to come
  bool has_leading = false;
  size_t before = 0;  // end of the member before
  std::string_view key;
  for (bool first = true; scanner.next_member(key); first = false) {
    const size_t start = scanner.key_offset();
    if (std::exchange(has_leading, false)) edits_.push_back({leading, start - leading, {}});
    if (key == "choices") {
      read_choices(scanner);
    } else if (key == "usage" && scanner.peek() != 'n') {
      whole_usage_ = true;
      read_openai_usage(scanner, used_);
    } else {
      const bool is_model = key == "model";
      const bool is_usage = key == "usage";
      const bool is_error = key == "error";
      const bool is_object = key == "object";
      const std::string_view value = scanner.value();
      if (is_object) is_error_ = value == "\"error\"";
      if (is_error && value != "null") error_ = value;
      if (is_model && value != model_) edits_.push_back({offset_of(value), value.size(), model_});
      if (is_usage && !wants_usage_ && !std::exchange(removed, true)) {
        leading = start;
        has_leading = first;
        if (!first) edits_.push_back({before, scanner.offset() - before, {}});
      }
    }
    before = scanner.offset();
  }
  if (has_leading) edits_.push_back({leading, before - leading, {}});
  return scanner.at_end();
}

void openai_stream::read_choices(json_scanner& scanner) {
  if (!scanner.enter_array()) {
    scanner.value();
    return;
  }
  no_choices_ = true;
  while (scanner.next_element()) {
    no_choices_ = false;
    if (state_ == state::preamble && scanner.enter_object()) {
      read_choice(scanner);
    } else {
      scanner.value();
    }
  }
}

void openai_stream::read_choice(json_scanner& scanner) {
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "delta" && scanner.enter_object()) {
      read_delta(scanner);
      continue;
    }
    const bool tells = key == "finish_reason" || key == "text";
    const std::string_view value = scanner.value();
    if (tells && !json_is_blank(value)) state_ = state::content;
  }
}

void openai_stream::read_delta(json_scanner& scanner) {
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool is_role = key == "role";
    const std::string_view value = scanner.value();
    if (!is_role && !json_is_blank(value)) state_ = state::content;
  }
}

/// Copies the block with the edits applied. They are offsets in the joined payload; each is carried out on
/// every line it touches, so that the framing of a payload spread over several `data` lines stays as it is.
void openai_stream::write_edited(std::string_view payload, std::string& out) const {
  size_t copied = 0;  // of the block
  size_t begin = 0;   // of the line in the payload
  auto next = edits_.begin();
  for (const auto& line : event_.data) {
    if (next == edits_.end()) break;
    out.append(event_.raw, copied, line.offset - copied);
    const size_t end = begin + line.length;
    size_t at = begin;
    while (next != edits_.end() && next->offset < end) {
      if (next->offset >= begin) {
        out.append(payload, at, next->offset - at).append(next->text);
      }
      at = std::min(next->offset + next->length, end);
      if (next->offset + next->length > end) break;
      ++next;
    }
    out.append(payload, at, end - at);
    copied = line.offset + line.length;
    begin = end + 1;
  }
  out.append(event_.raw, copied);
}

void openai_stream::fail_with(std::string_view error_value) {
  const provider_error e = read_openai_error(error_value);
  fail(e.message.empty() ? error_value : e.message, status_of(e));
}

}  // namespace

std::unique_ptr<engine::stream_reader> read_openai_stream(std::string_view client_model,
                                                          bool client_wants_usage) {
  return std::make_unique<openai_stream>(client_model, client_wants_usage);
}

}  // namespace millrace::http
