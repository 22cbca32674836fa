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

}  // namespace millrace::http::simulation
