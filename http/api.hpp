#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/dispatcher_machine.hpp"
#include "engine/metrics.hpp"
#include "engine/pipeline.hpp"
#include "engine/traffic_weights.hpp"
#include "engine/usage_ledger.hpp"
#include "http/documents/classifier.hpp"
#include "http/edge.hpp"
#include "http/status.hpp"

namespace millrace::http {

/// What one I/O thread's requests work with. Touched on that thread only.
struct api_thread {
  engine::config_ptr config;
  engine::pipeline* pipeline = nullptr;
};

/// What a purge of the cache did.
struct purge_result {
  std::uint64_t entries = 0;  ///< that were in memory
  bool complete = false;      ///< no part of the cache failed to confirm it
};

/// What /ready says; 503 for all but `ready`.
enum class readiness : std::uint8_t {
  ready,
  storage_not_open,  ///< some of it could not be opened at the start: requests are served without
  draining,
};
std::string_view to_string(readiness r);

/// What the routes need from the program. Outlives the edge.
struct api_services {
  std::vector<api_thread> threads;
  engine::observer* watch = nullptr;
  engine::metrics* metrics = nullptr;
  const engine::usage_ledger* ledger = nullptr;
  /// Asks the dispatcher of the node; null when the request is cancelled first.
  std::function<std::shared_ptr<const node_view>(size_t thread, engine::cancellation& gone, engine::yield y)>
      look;
  /// Forgets cached answers; empty names mean all. May take seconds.
  std::function<purge_result(size_t thread, const std::string& tenant, const std::string& model,
                             engine::cancellation& gone, engine::yield y)>
      purge;
  /// Changes what the dispatcher weighs with, before it answers a later `look`.
  std::function<void(const engine::weights_order& order)> set_weights;
  std::atomic<readiness> ready{readiness::draining};
  documents::document_desk documents;
};

/// The routes of DESIGN's HTTP table that this program serves.
std::vector<route> api_routes(api_services& services);

/// Body of an error in the dialect of `path`.
std::string format_error(const engine::api_error& error, std::string_view path);

}  // namespace millrace::http
