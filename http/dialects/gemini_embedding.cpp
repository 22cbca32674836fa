#include <utility>

#include "http/dialects/embedding.hpp"
#include "http/dialects/gemini_formats.hpp"
#include "http/dialects/gemini_passthrough.hpp"
#include "http/dialects/gemini_reader.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

class request_reader {
 public:
  request_reader(std::string_view body, embedding_request& out, engine::api_error& error)
      : reader_(body, out.texts, error), out_(out) {}

  bool read(bool batch) {
    if (reader_.scanner.peek() != '{') return reader_.fail_json();
    const bool fine = batch ? read_batch() : read_one();
    if (!fine || !reader_.scanner.at_end()) return reader_.fail_json();
    return !out_.inputs.empty() || reader_.missing(batch ? "requests" : "content");
  }

 private:
  bool read_batch();
  bool read_one();
  bool read_option(std::string_view key);
  bool read_content(std::string& text, bool& any);

  gemini_reader reader_;
  embedding_request& out_;
  std::int64_t dimensions_ = -1;  ///< of the request being read
};

bool request_reader::read_batch() {
  return reader_.members({}, [this](std::string_view key) {
    if (key == "model") return !reader_.scanner.value().empty();
    if (key != "requests") return reader_.unsupported(key);
    return reader_.elements([this](std::int64_t i) {
      reader_.place = {"requests", i, {}, -1};
      return read_one();
    });
  });
}

bool request_reader::read_one() {
  std::string text;
  bool any = false;
  dimensions_ = -1;
  const bool fine = reader_.members({}, [&](std::string_view key) {
    if (key == "content") return read_content(text, any);
    if (key == "model") return !reader_.scanner.value().empty();
    if (!is_gemini_field(key, "embedContentConfig")) return read_option(key);
    return reader_.members("embedContentConfig", [this](std::string_view name) { return read_option(name); });
  });
  if (!fine) return false;
  if (!any) return reader_.missing("content");
  if (!out_.inputs.empty() && dimensions_ != out_.dimensions)
    return reader_.refuse("unsupported_field", "`outputDimensionality` must be the same in all requests.",
                          reader_.place.of("outputDimensionality"));
  out_.dimensions = dimensions_;
  out_.inputs.push_back(reader_.keep("\"" + text + "\""));
  reader_.place = {};
  return true;
}

bool request_reader::read_option(std::string_view key) {
  if (is_gemini_field(key, "taskType")) return reader_.string("taskType", out_.task_type);
  if (key == "title") return reader_.string("title", out_.title);
  if (is_gemini_field(key, "outputDimensionality"))
    return reader_.integer("outputDimensionality", dimensions_);
  return reader_.unsupported(key);
}

/// Texts are joined as they are written.
bool request_reader::read_content(std::string& text, bool& any) {
  const auto read_part = [&](std::int64_t) {
    return reader_.members("content.parts", [&](std::string_view key) {
      if (key != "text") return reader_.unsupported("content.parts." + std::string(key));
      json_literal literal;
      if (!reader_.string("content.parts.text", literal)) return false;
      if (std::exchange(any, true)) text += "\\n";
      text.append(literal, 1, literal.size() - 2);
      return true;
    });
  };
  return reader_.members("content", [&](std::string_view key) {
    if (key == "parts") return reader_.elements(read_part);
    if (key == "role") return !reader_.scanner.value().empty();
    return reader_.unsupported("content." + std::string(key));
  });
}

/// Consumes {"values": [...]}.
bool read_values(json_scanner& scanner, embedding_answer& out) {
  if (!scanner.enter_object()) return false;
  json_literal values;
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool wanted = key == "values";
    const json_literal value = scanner.value();
    if (wanted) values = value;
  }
  if (!is_number_array(values)) return false;
  out.vectors.push_back(values);
  return true;
}

}  // namespace

bool decode_gemini_embedding_request(engine::route_kind route, std::string_view body, embedding_request& out,
                                     engine::api_error& error) {
  out = {};
  error = {};
  return request_reader(body, out, error).read(route == engine::route_kind::batch_embed);
}

void encode_gemini_batch(const embedding_request& request, std::string_view model, std::string& out,
                         std::vector<std::string>& dropped) {
  std::string name;
  json_quote(gemini_model_name(model), name);
  out += "{\"requests\":[";
  for (const json_literal& input : request.inputs) {
    if (&input != request.inputs.data()) out += ',';
    out.append("{\"model\":").append(name);
    out.append(",\"content\":{\"parts\":[{\"text\":").append(input).append("}]}");
    if (request.dimensions >= 0)
      out.append(",\"outputDimensionality\":").append(std::to_string(request.dimensions));
    out += '}';
  }
  out += "]}";
  if (!request.end_user.empty()) dropped.emplace_back("user");
}

bool decode_gemini_embeddings(std::string_view body, embedding_answer& out) {
  out = {};
  json_scanner scanner(body);
  if (!scanner.enter_object()) return false;
  std::string_view key;
  bool any = false;
  while (scanner.next_member(key)) {
    if (key == "embedding") {
      any = true;
      if (!read_values(scanner, out)) return false;
    } else if (key == "embeddings" && scanner.enter_array()) {
      any = true;
      while (scanner.next_element()) {
        if (!read_values(scanner, out)) return false;
      }
    } else if (key == "usageMetadata") {
      read_gemini_usage(scanner, out.used);
    } else {
      scanner.value();
    }
  }
  return any && scanner.at_end();
}

void encode_gemini_embeddings(engine::route_kind route, const embedding_answer& answer, std::string& out) {
  const bool batch = route == engine::route_kind::batch_embed;
  out += batch ? "{\"embeddings\":[" : "{\"embedding\":";
  for (const json_literal& vector : answer.vectors) {
    if (&vector != answer.vectors.data()) {
      if (!batch) break;
      out += ',';
    }
    out.append("{\"values\":").append(vector).append("}");
  }
  if (answer.vectors.empty() && !batch) out += "{\"values\":[]}";
  if (batch) out += ']';
  if (answer.used.known)
    out.append(",\"usageMetadata\":{\"promptTokenCount\":")
        .append(std::to_string(answer.used.input_tokens))
        .append("}");
  out += '}';
}

}  // namespace millrace::http
