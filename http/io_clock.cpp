#include "http/io_clock.hpp"

#include <boost/asio/steady_timer.hpp>

namespace millrace::http {

bool io_clock::sleep(engine::duration d, engine::cancellation& gone, engine::yield y) {
  if (gone.cancelled()) return false;
  boost::asio::steady_timer timer(io_, d);
  const engine::cancellation::hook on_gone(gone, [&] { timer.cancel(); });
  boost::system::error_code ignored;
  timer.async_wait(y[ignored]);
  return !gone.cancelled();
}

}  // namespace millrace::http
