#pragma once

#include <vector>

#include <prometheus/metric_family.h>

#include "engine/metrics.hpp"
#include "engine/process_stats.hpp"

/// The families that are read at a scrape instead of being counted; for metrics.cpp only.
namespace millrace::engine {

void append_node_families(std::vector<prometheus::MetricFamily>& out, const node_gauges& node);

/// Under the standard names, process_*.
void append_process_families(std::vector<prometheus::MetricFamily>& out, const process_stats& process);

}  // namespace millrace::engine
