#include "http/prompt_text.hpp"

#include "http/dialects/json_members.hpp"

namespace millrace::http {

namespace {

using engine::route_kind;

/// Length of the escape that `written` begins with: a pair of surrogates is one character.
std::size_t escape_length(std::string_view written) {
  constexpr std::size_t lone = 6;
  if (written.substr(1, 1) != "u") return 2;
  const bool high = written.size() >= 2 * lone && (written[2] == 'd' || written[2] == 'D') &&
                    std::string_view("89abAB").find(written[3]) != std::string_view::npos;
  return high && written.substr(lone, 2) == "\\u" ? 2 * lone : lone;
}

/// The beginning of a string's inside, cut so that no escape is halved.
std::string_view cut(std::string_view written, std::size_t most) {
  if (written.size() <= most) return written;
  std::size_t end = 0;
  while (end < most) {
    const std::size_t length = written[end] == '\\' ? escape_length(written.substr(end)) : 1;
    if (length > most - end) break;
    end += length;
  }
  return written.substr(0, end);
}

class prompt_reader {
 public:
  prompt_reader(std::size_t most, std::string& out) : most_(most), out_(out) { out_.clear(); }

  void completions(json_literal body) {
    const json_members<1> top(body, {"prompt"});
    add_content(top[0]);
    append_said();
  }
  void messages(json_literal body, std::string_view list) {
    const json_members<1> top(body, {list});
    if (is_string(top[0])) {  // the Responses API takes a text in the place of a list
      add(top[0]);
      append_said();
      return;
    }
    each_element(top[0], [&](json_literal message, std::size_t) {
      const json_members<3> m(message, {"role", "content", "type"});
      if (m.is_object && (m[2].empty() || json_says(m[2], "message"))) turn(m[0], m[1]);
      return true;
    });
  }
  void contents(json_literal body) {
    const json_members<1> top(body, {"contents"});
    each_element(top[0], [&](json_literal content, std::size_t) {
      const json_members<2> c(content, {"role", "parts"});
      if (c.is_object) turn(c[0].empty() ? json_literal(R"("user")") : c[0], c[1]);
      return true;
    });
  }

 private:
  /// A user's words follow those before, unless somebody else spoke between.
  void turn(json_literal role, json_literal content) {
    if (json_says(role, "assistant") || json_says(role, "model")) answered_ = true;
    if (!json_says(role, "user")) return;
    said_.clear();
    add_content(content);
    if (said_.empty()) return;  // only what tools said, or pictures
    if (answered_) out_.clear();
    answered_ = false;
    append_said();
  }
  void append_said() {
    if (out_.size() >= most_) return;
    if (!out_.empty()) out_.push_back('\n');
    out_.append(said_, 0, most_ - out_.size());
  }
  /// A text, or a list of texts and of parts with a `text`.
  void add_content(json_literal content) {
    if (is_string(content)) add(content);
    each_element(content, [&](json_literal part, std::size_t) {
      if (is_string(part)) {
        add(part);
        return true;
      }
      const json_members<3> p(part, {"text", "type", "thought"});
      const bool words = p[1].empty() || json_says(p[1], "text") || json_says(p[1], "input_text");
      if (p.is_object && words && is_string(p[0])) add(p[0]);
      return said_.size() < most_;
    });
  }
  void add(json_literal text) {
    if (said_.size() >= most_) return;
    if (!said_.empty()) said_.push_back('\n');
    json_unescape(cut(inside(text), most_ - said_.size()), said_);
  }

  std::size_t most_;
  std::string& out_;
  std::string said_;  ///< in one message
  bool answered_ = false;
};

}  // namespace

bool has_prompt(route_kind route) {
  return route != route_kind::embeddings && route != route_kind::embed && route != route_kind::batch_embed;
}

void read_prompt(route_kind route, std::string_view body, std::size_t most_bytes, std::string& out) {
  prompt_reader reader(most_bytes, out);
  switch (route) {
    case route_kind::completions:
      reader.completions(body);
      return;
    case route_kind::chat:
    case route_kind::messages:
    case route_kind::count_tokens:
      reader.messages(body, "messages");
      return;
    case route_kind::responses:
      reader.messages(body, "input");
      return;
    case route_kind::generate:
      reader.contents(body);
      return;
    case route_kind::embeddings:
    case route_kind::embed:
    case route_kind::batch_embed:
      return;
  }
}

}  // namespace millrace::http
