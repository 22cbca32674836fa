#pragma once

#include <string_view>

#include "engine/cache_key.hpp"
#include "engine/ports.hpp"

namespace millrace::http {

/// The key under which the answer to a request is cached and shared: SHA-256 over tenant, model (the
/// configured name), route, whether only private providers may see it, and the request's canonical form (see
/// canonical_json.hpp). Of the body's top-level members `model` (hashed as configured), `stream`,
/// `stream_options`, `user`, `metadata`, `store` and `service_tier` do not count: they do not change what is
/// answered. Everything else does, also those names further down. `betas`: headers that switch on what a
/// provider tries out, which changes its answers, too; empty: none.
///
/// `body` is one that `read_request` accepted; any other bytes have a key of their own, hashed as they are.
/// Keys outlive the process, so a change of what is hashed needs a new domain string in request_key.cpp.
/// Thread-safe; keeps some buffers per thread. Throws std::bad_alloc, or std::runtime_error when OpenSSL has
/// no SHA-256.
engine::cache_key request_key(engine::route_kind route, std::string_view tenant, std::string_view model,
                              bool private_only, std::string_view body, std::string_view betas = {});

}  // namespace millrace::http
