#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "http/delta_merge.hpp"
#include "http/dialects/json_members.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/openai_answer.hpp"
#include "http/sse.hpp"

namespace millrace::http {

namespace {

using kind = chat_delta::kind;
using delta_handler = std::function<void(const chat_delta&)>;

/// Keeps what one chunk's texts unescape to.
struct chunk_texts {
  std::deque<std::string> texts;
  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

/// A call of the answer, as the provider names it; of its id and name the hashes, 0 for none. Some say the id
/// first and the name in a later piece.
struct begun_call {
  std::int64_t index = no_index;
  std::size_t id = 0;
  std::size_t name = 0;   ///< 0: not said yet, nor is the call
  std::string untold_id;  ///< until then
  static constexpr std::int64_t no_index = -1;
};

std::size_t hash_of(std::string_view text) {
  return text.empty() ? 0 : std::hash<std::string_view>()(text);
}

class openai_source final : public delta_source {
 public:
  bool feed(std::string_view bytes, const delta_handler& sink) override;
  void end(const delta_handler& sink) override { feed(splitter_.lacking(), sink); }

 private:
  bool take(std::string_view payload, const delta_handler& sink);
  void take_choice(json_literal literal, chunk_texts& texts, const delta_handler& sink);
  void take_call(json_literal literal, chunk_texts& texts, const delta_handler& sink);
  std::int64_t call_of(std::int64_t index, std::size_t id, std::size_t name) const;
  void fail(json_literal error, const delta_handler& sink);

