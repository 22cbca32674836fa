#pragma once

#include <exception>
#include <functional>
#include <string>
#include <utility>

#include <caf/all.hpp>

namespace millrace::actors {

/// For set_exception_handler: the actor ends, and its reason says what was thrown.
caf::error failure_of(const std::exception_ptr& thrown);

/// Calls `failed` with the reason when the actor ends for another one than user_shutdown: on the thread on
/// which it ends, or at once if it has ended already.
void on_failure(const caf::strong_actor_ptr& actor, std::function<void(const std::string&)> failed);

}  // namespace millrace::actors
