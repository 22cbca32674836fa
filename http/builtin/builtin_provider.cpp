#include "http/builtin/builtin_provider.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "http/builtin/extract.hpp"
#include "http/builtin/label_choice.hpp"
#include "http/builtin/text_features.hpp"
#include "http/dialects/embedding.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/json_scan.hpp"
#include "http/openai.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http::builtin {

namespace {

using nlohmann::json;

constexpr std::size_t max_quoted_bytes = 2000;
constexpr int max_schema_depth = 16;

reply refusal(const engine::api_error& e) {
  return {e.status, "application/json", openai().error_body(e)};
}

// --- embeddings

std::string numbers(const std::vector<float>& vector) {
  std::string out = "[";
  std::array<char, 32> text{};
  for (const float v : vector) {
    const auto end = std::to_chars(text.data(), text.data() + text.size(), v).ptr;
    if (out.size() > 1) out += ',';
    out.append(text.data(), end);
  }
  return out += ']';
}

reply embeddings(std::string_view body) {
  embedding_request r;
  engine::api_error error;
  if (!decode_openai_embedding_request(body, r, error)) return refusal(error);
  engine::request_facts facts;
  if (!openai().read_request(engine::route_kind::embeddings, body, facts, error)) return refusal(error);
  const std::int64_t dimensions = r.dimensions < 0 ? most_dimensions : r.dimensions;
  if (dimensions < 1 || dimensions > static_cast<std::int64_t>(most_dimensions)) {
    error = {400,
             "invalid_request_error",
             "invalid_value",
             "`dimensions` must be a whole number from 1 to 512.",
             "dimensions",
             {},
             true};
    return refusal(error);
  }
  embedding_answer a;
  for (const json_literal text : r.inputs)
    a.vectors.push_back(a.keep(numbers(features_of(json_text(text), static_cast<std::size_t>(dimensions)))));
  a.used = {facts.input_tokens, 0, 0, 0, 0, true};
  reply out;
  encode_openai_embeddings(a, r.base64, facts.model, out.body);
  return out;
}

// --- conversations

std::string text_of_parts(const std::vector<chat_part>& parts) {
  std::string out;
  for (const chat_part& p : parts) {
    if (!p.text.empty()) out.append(out.empty() ? "" : "\n").append(json_text(p.text));
    if (!p.result.empty()) out.append("\n").append(text_of_parts(p.result));
  }
  return out;
}

/// What the users said: all but the last of it is what may be quoted, with what stands before a last line.
struct conversation {
  std::string question;
  std::string context;
};

conversation read(const chat_request& r) {
  conversation c;
  for (const chat_message& m : r.messages) {
    if (m.role == chat_role::system) continue;
    const std::string text = text_of_parts(m.parts);
    if (m.role == chat_role::user) {
      if (!c.question.empty()) c.context += c.question + "\n";
      c.question = text;
    } else {
      c.context += text + "\n";
    }
  }
  const auto sentences = sentences_of(c.question);
  if (sentences.size() > 1) {
    // Often the text comes first and the question last.
    const std::string last(sentences.back());
    c.context += c.question.substr(0, c.question.size() - last.size());
    c.question = last;
  }
  return c;
}

/// A value that the schema allows: the chosen label where a text has an `enum`, its confidence, else nothing
/// of substance.
json fill(const json& schema, const std::string& text, double& confidence, int depth) {
  if (!schema.is_object() || depth > max_schema_depth) return nullptr;
  if (schema.contains("const")) return schema["const"];
  if (const auto found = schema.find("enum"); found != schema.end() && found->is_array()) {
    std::vector<std::string> labels;
    for (const auto& l : *found) {
      if (l.is_string()) labels.push_back(l.get<std::string>());
    }
    if (labels.empty()) return found->empty() ? json() : found->front();
    const label_choice choice = choose_label(text, labels);
    confidence = std::max(confidence, choice.confidence);
    return labels[choice.index];
  }
  json type = schema.value("type", json(schema.contains("properties") ? "object" : "string"));
  if (type.is_array() && !type.empty()) type = json(type[0]);
  if (type == "object") {
    json out = json::object();
    const json properties = schema.value("properties", json::object());
    // Labels first: the confidence is theirs.
    for (const bool labels : {true, false}) {
      for (const auto& [name, property] : properties.items()) {
        if (property.is_object() && property.contains("enum") == labels)
          out[name] = name == "confidence" ? json(confidence) : fill(property, text, confidence, depth + 1);
      }
    }
    return out;
  }
  if (type == "array") return json::array();
  if (type == "integer" || type == "number") return 0;
  if (type == "boolean") return false;
  return type == "null" ? json() : json("");
}

std::string say(const chat_request& r) {
  const conversation c = read(r);
  if (r.format == answer_format::schema) {
    double confidence = 0;
    const json schema = json::parse(r.schema, nullptr, false);
    return fill(schema, c.context + "\n" + c.question, confidence, 0).dump();
  }
  std::string quoted = extract(c.context, c.question, max_quoted_bytes);
  if (r.format == answer_format::json)
    return json{{"answer", quoted}, {"source", "builtin extract, no language model"}}.dump();
  if (quoted.empty())
    return "[builtin provider: no language model answered, and the request holds no text to quote]";
  return "[builtin provider: no language model answered; quoted from the request] " + quoted;
}

/// Cuts `text` behind the last whole character within `bytes`.
bool cut(std::string& text, std::size_t bytes) {
  if (text.size() <= bytes) return false;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  text.resize(bytes);
  return true;
}

void stream(const chat_answer& a, const std::string& text, const encode_options& options, bool include_usage,
            std::string& out) {
  using kind = chat_delta::kind;
  const auto sink = encode_openai_stream(options, include_usage);
  sink->put({.what = kind::start, .id = a.id}, out);
  for (const auto piece : sentences_of(text)) {
    std::string literal;
    json_quote(std::string(piece) + (piece.end() == text.data() + text.size() ? "" : " "), literal);
    sink->put({.what = kind::text, .text = literal}, out);
  }
  sink->put({.what = kind::finish, .finish = a.finish}, out);
  sink->put({.what = kind::usage, .used = a.used}, out);
  sink->put({.what = kind::done}, out);
}

reply chat(std::string_view body, std::int64_t now) {
  chat_request r;
  engine::api_error error;
  if (!decode_openai_request(body, r, error)) return refusal(error);
  engine::request_facts facts;
  if (!openai().read_request(engine::route_kind::chat, body, facts, error)) return refusal(error);
  std::string text = say(r);
  chat_answer a;
  a.finish = finish_reason::stop;
  if (r.max_output_tokens >= 0 &&
      cut(text, static_cast<std::size_t>(std::min<std::int64_t>(r.max_output_tokens, 100'000)) *
                    text_bytes_per_token))
    a.finish = finish_reason::length;
  a.id = a.keep("chatcmpl-builtin-" + std::to_string(std::hash<std::string_view>{}(body)));
  a.used = {facts.input_tokens, token_estimate::of_text(text.size()), 0, 0, 0, true};
  std::string literal;
  json_quote(text, literal);
  a.parts.emplace_back().text = a.keep(literal);
  const encode_options options{.model = facts.model, .now = now};
  reply out;
  if (r.stream) {
    out.content_type = "text/event-stream";
    stream(a, text, options, r.include_usage, out.body);
  } else {
    encode_openai_answer(a, options, out.body);
  }
  return out;
}

}  // namespace

reply answer(std::string_view path, std::string_view body, std::int64_t now) {
  if (path.ends_with("/embeddings")) return embeddings(body);
  if (path.ends_with("/chat/completions")) return chat(body, now);
  return refusal({404,
                  "invalid_request_error",
                  "route_not_supported",
                  "The builtin provider has no " + std::string(path) + ".",
                  "",
                  {},
                  true});
}

}  // namespace millrace::http::builtin
