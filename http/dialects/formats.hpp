#pragma once

#include "engine/ports.hpp"

namespace millrace::http {

/// Every dialect that clients may speak, against every kind of provider. Stateless; safe from any thread.
const engine::wire_formats& all_formats();

}  // namespace millrace::http
