#include <algorithm>
#include <array>

#include "http/dialects/gemini_decode.hpp"
#include "http/dialects/gemini_schema.hpp"

namespace millrace::http {
namespace {

void drop(chat_request& out, std::string_view name) {
  if (std::find(out.dropped.begin(), out.dropped.end(), name) == out.dropped.end())
    out.dropped.emplace_back(name);
}

template <size_t N>
bool is_any(std::string_view key, const std::array<std::string_view, N>& fields) {
  return std::any_of(fields.begin(), fields.end(), [key](auto field) { return is_gemini_field(key, field); });
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// Consumes a `Schema` and gives it as plain JSON schema; notes in `out` what that cannot say.
bool read_schema(gemini_reader& reader, std::string_view field, chat_request& out, json_literal& into) {
  json_literal schema;
  if (!reader.object(field, schema)) return false;
  std::string converted;
  bool unordered = false;
  if (!gemini_schema_to_json_schema(schema, converted, unordered))
    return reader.wrong_type(field, "a Schema");
  if (unordered) drop(out, "propertyOrdering");
  into = reader.keep(std::move(converted));
  return true;
}

class config_reader {
 public:
  config_reader(gemini_reader& reader, chat_request& out) : reader_(reader), out_(out) {}

  bool read() {
    reader_.place = {"generationConfig", -1, {}, -1};
    const bool fine = reader_.members({}, [this](std::string_view key) { return read_member(key); });
    return fine && judge_format();
  }

 private:
  bool read_member(std::string_view key);
  bool read_sampling(std::string_view key, bool& known);
  bool read_stops();
  bool read_modalities();
  bool read_thinking();
  bool judge_format();

  gemini_reader& reader_;
  chat_request& out_;
  std::string_view mime_type_ = "text/plain";
};

bool config_reader::read_sampling(std::string_view key, bool& known) {
  struct number_field {
    std::string_view name;
    json_literal chat_request::*into;
  };
  constexpr std::array<number_field, 6> numbers = {{{"temperature", &chat_request::temperature},
                                                    {"topP", &chat_request::top_p},
                                                    {"topK", &chat_request::top_k},
                                                    {"presencePenalty", &chat_request::presence_penalty},
                                                    {"frequencyPenalty", &chat_request::frequency_penalty},
                                                    {"seed", &chat_request::seed}}};
  for (const auto& [name, into] : numbers) {
    if (is_gemini_field(key, name)) return reader_.number(name, out_.*into);
  }
  if (is_gemini_field(key, "maxOutputTokens"))
    return reader_.integer("maxOutputTokens", out_.max_output_tokens);
  if (is_gemini_field(key, "candidateCount")) return reader_.integer("candidateCount", out_.choices);
  if (key == "logprobs") return reader_.integer("logprobs", out_.top_logprobs);
  if (is_gemini_field(key, "responseLogprobs")) {
    std::optional<bool> wanted;
    const bool fine = reader_.boolean("responseLogprobs", wanted);
    out_.logprobs = wanted.value_or(false);
    return fine;
  }
  known = false;
  return true;
}

bool config_reader::read_member(std::string_view key) {
  constexpr std::array<std::string_view, 2> hints = {"mediaResolution", "enableEnhancedCivicAnswers"};
  bool known = true;
  if (!read_sampling(key, known)) return false;
  if (known) return true;
  if (is_gemini_field(key, "stopSequences")) return read_stops();
  if (is_gemini_field(key, "responseMimeType")) return reader_.text("responseMimeType", mime_type_);
  if (is_gemini_field(key, "responseSchema"))
    return read_schema(reader_, "responseSchema", out_, out_.schema);
  if (is_gemini_field(key, "responseJsonSchema") || key == "_responseJsonSchema")
    return reader_.object("responseJsonSchema", out_.schema);
  if (is_gemini_field(key, "responseModalities")) return read_modalities();
  if (is_gemini_field(key, "thinkingConfig")) return read_thinking();
  if (is_any(key, hints)) {
    drop(out_, key);
    return !reader_.scanner.value().empty();
  }
  return reader_.unsupported(key);
}

bool config_reader::read_stops() {
  return reader_.elements([this](std::int64_t) {
    json_literal stop;
    if (!reader_.string("stopSequences", stop)) return false;
    if (!stop.empty()) out_.stop.push_back(stop);
    return true;
  });
}

bool config_reader::read_modalities() {
  return reader_.elements([this](std::int64_t) {
    std::string_view modality;
    if (!reader_.text("responseModalities", modality)) return false;
    return modality.empty() || modality == "TEXT" || reader_.unsupported("responseModalities");
  });
}

bool config_reader::read_thinking() {
  std::optional<bool> shown;
  std::string_view level;
  constexpr std::int64_t unsaid = -2;
  std::int64_t budget = unsaid;
  const bool fine = reader_.members("thinkingConfig", [&](std::string_view key) {
    if (is_gemini_field(key, "includeThoughts"))
      return reader_.boolean("thinkingConfig.includeThoughts", shown);
    if (is_gemini_field(key, "thinkingBudget"))
      return reader_.integer("thinkingConfig.thinkingBudget", budget);
    if (is_gemini_field(key, "thinkingLevel")) return reader_.text("thinkingConfig.thinkingLevel", level);
    return reader_.unsupported("thinkingConfig." + std::string(key));
  });
  if (!fine) return false;
  if (budget < unsaid)
    return reader_.refuse("invalid_value", "`thinkingBudget` must be -1 or more.",
                          reader_.place.of("thinkingConfig.thinkingBudget"));
  if (budget == 0) {
    out_.thinking = thinking_mode::off;
  } else if (budget != unsaid || shown.value_or(false)) {
    out_.thinking = thinking_mode::on;
    if (budget > 0) out_.thinking_tokens = budget;
  }
  if (!level.empty() && level != "THINKING_LEVEL_UNSPECIFIED") out_.effort = reader_.keep(lower(level));
  return true;
}

bool config_reader::judge_format() {
  const std::string where = reader_.place.of("responseMimeType");
  const bool json = mime_type_ == "application/json";
  if (!json && !mime_type_.empty() && mime_type_ != "text/plain")
    return reader_.unsupported("responseMimeType");
  if (!json && !out_.schema.empty())
    return reader_.refuse("invalid_value", "A schema of the answer needs `" + where + "` application/json.",
                          where);
  if (json) out_.format = out_.schema.empty() ? answer_format::json : answer_format::schema;
  if (out_.choices < 1)
    return reader_.refuse("invalid_value", "`generationConfig.candidateCount` must be 1 or more.",
                          "generationConfig.candidateCount");
  return true;
}

bool read_function(gemini_reader& reader, chat_request& out) {
  chat_tool tool;
  json_literal plain;
  const bool fine = reader.members({}, [&](std::string_view key) {
    if (key == "name") return reader.text("name", tool.name);
    if (key == "description") return reader.string("description", tool.description);
    if (key == "parameters") return read_schema(reader, "parameters", out, tool.parameters);
    if (is_gemini_field(key, "parametersJsonSchema")) return reader.object("parametersJsonSchema", plain);
    // What it will return is a hint; only live sessions know other behaviours than waiting for it.
    if (key == "response" || is_gemini_field(key, "responseJsonSchema")) {
      drop(out, key == "response" ? "tools.functionDeclarations.response"
                                  : "tools.functionDeclarations.responseJsonSchema");
      return !reader.scanner.value().empty();
    }
    return reader.unsupported(key);
  });
  if (!fine) return false;
  if (tool.name.empty()) return reader.missing("name");
  if (!plain.empty() && !tool.parameters.empty()) {
    const std::string where = reader.place.of({});
    return reader.refuse("invalid_value",
                         "`" + where + "` may have one of parameters and parametersJsonSchema only.", where);
  }
  if (!plain.empty()) tool.parameters = plain;
  out.tools.push_back(tool);
  return true;
}

}  // namespace

bool read_gemini_generation_config(gemini_reader& reader, chat_request& out) {
  const bool fine = config_reader(reader, out).read();
  reader.place = {};
  return fine;
}

bool read_gemini_tools(gemini_reader& reader, chat_request& out) {
  const bool fine = reader.elements([&](std::int64_t i) {
    reader.place = {"tools", i, {}, -1};
    return reader.members({}, [&](std::string_view key) {
      reader.place = {"tools", i, {}, -1};
      // All others are run by Google.
      if (!is_gemini_field(key, "functionDeclarations")) return reader.unsupported(key);
      return reader.elements([&](std::int64_t j) {
        reader.place = {"tools", i, "functionDeclarations", j};
        return read_function(reader, out);
      });
    });
  });
  reader.place = {};
  return fine;
}

bool read_gemini_tool_config(gemini_reader& reader, chat_request& out,
                             std::vector<std::string_view>& allowed) {
  reader.place = {"toolConfig", -1, {}, -1};
  std::string_view mode;
  const auto read_names = [&](std::int64_t) {
    std::string_view name;
    if (!reader.text("allowedFunctionNames", name)) return false;
    if (!name.empty()) allowed.push_back(name);
    return true;
  };
  const bool fine = reader.members({}, [&](std::string_view key) {
    reader.place = {"toolConfig", -1, {}, -1};
    if (!is_gemini_field(key, "functionCallingConfig")) return reader.unsupported(key);
    reader.place = {"toolConfig", -1, "functionCallingConfig", -1};
    return reader.members({}, [&](std::string_view member) {
      if (member == "mode") return reader.text("mode", mode);
      if (is_gemini_field(member, "allowedFunctionNames")) return reader.elements(read_names);
      return reader.unsupported(std::string(member));
    });
  });
  if (!fine) return false;
  if (mode == "AUTO" || mode == "VALIDATED") {
    out.tool_choice = tool_choice::automatic;
  } else if (mode == "ANY") {
    out.tool_choice = tool_choice::any;
  } else if (mode == "NONE") {
    out.tool_choice = tool_choice::none;
  } else if (!mode.empty() && mode != "MODE_UNSPECIFIED") {
    const std::string where = reader.place.of("mode");
    return reader.refuse("invalid_value", "`" + where + "` must be AUTO, ANY, NONE or VALIDATED.", where);
  }
  reader.place = {};
  return true;
}

}  // namespace millrace::http