  sse_splitter splitter_;
  sse_event event_;
  std::string joined_;
  bool started_ = false;
  bool over_ = false;
  bool broken_ = false;
  std::vector<begun_call> calls_;
  std::string failure_;
  bool failing_ = false;  ///< the answer said that it failed; what it used is told behind that
};

bool openai_source::feed(std::string_view bytes, const delta_handler& sink) {
  if (over_ || broken_) return !broken_;
  splitter_.feed(bytes);
  while (!over_) {
    const auto found = splitter_.next(event_);
    if (found == sse_splitter::result::more) return true;
    const std::string_view payload =
        found == sse_splitter::result::event ? json_trim(sse_payload(event_, joined_)) : std::string_view();
    broken_ = found == sse_splitter::result::too_large || (!payload.empty() && !take(payload, sink));
    if (broken_) return false;
  }
  return true;
}

bool openai_source::take(std::string_view payload, const delta_handler& sink) {
  if (payload == "[DONE]") {
    over_ = true;
    if (failing_) {
      sink({.what = kind::error, .message = failure_});
    } else {
      sink({.what = kind::done});
    }
    return true;
  }
  json_scanner whole(payload);
  if (whole.peek() != '{' || whole.value().empty() || !whole.at_end()) return false;
  const json_members<5> chunk(payload, {"id", "choices", "usage", "error", "object"});
  if (!chunk[3].empty()) {
    fail(chunk[3], sink);
    return true;
  }
  // vLLM's errors are such objects.
  if (event_.name == "error" || json_says(chunk[4], "error")) {
    fail(payload, sink);
    return true;
  }
  chunk_texts texts;
  if (!std::exchange(started_, true)) sink({.what = kind::start, .id = text_of(chunk[0], texts)});
  each_element(chunk[1], [&](json_literal choice, std::size_t) {
    if (!failing_) take_choice(choice, texts, sink);
    return true;
  });
  chat_delta d{.what = kind::usage};
  json_scanner usage(chunk[2]);
  if (!chunk[2].empty()) read_openai_usage(usage, d.used);
  if (d.used.known) sink(d);
  if (failure_.empty() || failing_) return true;
  over_ = true;
  sink({.what = kind::error, .message = failure_});
  return true;
}

void openai_source::take_choice(json_literal literal, chunk_texts& texts, const delta_handler& sink) {
  const json_members<3> choice(literal, {"index", "delta", "finish_reason"});
  if (!choice[0].empty() && choice[0] != "0") return;
  const json_members<5> delta(choice[1],
                              {"content", "refusal", "reasoning_content", "reasoning", "tool_calls"});
  const auto say = [&sink](kind what, json_literal text) {
    if (is_string(text) && text.size() > 2) sink({.what = what, .text = text});
  };
  say(kind::thinking, delta[2].empty() ? delta[3] : delta[2]);
  say(kind::text, delta[0]);
  each_openai_part(delta[0], [&say](part_kind part, json_literal text) {
    say(part == part_kind::thinking ? kind::thinking : kind::text, text);
  });
  say(kind::refusal, delta[1]);
  each_element(delta[4], [&](json_literal call, std::size_t) {
    take_call(call, texts, sink);
    return true;
  });
  if (is_failing_reason(choice[2])) {
    failing_ = true;
    failure_ = "The provider ended its answer for the reason " + std::string(choice[2]) + ".";
    return;
  }
  const auto finish = read_openai_finish(inside(choice[2]), !calls_.empty());
  if (finish != finish_reason::none) sink({.what = kind::finish, .finish = finish});
}

void openai_source::take_call(json_literal literal, chunk_texts& texts, const delta_handler& sink) {
  const json_members<3> call(literal, {"index", "id", "function"});
  const json_members<2> function(call[2], {"name", "arguments"});
  std::int64_t index = begun_call::no_index;
  json_integer(is_string(call[0]) ? inside(call[0]) : call[0], index);
  chat_delta d{.what = kind::tool_call};
  d.id = text_of(call[1], texts);
  d.name = text_of(function[0], texts);
  const std::size_t id = hash_of(d.id);
  const std::size_t name = hash_of(d.name);
  d.index = call_of(index, id, name);
  const bool begins = d.index == static_cast<std::int64_t>(calls_.size());
  if (d.index < 0 || (begins && calls_.size() == max_merged_parts)) {
    failure_ = d.index < 0 ? "The provider sent a piece of a call that had not begun."
                           : "The provider's answer calls more tools than can be followed.";
    return;
  }
  if (begins) {
    const auto same_id = [id](const begun_call& c) { return c.id == id; };
    if (id != 0 && std::any_of(calls_.begin(), calls_.end(), same_id))
      d.id = texts.keep(std::string(d.id) + "_" + std::to_string(d.index));
    calls_.push_back({index, id, 0, std::string(d.id)});
  }
  begun_call& begun = calls_[static_cast<std::size_t>(d.index)];
  if (begun.name == 0 && name != 0) {
    begun.name = name;
    const std::string first_id = std::exchange(begun.untold_id, {});
    if (!first_id.empty()) d.id = texts.keep(first_id);
    sink(d);
  }
  std::string_view arguments = function[1];
  // Some have the object itself here, not its text.
  if (!arguments.empty() && arguments.front() == '{') {
    std::string text;
    json_quote(arguments, text);
    arguments = texts.keep(std::move(text));
  }
  if (!is_string(arguments) || arguments.size() <= 2) return;
  if (begun.name == 0) {
    failure_ = "The provider sent arguments of a call without a name.";
    return;
  }
  d.what = kind::tool_arguments;
  d.text = arguments;
  sink(d);
}

/// Which call a piece belongs to: the number of calls, where it begins another; -1, where that cannot be
/// told. Most tell it by an index. Some leave it out. Ollama says the same one for all calls, and their ids
/// or names tell them apart. Others say name and id again in every piece, or a new id.
std::int64_t openai_source::call_of(std::int64_t index, std::size_t id, std::size_t name) const {
  const auto next = static_cast<std::int64_t>(calls_.size());
  const auto same = [&](const begun_call& c) {
    if (index != begun_call::no_index && name == 0) return c.index == index;
    const bool agrees = (id == 0 || c.id == 0 || c.id == id) && (name == 0 || c.name == 0 || c.name == name);
    return agrees && (index != begun_call::no_index ? c.index == index : id != 0 && c.id == id);
  };
  const auto known = std::find_if(calls_.rbegin(), calls_.rend(), same);
  if (known != calls_.rend()) return calls_.rend() - known - 1;
  return name != 0 || index != begun_call::no_index ? next : next - 1;
}

void openai_source::fail(json_literal error, const delta_handler& sink) {
  over_ = true;
  const provider_error e = read_openai_error(error);
  sink({.what = kind::error, .message = e.message, .status = status_of(e)});
}

class openai_sink final : public delta_sink {
 public:
  openai_sink(const encode_options& options, bool include_usage)
      : include_usage_(include_usage), now_(options.now) {
    json_quote(options.model, model_);
  }
  void put(const chat_delta& d, std::string& out) override;

 private:
  void begin(std::string_view id);
  void chunk(std::string_view delta, json_literal text, std::string_view close, std::string& out) const;
  void call(const chat_delta& d, std::string& out) const;
  void end(std::string& out) const;

