#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bench/histogram.hpp"

namespace millrace::bench {

struct load_options {
  std::string host = "127.0.0.1";  ///< name or literal address
  std::string port = "80";
  std::string request;  ///< the bytes of one request; see `number_at`
  /// Where a request's number is written, so that no two bodies are the same; see request_template.
  std::vector<size_t> number_at;
  int connections = 64;
  double rate =
      0;  ///< requests per second, open loop; 0: closed loop, each connection asks as soon as it may
  bool poisson = false;  ///< open loop: exponential gaps instead of constant ones
  double duration_s = 10;
  double warmup_s = 1;    ///< not measured, before `duration_s`
  double drain_s = 10;    ///< after it, for answers under way
  double timeout_s = 60;  ///< of one request
  std::uint64_t seed = 1;
  std::int64_t max_requests = 0;  ///< 0: until the time is over
};

/// What was measured of the requests whose start was meant to lie in the measured time. Times in ns.
struct load_result {
  std::int64_t sent = 0;
  std::int64_t ok = 0;                    ///< 2xx, whole, and a stream with its [DONE]
  std::map<int, std::int64_t> by_status;  ///< of whole answers
  std::int64_t connect_failed = 0;
  std::int64_t broken = 0;  ///< reset, cut, not HTTP, or a stream without its [DONE]
  std::int64_t timed_out = 0;
  std::int64_t dropped = 0;     ///< open loop: more were due than may wait
  std::int64_t unfinished = 0;  ///< when the drain time was over
  std::int64_t events = 0;
  /// Until the end of an ok answer: from the moment it was meant to be sent (open loop) or was sent (closed
  /// loop). Counting from the intended start keeps a stalled server from hiding its stall ("coordinated
  /// omission", Gil Tene: How NOT to Measure Latency, 2013).
  histogram latency;
  histogram service;      ///< the same from the moment it was sent
  histogram first_byte;   ///< as latency
  histogram first_event;  ///< as latency, of streams
  histogram event_gap;    ///< between two events of one stream
  histogram event_delay;  ///< of events stamped by the simulator: from their writing to their arrival here
  double seconds = 0;     ///< measured
  std::int64_t finished_in_time = 0;  ///< ok answers that ended in the measured time
  double cpu_seconds = 0;             ///< this process took, in all
};

/// Runs the load on the calling thread. Throws std::runtime_error when the address cannot be resolved.
load_result run_load(const load_options& options);

}  // namespace millrace::bench
