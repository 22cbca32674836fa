#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/time.hpp"

namespace prometheus {
class Collectable;
}

namespace millrace::engine {

/// What became of documents, for `GET /metrics`. Thread-safe.
class document_metrics {
 public:
  document_metrics();
  ~document_metrics();
  document_metrics(const document_metrics&) = delete;
  document_metrics& operator=(const document_metrics&) = delete;

  /// One finished request. `type`: "pdf", ...; `outcome`: "model", "builtin", "hit", "coalesced" or an
  /// error's code; both come from small fixed sets.
  void done(std::string_view type, std::string_view outcome, std::int64_t bytes);
  /// One process that opened a document, from its start to its end.
  void rendered(std::string_view type, duration took);
  /// Images that were made for a model: their bytes, and what they cost before and after.
  void sent(std::int64_t pages, std::int64_t bytes, std::int64_t tokens_before, std::int64_t tokens_after);
  /// Documents that are being opened, and that wait for it.
  void working(std::int64_t running, std::int64_t waiting);

  std::shared_ptr<prometheus::Collectable> collectable() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace millrace::engine