  const bool include_usage_;
  const std::int64_t now_;
  std::string model_;   ///< as a JSON literal
  std::string prefix_;  ///< of every chunk, up to its choices
  engine::usage used_;
};

void openai_sink::begin(std::string_view id) {
  prefix_ = "data: {\"id\":";
  json_quote(id.empty() ? "chatcmpl-0" : id, prefix_);
  prefix_.append(R"(,"object":"chat.completion.chunk","created":)").append(std::to_string(now_));
  prefix_.append(",\"model\":").append(model_);
}

void openai_sink::chunk(std::string_view delta, json_literal text, std::string_view close,
                        std::string& out) const {
  out.append(prefix_).append(R"(,"choices":[{"index":0,"delta":{)").append(delta).append(text).append(close);
  out += "},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
}

void openai_sink::put(const chat_delta& d, std::string& out) {
  if (prefix_.empty()) begin(d.what == kind::start ? d.id : std::string_view());
  switch (d.what) {
    case kind::start:
      return chunk(R"("role":"assistant","content":"")", {}, {}, out);
    case kind::text:
      return chunk("\"content\":", d.text, {}, out);
    case kind::refusal:
      return chunk("\"refusal\":", d.text, {}, out);
    case kind::thinking:
      return chunk("\"reasoning_content\":", d.text, {}, out);
    case kind::tool_call:
      return call(d, out);
    case kind::tool_arguments:
      return chunk(R"("tool_calls":[{"index":)" + std::to_string(d.index) + R"(,"function":{"arguments":)",
                   d.text, "}}]", out);
    case kind::usage:
      used_ = d.used;
      return;
    case kind::finish:
      out.append(prefix_).append(R"(,"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":")");
      out.append(openai_finish_word(d.finish)).append("\"}]}\n\n");
      return;
    case kind::done:
      return end(out);
    case kind::signature:
    case kind::sealed_thinking:
    case kind::error:
      return;
  }
}

void openai_sink::call(const chat_delta& d, std::string& out) const {
  std::string text = R"("tool_calls":[{"index":)" + std::to_string(d.index) + ",\"id\":";
  json_quote(d.id.empty() ? "call_" + std::to_string(d.index + 1) : std::string(d.id), text);
  text += R"(,"type":"function","function":{"name":)";
  json_quote(d.name, text);
  chunk(text, R"(,"arguments":"")", "}}]", out);
}

void openai_sink::end(std::string& out) const {
  if (include_usage_) {
    out.append(prefix_).append(R"(,"choices":[],"usage":)");
    write_openai_usage(used_, out);
    out += "}\n\n";
  }
  out += "data: [DONE]\n\n";
}

class openai_format final : public chat_format {
 public:
  bool decode_request(std::string_view body, chat_request& out, engine::api_error& error) const override {
    return decode_openai_request(body, out, error);
  }
  void encode_answer(const chat_answer& answer, const encode_options& options,
                     std::string& out) const override {
    encode_openai_answer(answer, options, out);
  }
  std::unique_ptr<delta_sink> encode_stream(const encode_options& options,
                                            bool include_usage) const override {
    return encode_openai_stream(options, include_usage);
  }
  bool encode_request(const chat_request& request, const encode_options& options, std::string& out,
                      std::vector<std::string>& dropped, engine::api_error& error) const override {
    return encode_openai_chat(request, options, out, dropped, error);
  }
  bool decode_answer(std::string_view body, chat_answer& out) const override {
    return decode_openai_answer(body, out);
  }
  std::unique_ptr<delta_source> decode_stream() const override { return decode_openai_stream(); }
  std::string decode_error(std::string_view body) const override {
    json_scanner whole(body);
    if (whole.peek() != '{' || whole.value().empty() || !whole.at_end()) return {};
    const json_members<2> error(body, {"error", "message"});
    const provider_error e = read_openai_error(error[0].empty() ? body : error[0]);
    return e.message;
  }
};

}  // namespace

std::unique_ptr<delta_source> decode_openai_stream() {
  return std::make_unique<openai_source>();
}

std::unique_ptr<delta_sink> encode_openai_stream(const encode_options& options, bool include_usage) {
  return std::make_unique<openai_sink>(options, include_usage);
}

const chat_format& openai_chat() {
  static const openai_format format;
  return format;
}

}  // namespace millrace::http
