#include "http/simulator/json_view.hpp"

#include "http/json_scan.hpp"

namespace millrace::http::simulation {

std::string_view raw_member(std::string_view object, std::string_view name) {
  json_scanner scanner(object);
  std::string_view key;
  if (!scanner.enter_object()) return {};
  while (scanner.next_member(key)) {
    const bool wanted = key == name;
    const std::string_view value = scanner.value();
    if (wanted) return value;
  }
  return {};
}

bool is_closed_schema(dom::element schema) {
  if (const auto object = as_object(schema)) {
    const auto type = find_text(*object, "type");
    bool open = true;
    if (type == "object" && (object->at_key("additionalProperties").get(open) || open)) return false;
    for (const auto& [key, value] : *object)
      if (!is_closed_schema(value)) return false;
  } else if (schema.is_array()) {
    for (const dom::element inner : dom::array(schema))
      if (!is_closed_schema(inner)) return false;
  }
  return true;
}

}  // namespace millrace::http::simulation
