#include "http/builtin/builtin_chat.hpp"

#include <algorithm>

#include "http/dialects/json_members.hpp"
#include "http/dialects/openai_chat.hpp"

namespace millrace::http {

namespace {

/// Names what of a request the builtin provider passes over.
class unmet_wishes {
 public:
  explicit unmet_wishes(std::vector<std::string>& dropped) : dropped_(dropped) {}

  void add(const chat_request& r) {
    add_tools(r);
    add_sampling(r);
    add(r.choices != 1, "n");
    add(r.logprobs, "logprobs");
    add(r.top_logprobs >= 0, "top_logprobs");
    add(!r.stop.empty(), "stop");
    const bool thinks = r.thinking == thinking_mode::on || !r.effort.empty();
    add(thinks && r.effort != "none", "reasoning_effort");
    add(!r.end_user.empty(), "user");
    for (const chat_message& m : r.messages) {
      add(m.role == chat_role::system, "system");
      add(m.parts);
    }
  }

 private:
  void add(bool wished, std::string_view name) {
    if (wished && std::find(dropped_.begin(), dropped_.end(), name) == dropped_.end())
      dropped_.emplace_back(name);
  }

  void add_tools(const chat_request& r) {
    add(!r.tools.empty() && r.tool_choice != tool_choice::none, "tools");
    add(r.tool_choice == tool_choice::any || r.tool_choice == tool_choice::named, "tool_choice");
  }

  void add_sampling(const chat_request& r) {
    add(!r.temperature.empty(), "temperature");
    add(!r.top_p.empty(), "top_p");
    add(!r.presence_penalty.empty() && !json_is_zero(r.presence_penalty), "presence_penalty");
    add(!r.frequency_penalty.empty() && !json_is_zero(r.frequency_penalty), "frequency_penalty");
    add(!r.seed.empty(), "seed");
  }

  void add(const std::vector<chat_part>& parts) {
    for (const chat_part& p : parts) {
      add(p.kind == part_kind::image, "image_url");
      add(p.kind == part_kind::document && p.text.empty(), "file");
      add(p.kind == part_kind::audio, "input_audio");
      add(p.result);
    }
  }

  std::vector<std::string>& dropped_;
};

class builtin_format final : public chat_provider_format {
 public:
  bool encode_request(const chat_request& request, const encode_options& options, std::string& out,
                      std::vector<std::string>& dropped, engine::api_error& error) const override {
    encode_options never_thinks = options;
    never_thinks.thinks = false;
    chat_request asked = request;
    asked.choices = 1;
    asked.logprobs = false;
    asked.top_logprobs = -1;
    if (!openai_chat().encode_request(asked, never_thinks, out, dropped, error)) return false;
    unmet_wishes(dropped).add(request);
    return true;
  }
  bool decode_answer(std::string_view body, chat_answer& out) const override {
    return openai_chat().decode_answer(body, out);
  }
  std::unique_ptr<delta_source> decode_stream() const override { return openai_chat().decode_stream(); }
  std::string decode_error(std::string_view body) const override { return openai_chat().decode_error(body); }
};

}  // namespace

const chat_provider_format& builtin_chat() {
  static const builtin_format format;
  return format;
}

}  // namespace millrace::http
