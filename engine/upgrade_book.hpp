#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/ports.hpp"

namespace millrace::engine {

/// Keeps count of what upgrades changed, by how sure the first answer was: what a threshold should be is read
/// from it. A bin of ten holds confidences of [n/10, n/10 + 1/10), the last one 1 as well; answers that did
/// not tell have a bin of their own. Since the start of the node. Thread-safe; one short lock per answer of a
/// model that has an upgrade.
class upgrade_book final : public observer {
 public:
  static constexpr std::size_t bins = 10;
  /// Models and routes beyond so many are not counted; only reloads that rename models get there.
  static constexpr std::size_t max_rows = 4096;

  struct bin {
    std::uint64_t answers = 0;   ///< first ones
    std::uint64_t asked = 0;     ///< of them: asked for again
    std::uint64_t failed = 0;    ///< of these: without a second answer
    std::uint64_t upgraded = 0;  ///< of these: the second answer was given
    std::uint64_t changed = 0;   ///< of these: it says something else than the first
    double before = 0;           ///< sums over answers with a second one: confidence of the first,
    double after = 0;            ///< and of the one that was given
  };
  struct row {
    std::string model;
    std::string route;
    std::array<bin, bins> by_confidence{};
    bin unreadable;
  };

  void request_done(const request_record& /*r*/) override {}
  void attempt_done(const attempt_record& /*r*/) override {}
  void upgrade_done(const upgrade_record& r) override;

  /// By model, then route.
  std::vector<row> rows() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, row, std::less<>> rows_;
};

}  // namespace millrace::engine
