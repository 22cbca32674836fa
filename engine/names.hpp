#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace millrace::engine {

/// A small number standing for a configured name (key, target, model, tenant, client) on this node.
/// Never sent to another node: there, names are text.
using name_id = std::uint32_t;
inline constexpr name_id no_name = std::numeric_limits<name_id>::max();

/// Name <-> number. Built while a configuration is read and immutable afterwards, so it is safe to read from
/// any thread. Each configuration starts from the table of the one before: a name keeps its number across
/// reloads.
class name_table {
 public:
  name_id intern(std::string_view name);
  /// `no_name` when unknown.
  name_id find(std::string_view name) const;
  const std::string& text(name_id id) const { return names_.at(id); }
  size_t size() const { return names_.size(); }

 private:
  struct hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  std::unordered_map<std::string, name_id, hash, std::equal_to<>> ids_;
  std::vector<std::string> names_;
};

}  // namespace millrace::engine
