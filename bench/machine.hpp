#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <sys/socket.h>

/// What load generators want of the operating system.
namespace millrace::bench {

inline constexpr std::int64_t second_ns = 1'000'000'000;

/// CLOCK_MONOTONIC, the simulator's clock too.
std::int64_t now_ns();
std::int64_t to_ns(double seconds);

/// User and system time of this process.
double cpu_seconds();

/// As many open files as the hard limit allows, and timers without the usual 50 us of slack, which would show
/// in the latencies.
void prepare_process();

struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
/// Throws std::runtime_error when it cannot be resolved.
socket_address resolve(const std::string& host, const std::string& port);

/// A non-blocking socket that connects without delaying small writes; -1 when there is none, as `errno` says.
int connect_to(const socket_address& to);

/// When the simulator wrote the event, in ns; 0 when it is not stamped. Stamped tokens are " t" and its
/// monotonic clock in us.
std::int64_t written_at_ns(std::string_view event);

}  // namespace millrace::bench
