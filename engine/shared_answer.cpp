#include "engine/shared_answer.hpp"

#include <algorithm>
#include <utility>

namespace millrace::engine {

namespace {

api_error too_slow() {
  return {
      502,
      "upstream_error",
      "slow_reader",
      "This stream was shared with others, who have read 1 MiB more of it. Read it as it comes, or ask once "
      "more.",
      "",
      {},
      false};
}

}  // namespace

// --- the leader's side

shared_answer::~shared_answer() {
  budget_.give(static_cast<std::int64_t>(taken_));
}

void shared_answer::begin_stream(answer_source source, std::string_view so_far) {
  {
    const std::lock_guard lock(mutex_);
    state_ = state::streaming;
    source_ = std::move(source);
  }
  append(so_far);
}

void shared_answer::append(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (keeps_) {
    const bool fits = transcript_.size() + bytes.size() <= max_transcript_bytes;
    if (!fits || !grow(bytes.size(), false)) stop_keeping();
  }
  if (!keeps_) {
    // Nobody new can come; those who are here still get every byte. Their number of bytes is bounded by
    // `has_room`, so what it takes beyond the budget is small.
    if (followers_.empty()) {
      dropped_ += bytes.size();
      return;
    }
    grow(bytes.size(), true);
  }
  transcript_ += bytes;
  wake_all();
}

/// Makes room for `more` bytes, in steps smaller than a string's own: thousands of streams are held at once.
/// False when the budget has not as much; with `anyway` it is overdrawn.
bool shared_answer::grow(std::size_t more, bool anyway) {
  const std::size_t need = transcript_.size() + more;
  if (need <= transcript_.capacity()) return true;
  const auto before = static_cast<std::int64_t>(taken_);
  const std::size_t room = need + need / 4;
  const auto extra = static_cast<std::int64_t>(room) - before;
  if (!budget_.take(extra)) {
    if (!anyway) return false;
    budget_.give(-extra);
  }
  taken_ = room;
  std::string roomier;  // A string that has a capacity would at least double it.
  roomier.reserve(room);
  roomier += transcript_;
  transcript_.swap(roomier);
  return true;
}

/// From here on only what a follower has yet to read is held.
void shared_answer::stop_keeping() {
  keeps_ = false;
  open_ = false;
  trim();
}

void shared_answer::trim() {
  if (keeps_) return;
  std::size_t first = dropped_ + transcript_.size();
  for (const auto* f : followers_) {
    if (!f->whole_ && !f->too_slow_) first = std::min(first, f->position_);
  }
  if (first == dropped_) return;
  const std::size_t bytes = first - dropped_;
  dropped_ = first;
  if (bytes < transcript_.size()) {
    transcript_.erase(0, bytes);
    return;
  }
  std::string().swap(transcript_);  // gives the memory back
  budget_.give(static_cast<std::int64_t>(std::exchange(taken_, 0)));
}

void shared_answer::end_stream(std::optional<api_error> failure, shared_result_ptr collected) {
  const std::lock_guard lock(mutex_);
  state_ = state::ended;
  open_ = false;
  failure_ = std::move(failure);
  result_ = std::move(collected);
  wake_all();
}

void shared_answer::finish(shared_result_ptr result) {
  const std::lock_guard lock(mutex_);
  state_ = state::whole;
  open_ = false;
  result_ = std::move(result);
  wake_all();
}

void shared_answer::abandon() {
  const std::lock_guard lock(mutex_);
  state_ = state::abandoned;
  open_ = false;
  wake_all();
}

void shared_answer::close() {
  const std::lock_guard lock(mutex_);
  open_ = false;
}

bool shared_answer::leader_left() {
  const std::lock_guard lock(mutex_);
  leader_in_ = false;
  if (!followers_.empty()) return false;
  open_ = false;
  return true;
}

bool shared_answer::unwanted() const {
  const std::lock_guard lock(mutex_);
  return !leader_in_ && followers_.empty();
}

bool shared_answer::has_followers() const {
  const std::lock_guard lock(mutex_);
  return !followers_.empty();
}

bool shared_answer::wanted_whole() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(followers_.begin(), followers_.end(), [](const follower* f) { return f->whole_; });
}

std::optional<std::string> shared_answer::transcript() const {
  const std::lock_guard lock(mutex_);
  if (dropped_ > 0) return std::nullopt;
  return transcript_;
}

std::size_t shared_answer::end_position() const {
  const std::lock_guard lock(mutex_);
  return dropped_ + transcript_.size();
}

