#include "http/event_reader.hpp"

#include "http/json_scan.hpp"

namespace millrace::http {

event_reader::event_reader(std::string_view client_model) {
  json_quote(client_model, model_);
}

engine::stream_reader::state event_reader::feed(std::string_view bytes, std::string& out) {
  if (over()) return state_;
  splitter_.feed(bytes);
  while (!over()) {
    switch (splitter_.next(event_)) {
      case sse_splitter::result::more:
        return state_;
      case sse_splitter::result::too_large:
        fail("The provider sent an event that is too large.");
        break;
      case sse_splitter::result::event:
        take(out);
        break;
    }
  }
  return state_;
}

bool event_reader::over() const {
  return state_ == state::failed || state_ == state::done;
}

void event_reader::fail(std::string_view message, int status) {
  state_ = state::failed;
  failure_ = message.substr(0, max_failure_bytes);
  failure_status_ = status;
}

}  // namespace millrace::http
