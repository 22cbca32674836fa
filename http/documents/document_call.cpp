#include "http/documents/document_call.hpp"

#include <utility>

namespace millrace::http::documents {

void document_call::leader_gone(engine::cancel_cause why) {
  why_gone_ = why;
  if (!leader_left()) return;
  leave_table();
  stop_.cancel(why);
}

void document_call::end(engine::shared_result_ptr result) {
  if (std::exchange(ended_, true)) return;
  leave_table();
  if (result) {
    finish(std::move(result));
  } else {
    abandon();
  }
}

/// Called with the answer's lock held, from any thread.
void document_call::changed() {
  ports_.thread.post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->look();
  });
}

void document_call::look() {
  if (ended_ || !unwanted()) return;
  leave_table();
  stop_.cancel(why_gone_);
}

void document_call::leave_table() {
  if (std::exchange(in_table_, false)) {
    ports_.answers.of(key_).leave(key_, shared_from_this());
  } else {
    close();
  }
}

}  // namespace millrace::http::documents
