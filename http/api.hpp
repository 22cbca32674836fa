#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/dispatcher_machine.hpp"
#include "engine/metrics.hpp"
#include "engine/pipeline.hpp"
#include "http/edge.hpp"
#include "http/status.hpp"

namespace millrace::http {

/// What one I/O thread's requests work with. Touched on that thread only.
struct api_thread {
  engine::config_ptr config;
  engine::pipeline* pipeline = nullptr;
};

/// What the routes need from the program. Outlives the edge.
struct api_services {
  std::vector<api_thread> threads;
  engine::observer* watch = nullptr;
  engine::metrics* metrics = nullptr;
  /// Asks the dispatcher of the node; null when the request is cancelled first.
  std::function<std::shared_ptr<const node_view>(size_t thread, engine::cancellation& gone, engine::yield y)>
      look;
  std::atomic<bool> ready{false};
};

/// The routes of DESIGN's HTTP table that this program serves.
std::vector<route> api_routes(api_services& services);

/// Body of an error in the dialect of `path`.
std::string format_error(const engine::api_error& error, std::string_view path);

}  // namespace millrace::http
