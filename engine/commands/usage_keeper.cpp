#include "engine/commands/usage_keeper.hpp"

#include <chrono>
#include <utility>

#include "engine/log.hpp"

namespace millrace::commands {

namespace {

using engine::log_event;
using engine::log_level;

constexpr std::chrono::seconds write_period{1};

engine::day_number today() {
  return engine::day_of(
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()));
}

}  // namespace

usage_keeper::usage_keeper(engine::usage_ledger& ledger, const engine::config& c)
    : ledger_(ledger), keep_(c.usage.keep) {
  auto opened = storage::usage_store::open(c.node.data_dir + "/usage");
  if (!opened.store) {
    log_event(log_level::error, "usage_not_kept",
              {{"data_dir", c.node.data_dir},
               {"why", opened.note},
               {"message", "usage and budgets are counted in memory only, from zero"}});
    return;
  }
  if (!opened.note.empty()) log_event(log_level::error, "usage_damaged", {{"why", opened.note}});
  ledger_.restore(std::move(opened.rows));
  store_ = std::move(opened.store);
  disk_on_ = true;
  saver_ = std::thread([this] { run(); });
}

usage_keeper::~usage_keeper() {
  close();
}

void usage_keeper::apply(const engine::config& c) {
  keep_ = c.usage.keep;
}

void usage_keeper::close() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
  }
  wake_.notify_all();
  if (saver_.joinable()) saver_.join();
  save();
  store_.reset();
}

usage_keeper::state usage_keeper::look() const {
  return {disk_on_, failures_};
}

void usage_keeper::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, write_period, [this] { return closed_; })) {
    lock.unlock();
    save();
    lock.lock();
  }
}

void usage_keeper::save() {
  if (!store_) return;
  const auto days = std::chrono::duration_cast<std::chrono::days>(keep_.load());
  auto gone = ledger_.forget_before(today() - static_cast<engine::day_number>(days.count()));
  gone_.insert(gone_.end(), std::make_move_iterator(gone.begin()), std::make_move_iterator(gone.end()));
  const auto changed = ledger_.take_changed();
  if (changed.empty() && gone_.empty()) return;
  std::string why;
  const bool written = store_->write(changed, gone_, why);
  if (written) {
    gone_.clear();
  } else {
    ledger_.put_back(changed);
    ++failures_;
  }
  const bool was_on = disk_on_.exchange(written);
  if (was_on && !written) log_event(log_level::error, "usage_not_written", {{"why", why}});
  if (!was_on && written) log_event(log_level::info, "usage_written_again", {});
}

}  // namespace millrace::commands
