#include "actors/failure.hpp"

namespace millrace::actors {

caf::error failure_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    return caf::make_error(caf::sec::runtime_error, std::string(e.what()));
  } catch (...) {
    return caf::make_error(caf::sec::runtime_error, std::string("what was thrown is no std::exception"));
  }
}

void on_failure(const caf::strong_actor_ptr& actor, std::function<void(const std::string&)> failed) {
  auto* watched = caf::actor_cast<caf::abstract_actor*>(actor);
  watched->attach_functor(
      [failed = std::move(failed), &system = watched->home_system()](const caf::error& reason) {
        if (reason != caf::exit_reason::user_shutdown) failed(system.render(reason));
      });
}

}  // namespace millrace::actors