bool shared_answer::has_room() const {
  const std::lock_guard lock(mutex_);
  return keeps_ || transcript_.size() < max_transcript_bytes;
}

bool shared_answer::part_with_slow(bool leader_reads) {
  const std::lock_guard lock(mutex_);
  const std::size_t end = dropped_ + transcript_.size();
  const auto is_behind = [end](const follower* f) { return end - f->position_ >= max_transcript_bytes; };
  const auto reads_on = [&](const follower* f) { return !f->whole_ && !f->too_slow_ && !is_behind(f); };
  if (keeps_ || !(leader_reads || std::any_of(followers_.begin(), followers_.end(), reads_on))) return false;
  bool leader = false;
  for (auto* f : followers_) {
    if (f->whole_ || !is_behind(f)) continue;
    f->too_slow_ = true;
    leader = leader || f->is_leader_;
    f->point_.wake();
  }
  trim();
  changed();
  return leader;
}

// --- the followers' side

bool shared_answer::attach(follower& f) {
  const std::lock_guard lock(mutex_);
  if (!open_) return false;
  followers_.push_back(&f);
  changed();
  return true;
}

void shared_answer::attach_leader(follower& f) {
  const std::lock_guard lock(mutex_);
  followers_.push_back(&f);
}

void shared_answer::detach(follower& f) {
  const std::lock_guard lock(mutex_);
  std::erase(followers_, &f);
  if (f.is_leader_) leader_in_ = false;
  trim();
  if (followers_.empty() && !leader_in_) open_ = false;
  changed();
}

void shared_answer::wake_all() {
  for (auto* f : followers_) f->point_.wake();
}

follower::follower(shared_answer_ptr answer, bool whole, cancellation& gone, thread_port& thread,
                   time_point deadline)
    : answer_(std::move(answer)),
      whole_(whole),
      gone_(gone),
      on_gone_(gone, [this] { point_.wake(); }),
      thread_(thread),
      deadline_(deadline) {
  joined_ = answer_->attach(*this);
}

follower::follower(shared_answer_ptr answer, leaders_seat seat, cancellation& gone, thread_port& thread,
                   time_point deadline)
    : answer_(std::move(answer)),
      whole_(false),
      is_leader_(true),
      position_(seat.from),
      joined_(true),
      gone_(gone),
      on_gone_(gone, [this] { point_.wake(); }),
      thread_(thread),
      deadline_(deadline) {
  answer_->attach_leader(*this);
}

follower::~follower() {
  if (joined_) answer_->detach(*this);
}

answer_source follower::source() const {
  const std::lock_guard lock(answer_->mutex_);
  return answer_->source_;
}

bool follower::left_behind() const {
  const std::lock_guard lock(answer_->mutex_);
  return too_slow_;
}

follower::event follower::next(std::string& out, const clock_port& time, yield y) {
  while (true) {
    if (gone_.cancelled()) return event::gone;
    if (const auto e = poll(out)) return *e;
    if (time.now() >= deadline_) return event::late;
    if (!alarm_ && deadline_ != time_point::max()) alarm_ = thread_.at(deadline_, [this] { point_.wake(); });
    point_.wait(y);
  }
}

/// What there is for this follower now, if anything.
std::optional<follower::event> follower::poll(std::string& out) {
  using state = shared_answer::state;
  auto& a = *answer_;
  const std::lock_guard lock(a.mutex_);
  const std::size_t end = a.dropped_ + a.transcript_.size();
  switch (a.state_) {
    case state::pending:
      return std::nullopt;
    case state::abandoned:
      return event::abandoned;
    case state::whole:
      result_ = a.result_;
      return event::whole;
    case state::streaming:
    case state::ended:
      break;
  }
  if (too_slow_) {
    failure_ = too_slow();
    return event::broken;
  }
  // Too long to be put together here: such a follower asks for itself.
  if (whole_ && !a.keeps_) return event::abandoned;
  if (!whole_ && position_ < end) {
    out.append(a.transcript_, position_ - a.dropped_);
    position_ = end;
    const bool full = a.transcript_.size() >= max_transcript_bytes;
    a.trim();
    if (full) a.changed();
    return event::content;
  }
  if (a.state_ == state::streaming) return std::nullopt;
  if (a.failure_) {
    failure_ = a.failure_;
    return event::broken;
  }
  if (!whole_) return event::end;
  result_ = a.result_;
  return result_ ? event::whole : event::abandoned;
}

}  // namespace millrace::engine
