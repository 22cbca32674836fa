#pragma once

#include <cstdint>

#include "http/upstream_client.hpp"
#include "http/upstream_wait.hpp"

namespace millrace::http {

/// The order in which addresses are tried: as given, but IPv6 and IPv4 in turn (RFC 8305, section 4).
address_list alternate_families(const address_list& addresses);

/// Connects to the first address that answers, in the manner of "Happy Eyeballs" (RFC 8305, section 5): the
/// next attempt starts when one fails or after `attempt_delay`, earlier ones go on, and the first success
/// ends the rest. Failures: connect, timeout, cancelled.
engine::upstream_failure connect_any(boost::asio::io_context& io, const address_list& addresses,
                                     std::uint16_t port, const io_scope& scope, upstream_socket& out);

inline constexpr engine::duration attempt_delay = std::chrono::milliseconds(250);
/// Addresses of one name that are tried at most.
inline constexpr size_t max_attempts = 16;

}  // namespace millrace::http
