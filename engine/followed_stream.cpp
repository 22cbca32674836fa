#include "engine/followed_stream.hpp"

#include <utility>

#include "engine/answer_headers.hpp"

namespace millrace::engine {

bool followed_stream::read(std::string& out, yield y) {
  if (!pending_.empty()) {
    out += std::exchange(pending_, {});
    return true;
  }
  std::string raw;
  while (!over_) {
    raw.clear();
    switch (seat_->next(raw, ports_.time, y)) {
      case follower::event::content:
        reader_->feed(raw, out);
        if (!out.empty()) return true;
        break;
      case follower::event::broken:
        return break_off(seat_->failure(), out);
      case follower::event::late:
        return break_off(deadline_error(), out);
      case follower::event::gone:
        if (seat_->gone().cancelled_for(cancel_cause::stopping))
          return break_off(gone_error(seat_->gone()), out);
        over_ = broken_ = true;
        error_code_ = "client_gone";
        break;
      case follower::event::end:
      case follower::event::whole:
        over_ = true;
        reader_->end(out);
        return !out.empty();
      case follower::event::abandoned:
        over_ = true;
        break;
    }
  }
  return false;
}

bool followed_stream::break_off(const api_error& error, std::string& out) {
  over_ = broken_ = true;
  error_code_ = error.code;
  out += ports_.formats.of(route_).error_event(error);
  return true;
}

}  // namespace millrace::engine
