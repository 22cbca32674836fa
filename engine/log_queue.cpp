#include "engine/log_queue.hpp"

#include <cerrno>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include "engine/log.hpp"

namespace millrace::engine {
namespace {

/// A non-blocking descriptor (a terminal that another program switched) is waited for; any other error loses
/// the bytes.
void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      pollfd waiting{fd, POLLOUT, 0};
      ::poll(&waiting, 1, -1);
    } else if (n < 0 && errno != EINTR) {
      return;
    }
  }
}

struct chunk {
  std::string text;
  std::uint64_t first = 0;  ///< number of its first line
};

/// Signals are the main thread's affair, and a closed pipe must not end the process from here.
std::thread start_without_signals(auto run) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(run));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

struct log_queue::state {
  explicit state(int descriptor) : fd(descriptor) {}

  const int fd;
  std::mutex mutex;
  std::condition_variable work;  ///< for the thread: a first line, a full chunk, a flush, the end
  std::condition_variable drained;
  std::deque<chunk> waiting;
  std::string spare;           ///< memory of a chunk that was written
  std::uint64_t appended = 0;  ///< lines so far
  std::uint64_t settled = 0;   ///< lines before this number are written or dropped
  std::uint64_t dropped = 0;
  bool hurry = false;  ///< somebody waits: do not linger
  bool stopping = false;
  bool ended = false;
  std::thread thread;

  void append(std::string_view head, std::string_view body, std::string_view tail);
  void run();
};

void log_queue::state::append(std::string_view head, std::string_view body, std::string_view tail) {
  std::unique_lock lock(mutex);
  const size_t size = head.size() + body.size() + tail.size();
  const bool idle = waiting.empty();
  const bool full = !idle && waiting.back().text.size() + size > chunk_bytes;
  if (idle || full) {
    if (waiting.size() == max_chunks) {
      dropped += waiting[1].first - waiting[0].first;
      waiting.pop_front();
    }
    waiting.push_back({std::exchange(spare, {}), appended});
    waiting.back().text.clear();
    waiting.back().text.reserve(chunk_bytes);
  }
  waiting.back().text.append(head).append(body).append(tail);
  ++appended;
  lock.unlock();
  if (idle || full) work.notify_one();
}

void log_queue::state::run() {
  std::unique_lock lock(mutex);
  for (;;) {
    work.wait(lock, [&] { return stopping || !waiting.empty(); });
    if (waiting.empty()) break;
    if (waiting.size() == 1 && !hurry && !stopping) {
      work.wait_for(lock, linger, [&] { return stopping || hurry || waiting.size() > 1; });
    }
    chunk next = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    write_all(fd, next.text);
    lock.lock();
    settled = waiting.empty() ? appended : waiting.front().first;
    spare = std::move(next.text);
    if (waiting.empty()) hurry = false;
    drained.notify_all();
  }
  ended = true;
  drained.notify_all();
}

log_queue::log_queue(int fd) : state_(std::make_shared<state>(fd)) {
  state_->thread = start_without_signals([s = state_] { s->run(); });
}

log_queue::~log_queue() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->work.notify_one();
  const bool ended = state_->drained.wait_for(lock, log_flush_patience, [&] { return state_->ended; });
  lock.unlock();
  ended ? state_->thread.join() : state_->thread.detach();
}

void log_queue::append(std::string_view head, std::string_view body, std::string_view tail) {
  state_->append(head, body, tail);
}

bool log_queue::flush() {
  std::unique_lock lock(state_->mutex);
  const std::uint64_t until = state_->appended;
  if (state_->settled >= until) return true;
  state_->hurry = true;
  state_->work.notify_one();
  return state_->drained.wait_for(lock, log_flush_patience, [&] { return state_->settled >= until; });
}

std::uint64_t log_queue::dropped() const {
  const std::lock_guard lock(state_->mutex);
  return state_->dropped;
}

}  // namespace millrace::engine
