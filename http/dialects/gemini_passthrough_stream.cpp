#include "http/dialects/gemini_passthrough_stream.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "http/dialects/gemini_chunk.hpp"
#include "http/event_reader.hpp"

namespace millrace::http {
namespace {

/// Most candidates that are followed; Gemini has 8 at most.
constexpr size_t max_candidates = 64;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

class gemini_stream final : public event_reader {
 public:
  using event_reader::event_reader;
  state end(std::string& out) override;

 private:
  void take(std::string& out) override;
  void take_bare(std::string& out);
  void follow();
  void write(std::string_view payload, std::string& out) const;

  std::vector<gemini_candidate> candidates_;  ///< by the order they came in
  bool blocked_ = false;
  gemini_chunk chunk_;  ///< of the event being read
};

void gemini_stream::take(std::string& out) {
  const std::string_view payload = sse_payload(event_, joined_);
  if (json_trim(payload).empty()) return take_bare(out);
  if (!read_gemini_chunk(payload, chunk_))
    return fail("The provider sent an event that is not a JSON object.");
  if (!chunk_.error.empty()) {
    const gemini_error e = read_gemini_error(chunk_.error);
    return fail(e.message.empty() ? chunk_.error : e.message, status_of_gemini_error(e));
  }
  follow();
  if (state_ != state::failed) write(payload, out);
}

/// Google writes an error into a stream as plain JSON, too.
void gemini_stream::take_bare(std::string& out) {
  const std::string_view text = json_trim(event_.raw);
  gemini_error e;
  const bool bare = !text.empty() && (text.front() == '{' || text.front() == '[');
  if (bare && read_gemini_error_body(text, e))
    return fail(e.message.empty() ? text : e.message, status_of_gemini_error(e));
  out.append(event_.raw);
}

void gemini_stream::follow() {
  if (chunk_.any_usage) used_ = chunk_.used;
  blocked_ = blocked_ || chunk_.blocked;
  bool says = chunk_.blocked;
  for (const gemini_candidate& c : chunk_.candidates) {
    says = says || c.says;  // that it ended may be said in every chunk, the first empty one included
    const auto there = std::find_if(candidates_.begin(), candidates_.end(),
                                    [&](const gemini_candidate& other) { return other.index == c.index; });
    if (there != candidates_.end()) {
      there->ended = there->ended || c.ended;
    } else if (candidates_.size() < max_candidates) {
      candidates_.push_back(c);
    } else {
      return fail("The provider sent more candidates than can be followed.");
    }
  }
  if (says && state_ == state::preamble) state_ = state::content;
}

/// Some models give a reason to finish in every chunk, and usage may come behind it: the last one is not
/// known before.
gemini_stream::state gemini_stream::end(std::string& out) {
  event_reader::end(out);
  const bool all_ended = !candidates_.empty() && std::all_of(candidates_.begin(), candidates_.end(),
                                                             [](const auto& c) { return c.ended; });
  if (state_ != state::failed && !is_cut() && (all_ended || blocked_)) state_ = state::done;
  return state_;
}

void gemini_stream::write(std::string_view payload, std::string& out) const {
  const std::string_view version = chunk_.model_version;
  if (version.empty() || version == model_) {
    out.append(event_.raw);
    return;
  }
  const auto offset = static_cast<size_t>(version.data() - payload.data());
  replace_in_event(event_, offset, version.size(), model_, out);
}

}  // namespace

std::unique_ptr<engine::stream_reader> read_gemini_stream(std::string_view client_model) {
  return std::make_unique<gemini_stream>(client_model);
}

bool gemini_refuses_key(const gemini_error& e) {
  return e.reason == "API_KEY_INVALID" || e.reason == "API_KEY_EXPIRED";
}

int status_of_gemini_error(const gemini_error& e) {
  if (gemini_refuses_key(e)) return 401;
  if (gemini_speaks_of_credit(e, {})) return 402;
  return e.code >= 400 && e.code < 600 ? static_cast<int>(e.code) : 0;
}

bool gemini_speaks_of_credit(const gemini_error& e, std::string_view request) {
  if (e.reason == "BILLING_DISABLED") return true;
  // Rate limits name their quota and advise to look at billing; they pass by themselves.
  if (e.quota_failure || !e.retry_delay.empty()) return false;
  constexpr std::array<std::string_view, 5> wordings = {"credits are depleted", "spending cap",
                                                        "enable billing", "billing account", "prepayment"};
  const std::string message = lower(e.message);
  const std::string asked = lower(request);
  // What the request itself says may only be quoted: no client may talk a key into quarantine.
  return std::any_of(wordings.begin(), wordings.end(), [&](std::string_view wording) {
    return message.find(wording) != std::string::npos && asked.find(wording) == std::string::npos;
  });
}

bool replay_gemini_answer(std::string_view answer, std::string& out) {
  out.clear();
  gemini_chunk chunk;
  if (!valid_utf8(answer) || !read_gemini_chunk(answer, chunk) || !chunk.error.empty()) return false;
  const bool ended =
      !chunk.candidates.empty() &&
      std::all_of(chunk.candidates.begin(), chunk.candidates.end(), [](const auto& c) { return c.ended; });
  if (!ended && !(chunk.blocked && chunk.candidates.empty())) return false;
  out.reserve(answer.size() + 16);
  out = "data: ";
  // In JSON, line ends only stand between values, where a space does as well; here they would end the event.
  for (const char c : json_trim(answer)) out.push_back(c == '\n' || c == '\r' ? ' ' : c);
  out += "\r\n\r\n";
  return true;
}

}  // namespace millrace::http
