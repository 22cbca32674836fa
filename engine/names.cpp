#include "engine/names.hpp"

namespace millrace::engine {

name_id name_table::intern(std::string_view name) {
  if (const auto it = ids_.find(name); it != ids_.end()) return it->second;
  const auto id = static_cast<name_id>(names_.size());
  names_.emplace_back(name);
  ids_.emplace(names_.back(), id);
  return id;
}

name_id name_table::find(std::string_view name) const {
  const auto it = ids_.find(name);
  return it == ids_.end() ? no_name : it->second;
}

}  // namespace millrace::engine
