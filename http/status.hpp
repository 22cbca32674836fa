#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/cache_view.hpp"
#include "engine/config.hpp"
#include "engine/dispatcher_machine.hpp"
#include "engine/metrics.hpp"
#include "engine/upgrade_book.hpp"
#include "http/edge.hpp"

namespace millrace::http {

/// The node at one moment, put together for /v1/status and /metrics.
struct node_view {
  engine::config_ptr config;  ///< the one whose names and indices `dispatcher` uses
  engine::dispatcher_status dispatcher;
  std::vector<engine::named_count> mailboxes;  ///< messages waiting, by kind of actor
  engine::cache_view cache;
  std::vector<engine::upgrade_book::row> upgrades;
  engine::usage_gauge usage;
  edge_statistics edge;
  std::int64_t upstream_open = 0;
  std::int64_t upstream_idle = 0;
  std::int64_t upstream_created = 0;
  std::int64_t upstream_reused = 0;
  std::int64_t actors = 0;  ///< alive
  std::uint64_t log_lines_dropped = 0;
  engine::duration uptime{};
  bool ready = false;
};

/// Body of `GET /v1/status`. No secrets: keys appear by their ids.
std::string status_body(const node_view& node);

/// The same for `GET /metrics`.
engine::node_gauges gauges(const node_view& node);

}  // namespace millrace::http
