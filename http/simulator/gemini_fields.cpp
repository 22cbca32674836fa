#include "http/simulator/gemini_fields.hpp"

#include <array>
#include <charconv>

#include "http/dialects/gemini_reader.hpp"
#include "http/simulator/errors.hpp"

namespace millrace::http::simulation {
namespace {

/// Where a field's value is a message of its own, or anything at all.
struct known_field {
  std::string_view name;
  std::string_view type = {};  ///< empty: a scalar, or JSON that is nobody's business
};
struct known_message {
  std::string_view name;
  std::array<known_field, 32> fields;
};

/// Of @google/genai, as it writes to the Gemini API, and of https://ai.google.dev/api/generate-content.
constexpr std::array<known_message, 14> messages = {{
    {"generate",
     {{{"model"},
       {"contents", "content"},
       {"systemInstruction", "content"},
       {"tools", "tool"},
       {"toolConfig", "tool_config"},
       {"safetySettings", "safety"},
       {"generationConfig", "config"},
       {"cachedContent"},
       {"labels"},
       {"serviceTier"},
       {"store"}}}},
    {"embed",
     {{{"model"},
       {"content", "content"},
       {"taskType"},
       {"title"},
       {"outputDimensionality"},
       {"embedContentConfig"}}}},
    {"batch_embed", {{{"model"}, {"requests", "embed"}}}},
    {"content", {{{"parts", "part"}, {"role"}}}},
    {"part",
     {{{"text"},
       {"inlineData", "blob"},
       {"fileData", "file"},
       {"functionCall", "call"},
       {"functionResponse", "response"},
       {"executableCode"},
       {"codeExecutionResult"},
       {"thought"},
       {"thoughtSignature"},
       {"videoMetadata"},
       {"partMetadata"},
       {"mediaResolution"},
       {"toolCall"},
       {"toolResponse"},
       {"audioTranscription"},
       {"mediaProcessing"},
       {"speechMetadata"}}}},
    {"blob", {{{"mimeType"}, {"data"}, {"displayName"}}}},
    {"file", {{{"mimeType"}, {"fileUri"}, {"displayName"}}}},
    {"call", {{{"id"}, {"name"}, {"args"}}}},
    {"response", {{{"id"}, {"name"}, {"response"}, {"parts"}, {"scheduling"}, {"willContinue"}}}},
    {"tool",
     {{{"functionDeclarations", "declaration"},
       {"googleSearch"},
       {"googleSearchRetrieval"},
       {"codeExecution"},
       {"urlContext"},
       {"computerUse"},
       {"fileSearch"},
       {"googleMaps"},
       {"mcpServers"}}}},
    {"declaration",
     {{{"name"},
       {"description"},
       {"behavior"},
       {"parameters", "schema"},
       {"parametersJsonSchema"},
       {"response", "schema"},
       {"responseJsonSchema"}}}},
    {"schema", {{{"type"},        {"format"},          {"title"},
                 {"description"}, {"nullable"},        {"enum"},
                 {"maxItems"},    {"minItems"},        {"properties", "schemas"},
                 {"required"},    {"minProperties"},   {"maxProperties"},
                 {"minLength"},   {"maxLength"},       {"pattern"},
                 {"example"},     {"anyOf", "schema"}, {"propertyOrdering"},
                 {"default"},     {"items", "schema"}, {"minimum"},
                 {"maximum"}}}},
    {"tool_config", {{{"functionCallingConfig"}, {"retrievalConfig"}, {"includeServerSideToolInvocations"}}}},
    {"config",
     {{{"stopSequences"},
       {"responseMimeType"},
       {"responseModalities"},
       {"candidateCount"},
       {"maxOutputTokens"},
       {"temperature"},
       {"topP"},
       {"topK"},
       {"responseSchema", "schema"},
       {"responseJsonSchema"},
       {"presencePenalty"},
       {"frequencyPenalty"},
       {"seed"},
       {"responseLogprobs"},
       {"logprobs"},
       {"speechConfig"},
       {"thinkingConfig"},
       {"mediaResolution"},
       {"imageConfig"},
       {"enableEnhancedCivicAnswers"},
       {"audioTranscriptionConfig"},
       {"translationConfig"},
       {"responseFormat"}}}},
}};

const known_message* find_message(std::string_view name) {
  for (const known_message& m : messages)
    if (m.name == name) return &m;
  return nullptr;
}

void judge_message(const known_message& type, dom::object object, const std::string& path);

void judge_value(std::string_view type, dom::element value, const std::string& path) {
  if (type.empty() || value.is_null()) return;
  if (type == "schemas") {
    if (const auto map = as_object(value))
      for (const auto& [name, schema] : *map)
        judge_value("schema", schema, path + "[" + std::to_string(0) + "].value");
    return;
  }
  const known_message* message = find_message(type);
  if (message == nullptr) return;
  const auto judge_one = [&](dom::element element, const std::string& place) {
    const auto object = as_object(element);
    if (!object) throw rejected("Invalid value at '" + place + "' (" + std::string(type) + ")");
    judge_message(*message, *object, place);
  };
  if (!value.is_array()) return judge_one(value, path);
  size_t index = 0;
  for (const dom::element element : dom::array(value))
    judge_one(element, path + "[" + std::to_string(index++) + "]");
}

void judge_message(const known_message& type, dom::object object, const std::string& path) {
  for (const auto& [key, inner] : object) {
    const known_field* found = nullptr;
    for (const known_field& f : type.fields)
      if (!f.name.empty() && is_gemini_field(key, f.name)) found = &f;
    if (found == nullptr)
      throw rejected("Invalid JSON payload received. Unknown name \"" + std::string(key) + "\"" +
                         (path.empty() ? "" : " at '" + path + "'") + ": Cannot find field.",
                     {}, "unknown_field");
    judge_value(found->type, inner, (path.empty() ? "" : path + ".") + snake_case(found->name));
  }
}

[[noreturn]] void wrong(std::string_view camel, std::string_view type) {
  throw rejected("Invalid value at '" + snake_case(camel) + "' (" + std::string(type) + ")");
}

}  // namespace

void judge_gemini_fields(gemini_message kind, dom::object body) {
  judge_message(messages[static_cast<size_t>(kind)], body, "");
}

std::optional<dom::element> field(dom::object object, std::string_view camel) {
  for (const auto& [key, value] : object)
    if (is_gemini_field(key, camel) && !value.is_null()) return value;
  return std::nullopt;
}

std::optional<std::string_view> text_field(dom::object object, std::string_view camel) {
  const auto value = field(object, camel);
  if (!value) return std::nullopt;
  std::string_view text;
  if (value->get(text)) wrong(camel, "TYPE_STRING");
  return text;
}

std::optional<dom::object> object_field(dom::object object, std::string_view camel) {
  const auto value = field(object, camel);
  if (!value) return std::nullopt;
  const auto inner = as_object(*value);
  if (!inner) wrong(camel, "TYPE_MESSAGE");
  return inner;
}

std::vector<dom::object> objects_field(dom::object object, std::string_view camel) {
  std::vector<dom::object> all;
  const auto value = field(object, camel);
  if (!value) return all;
  const auto add = [&](dom::element element) {
    const auto inner = as_object(element);
    if (!inner) wrong(camel, "TYPE_MESSAGE");
    all.push_back(*inner);
  };
  if (value->is_array())
    for (const dom::element element : dom::array(*value)) add(element);
  else
    add(*value);
  return all;
}

std::optional<std::int64_t> integer_field(dom::object object, std::string_view camel) {
  const auto value = field(object, camel);
  if (!value) return std::nullopt;
  std::int64_t n = 0;
  if (!value->get(n)) return n;
  std::string_view text;
  if (value->get(text)) wrong(camel, "TYPE_INT32");
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{} || end != text.data() + text.size()) wrong(camel, "TYPE_INT32");
  return n;
}

std::optional<double> number_field(dom::object object, std::string_view camel) {
  const auto value = field(object, camel);
  if (!value) return std::nullopt;
  double n = 0;
  if (value->get(n)) wrong(camel, "TYPE_FLOAT");
  return n;
}

std::string snake_case(std::string_view camel) {
  std::string out;
  for (const char c : camel) {
    if (c >= 'A' && c <= 'Z') {
      out += '_';
      out += static_cast<char>(c + ('a' - 'A'));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace millrace::http::simulation
