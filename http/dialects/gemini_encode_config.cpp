#include "http/dialects/gemini_encode.hpp"

#include <algorithm>
#include <utility>

#include "http/dialects/gemini_thinking.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

class config_writer {
 public:
  config_writer(const chat_request& request, std::string_view model, std::string& out,
                std::vector<std::string>& dropped)
      : request_(request), model_(model), out_(out), dropped_(dropped) {}

  void write_tools();
  void write_config();

 private:
  void write_tool_choice();
  void write_format();
  void write_seed();
  void member(std::string_view name);
  void literal(std::string_view name, json_literal value);
  void drop(std::string_view name) { add_gemini_drop(name, dropped_); }

  const chat_request& request_;
  const std::string_view model_;
  std::string& out_;
  std::vector<std::string>& dropped_;
};

void config_writer::write_tools() {
  if (request_.tools.empty()) return;
  const char* separator = ",\"tools\":[{\"functionDeclarations\":[";
  for (const chat_tool& tool : request_.tools) {
    out_.append(std::exchange(separator, ",")).append("{\"name\":");
    json_quote(tool.name, out_);
    if (!tool.description.empty()) out_.append(",\"description\":").append(tool.description);
    if (!tool.parameters.empty()) out_.append(",\"parametersJsonSchema\":").append(tool.parameters);
    out_ += '}';
    if (tool.strict == true) drop("strict");
    if (!tool.cache_control.empty()) drop("cache_control");
  }
  out_ += "]}]";
  write_tool_choice();
}

void config_writer::write_tool_choice() {
  constexpr std::string_view before = ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":";
  switch (request_.tool_choice) {
    case tool_choice::unset:
      return;
    case tool_choice::automatic:
      out_.append(before).append("\"AUTO\"}}");
      return;
    case tool_choice::none:
      out_.append(before).append("\"NONE\"}}");
      return;
    case tool_choice::any:
      out_.append(before).append("\"ANY\"}}");
      return;
    case tool_choice::named:
      out_.append(before).append("\"ANY\",\"allowedFunctionNames\":[");
      json_quote(request_.chosen_tool, out_);
      out_ += "]}}";
      return;
  }
}

void config_writer::write_config() {
  const size_t before = out_.size();
  out_ += ",\"generationConfig\":{";
  const size_t empty = out_.size();
  if (request_.max_output_tokens >= 0) literal("maxOutputTokens", std::to_string(request_.max_output_tokens));
  literal("temperature", request_.temperature);
  literal("topP", request_.top_p);
  literal("topK", request_.top_k);
  literal("presencePenalty", request_.presence_penalty);
  literal("frequencyPenalty", request_.frequency_penalty);
  write_seed();
  if (!request_.stop.empty()) {
    member("stopSequences");
    for (const json_literal& stop : request_.stop)
      out_.append(&stop == request_.stop.data() ? "[" : ",").append(stop);
    out_ += ']';
  }
  write_format();
  const std::string thinking = gemini_thinking_config(request_, model_, dropped_);
  literal("thinkingConfig", thinking);
  if (out_.size() == empty) {
    out_.resize(before);
  } else {
    out_ += '}';
  }
}

void config_writer::write_format() {
  if (request_.format == answer_format::text) return;
  literal("responseMimeType", "\"application/json\"");
  if (request_.format == answer_format::schema) literal("responseJsonSchema", request_.schema);
}

/// Gemini's seeds have 32 bits.
void config_writer::write_seed() {
  if (request_.seed.empty()) return;
  std::int64_t seed = 0;
  const bool fits = json_integer(request_.seed, seed) && seed >= INT32_MIN && seed <= INT32_MAX;
  if (!fits) return drop("seed");
  literal("seed", request_.seed);
}

void config_writer::member(std::string_view name) {
  if (out_.back() != '{') out_ += ',';
  out_.append("\"").append(name).append("\":");
}

void config_writer::literal(std::string_view name, json_literal value) {
  if (value.empty()) return;
  member(name);
  out_ += value;
}

}  // namespace

void add_gemini_drop(std::string_view name, std::vector<std::string>& dropped) {
  if (std::find(dropped.begin(), dropped.end(), name) == dropped.end()) dropped.emplace_back(name);
}

void write_gemini_tools(const chat_request& request, std::string& out, std::vector<std::string>& dropped) {
  config_writer(request, {}, out, dropped).write_tools();
}

void write_gemini_config(const chat_request& request, std::string_view model, std::string& out,
                         std::vector<std::string>& dropped) {
  config_writer(request, model, out, dropped).write_config();
}

}  // namespace millrace::http
