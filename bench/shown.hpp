#pragma once

#include <nlohmann/json.hpp>

#include "bench/histogram.hpp"

namespace millrace::bench {

/// Quantiles in microseconds; null when nothing was recorded.
inline nlohmann::json shown(const histogram& h) {
  const auto us = [](double ns) { return ns / 1000; };
  if (h.count() == 0) return nullptr;
  return {{"count", h.count()},
          {"mean", us(h.mean())},
          {"p50", us(static_cast<double>(h.quantile(0.5)))},
          {"p90", us(static_cast<double>(h.quantile(0.9)))},
          {"p99", us(static_cast<double>(h.quantile(0.99)))},
          {"p99.9", us(static_cast<double>(h.quantile(0.999)))},
          {"max", us(static_cast<double>(h.max()))}};
}

}  // namespace millrace::bench
