#include "engine/upgrade_book.hpp"

#include <algorithm>

namespace millrace::engine {

void upgrade_book::upgrade_done(const upgrade_record& r) {
  using outcome = upgrade_record::outcome;
  const std::lock_guard lock(mutex_);
  std::pair key(std::string(r.model), std::string(r.route));
  auto at = rows_.find(key);
  if (at == rows_.end()) {
    if (rows_.size() >= max_rows) return;
    at = rows_.emplace(key, row{key.first, key.second, {}, {}}).first;
  }
  const auto place = static_cast<std::size_t>(std::clamp(r.before, 0.0, 1.0) * bins);
  bin& b = r.before < 0 ? at->second.unreadable : at->second.by_confidence[std::min(place, bins - 1)];
  ++b.answers;
  if (r.what == outcome::sure) return;
  ++b.asked;
  if (r.what == outcome::failed) {
    ++b.failed;
    return;
  }
  b.before += std::max(r.before, 0.0);
  b.after += std::max(r.after, 0.0);
  if (r.what == outcome::kept) return;
  ++b.upgraded;
  if (r.what == outcome::changed) ++b.changed;
}

std::vector<upgrade_book::row> upgrade_book::rows() const {
  std::vector<row> out;
  const std::lock_guard lock(mutex_);
  for (const auto& entry : rows_) out.push_back(entry.second);
  return out;
}

}  // namespace millrace::engine
