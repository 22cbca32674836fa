#include "engine/use_meter.hpp"

namespace millrace::engine {

namespace {

using namespace std::chrono_literals;

constexpr window_shape metered_minute{.span = 60s, .slot = 1s, .margin = 0s, .ahead = 0s};
constexpr window_shape metered_day{.span = 24h, .slot = 30min, .margin = 0s, .ahead = 0s};

}  // namespace

use_meter::use_meter()
    : requests_(metered_minute), input_(metered_minute), output_(metered_minute), day_(metered_day) {}

void use_meter::sent(const token_count& reserved, time_point at, time_point now) {
  requests_.add(1, at, now);
  day_.add(1, at, now);
  input_.add(reserved.input, at, now);
  output_.add(reserved.output, at, now);
}

void use_meter::debt(const token_count& over, time_point now) {
  input_.add(over.input, now, now);
  output_.add(over.output, now, now);
}

use_meter::counts use_meter::at(time_point now) const {
  counts c;
  c.requests = requests_.total(now);
  c.input_tokens = input_.total(now);
  c.output_tokens = output_.total(now);
  c.tokens = c.input_tokens + c.output_tokens;
  c.day_requests = day_.total(now);
  return c;
}

}  // namespace millrace::engine
