#include "http/dialects/gemini_schema.hpp"

#include "http/dialects/gemini_reader.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

/// Converts one schema and those inside of it; their depth is bounded by the scanner's.
class schema_converter {
 public:
  schema_converter(json_literal schema, std::string& out, bool& unordered)
      : scanner_(schema), out_(out), unordered_(unordered) {}

  bool convert() { return write_schema() && scanner_.at_end(); }

 private:
  bool write_schema();
  bool write_member(std::string_view key);
  bool write_map();
  bool write_list();
  void name(std::string_view member);
  void finish(json_literal type, json_literal choices, bool nullable);

  json_scanner scanner_;
  std::string& out_;
  bool& unordered_;
};

/// What JSON schema calls the type; numbers, null and the like are none.
std::string lower_case(json_literal type) {
  std::string out(type);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_count(std::string_view key) {
  for (const std::string_view name :
       {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}) {
    if (is_gemini_field(key, name)) return true;
  }
  return false;
}

/// `type`, `enum`, `nullable` and `anyOf` hang together, so they come last.
bool schema_converter::write_schema() {
  if (!scanner_.enter_object()) return false;
  out_ += '{';
  json_literal type;
  json_literal choices;
  std::string any_of;
  bool nullable = false;
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (scanner_.peek() == 'n') {
      // A default may be null in earnest.
      const bool is_default = key == "default";
      scanner_.value();
      if (is_default) {
        name("default");
        out_ += "null";
      }
    } else if (key == "type" && scanner_.peek() == '"') {
      type = scanner_.value();
    } else if (key == "enum") {
      choices = scanner_.value();
    } else if (key == "nullable") {
      nullable = scanner_.value() == "true";
    } else if (is_gemini_field(key, "anyOf")) {
      // Whether null is one of them is only known at the end.
      std::string before;
      before.swap(out_);
      const bool fine = write_list();
      any_of.swap(out_);
      out_.swap(before);
      if (!fine) return false;
    } else if (!write_member(key)) {
      return false;
    }
  }
  if (!any_of.empty()) {
    name("anyOf");
    out_ += any_of;
    if (nullable) out_.insert(out_.size() - 1, any_of == "[]" ? R"({"type":"null"})" : R"(,{"type":"null"})");
  }
  finish(type, choices, nullable && any_of.empty());
  return scanner_.error() == json_error::none;
}

bool schema_converter::write_member(std::string_view key) {
  if (key == "properties" || key == "defs" || key == "$defs") {
    name(key == "properties" ? "properties" : "$defs");
    return write_map();
  }
  if (key == "items" || is_gemini_field(key, "additionalProperties")) {
    name(key == "items" ? "items" : "additionalProperties");
    if (scanner_.peek() == '{') return write_schema();
    const json_literal value = scanner_.value();
    out_ += value;
    return !value.empty();
  }
  const json_literal as_written = scanner_.key_literal();
  std::string known;
  if (key == "ref") known = "$ref";
  if (is_count(key)) known = gemini_field_name(key);
  const bool is_example = key == "example";
  const bool is_format = key == "format";
  const bool is_order = is_gemini_field(key, "propertyOrdering");
  json_literal value = scanner_.value();
  if (value.empty()) return false;
  unordered_ = unordered_ || is_order;
  // "enum" is a format of Gemini's only.
  if (is_order || (is_format && value == "\"enum\"")) return true;
  if (is_example) {
    name("examples");
    out_.append("[").append(value).append("]");
    return true;
  }
  if (known.empty()) {
    if (out_.back() != '{') out_ += ',';
    out_.append(as_written).append(":").append(value);
    return true;
  }
  name(known);
  std::int64_t number = 0;
  const bool quoted = value.size() > 2 && value.front() == '"';
  if (quoted && json_integer(value.substr(1, value.size() - 2), number))
    value = value.substr(1, value.size() - 2);
  out_ += value;
  return true;
}

bool schema_converter::write_map() {
  if (!scanner_.enter_object()) return false;
  out_ += '{';
  std::string_view key;
  for (bool first = true; scanner_.next_member(key); first = false) {
    if (!first) out_ += ',';
    out_.append(scanner_.key_literal()).append(":");
    if (!write_schema()) return false;
  }
  out_ += '}';
  return scanner_.error() == json_error::none;
}

bool schema_converter::write_list() {
  if (!scanner_.enter_array()) return false;
  out_ += '[';
  for (bool first = true; scanner_.next_element(); first = false) {
    if (!first) out_ += ',';
    if (!write_schema()) return false;
  }
  out_ += ']';
  return scanner_.error() == json_error::none;
}

void schema_converter::finish(json_literal type, json_literal choices, bool nullable) {
  std::string lower = lower_case(type);
  if (lower == "\"type_unspecified\"") lower.clear();
  if (!lower.empty()) {
    name("type");
    out_ += nullable ? "[" + lower + ",\"null\"]" : lower;
  }
  if (!choices.empty()) {
    name("enum");
    out_ += choices;
    if (nullable && choices.back() == ']') {
      out_.pop_back();
      out_ += json_is_blank(choices) ? "null]" : ",null]";
    }
  }
  out_ += '}';
}

void schema_converter::name(std::string_view member) {
  if (out_.back() != '{') out_ += ',';
  out_.append("\"").append(member).append("\":");
}

}  // namespace

bool gemini_schema_to_json_schema(json_literal schema, std::string& out, bool& unordered) {
  return schema_converter(schema, out, unordered).convert();
}

}  // namespace millrace::http
