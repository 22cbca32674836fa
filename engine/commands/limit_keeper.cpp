#include "engine/commands/limit_keeper.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "engine/log.hpp"

namespace millrace::commands {

namespace {

using engine::log_event;
using engine::log_level;

constexpr const char* file_name = "limits.json";
constexpr const char* lock_name = "limits.lock";
constexpr std::chrono::seconds period{1};
static_assert(period < engine::key_use::unheard);
constexpr mode_t private_mode = 0600;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::system_category().message(errno));
}

/// A file descriptor that is closed at the end of its scope.
struct descriptor {
  int fd;
  explicit descriptor(int number) : fd(number) {}
  ~descriptor() {
    if (fd >= 0) ::close(fd);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
};

std::int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::string new_salt() {
  std::random_device random;
  std::string salt;
  for (int i = 0; i < 4; ++i) salt += std::to_string(random()) + ".";
  return salt;
}

bool limited(const engine::key_limits& l) {
  return std::min({l.rpm, l.tpm, l.tpm_input, l.tpm_output, l.rpd}) != engine::unlimited;
}

bool limited(const engine::config& c) {
  return std::any_of(c.providers.begin(), c.providers.end(), [](const engine::provider_config& p) {
    return std::any_of(p.keys.begin(), p.keys.end(), [](const auto& k) { return limited(k.limits); });
  });
}

/// Whether the file would tell a later start something else than before.
bool differs(const engine::key_use& a, const engine::key_use& b) {
  if (engine::empty(a) && engine::empty(b)) return false;
  return a.changes != b.changes || a.rpm.soon != b.rpm.soon || a.tpm.soon != b.tpm.soon ||
         a.tpm_input.soon != b.tpm_input.soon || a.tpm_output.soon != b.tpm_output.soon ||
         a.rpd.soon != b.rpd.soon;
}

void warn(const char* event, const std::string& directory, const std::string& why) {
  log_event(log_level::warn, event, {{"data_dir", directory}, {"why", why}});
}

}  // namespace

locked_directory::locked_directory(const std::string& path) : path_(path) {
  std::error_code failure;
  std::filesystem::create_directories(path_, failure);
  if (failure) throw std::runtime_error("cannot be made: " + failure.message());
  lock_ = ::open((path_ + "/" + lock_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, private_mode);
  if (lock_ < 0) fail("cannot be written to");
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(lock_);
  throw std::runtime_error("another node uses it");
}

locked_directory::~locked_directory() {
  ::close(lock_);
}

std::optional<std::string> locked_directory::read(const std::string& name, std::size_t max_bytes) const {
  const descriptor file(::open((path_ + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0 && errno == ENOENT) return std::nullopt;
  if (file.fd < 0) fail(name);
  std::string text;
  std::array<char, 65536> piece{};
  while (true) {
    const ssize_t n = ::read(file.fd, piece.data(), piece.size());
    if (n == 0) return text;
    if (n < 0 && errno != EINTR) fail(name);
    if (n > 0) text.append(piece.data(), static_cast<std::size_t>(n));
    if (text.size() > max_bytes) throw std::runtime_error(name + ": is too large");
  }
}

void locked_directory::replace(const std::string& name, const std::string& text) const {
  const std::string whole = path_ + "/" + name;
  const std::string part = whole + ".new";
  {
    const descriptor file(
        ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, private_mode));
    if (file.fd < 0) fail(part);
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t n = ::write(file.fd, text.data() + done, text.size() - done);
      if (n < 0 && errno != EINTR) fail(part);
      if (n > 0) done += static_cast<std::size_t>(n);
    }
    if (::fsync(file.fd) != 0) fail(part);
  }
  if (::rename(part.c_str(), whole.c_str()) != 0) fail(whole);
  const descriptor directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.fd < 0 || ::fsync(directory.fd) != 0) fail(path_);
}

limit_keeper::limit_keeper(caf::actor_system& system, actors::directory_actor directory,
                           engine::node_config node)
    : node_(std::move(node)), directory_(directory), reader_(system, std::move(directory)) {}

limit_keeper::~limit_keeper() {
  close(false);
}

void limit_keeper::announce(const engine::config_ptr& c) {
  const std::lock_guard lock(mutex_);
  // The simulator in the process ends with it, and so does its memory.
  if (c->wants_simulator) return;
  config_ = c;
  std::error_code unknown;
  if (!tried_ && (limited(*c) || std::filesystem::exists(node_.data_dir + "/" + file_name, unknown)))
    take_directory();
  if (tried_ && !disk_) return;
  actors::earlier_use known;
  track(known.keys);
  unsaved_ = true;
  if (!known.keys.empty()) caf::anon_send(directory_, std::move(known));
}

void limit_keeper::start() {
  {
    const std::lock_guard lock(mutex_);
    started_ = true;
    refresh();
    save(false);
  }
  saver_ = std::thread([this] { run(); });
}

bool limit_keeper::open() const {
  const std::lock_guard lock(mutex_);
  return !tried_ || disk_;
}

void limit_keeper::close(bool idle) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    if (started_) {
      refresh();
      const bool untouched =
          std::all_of(entries_.begin(), entries_.end(), [](const entry& e) { return e.use.changes == 0; });
      save(idle || untouched);
    }
  }
  wake_.notify_all();
  if (saver_.joinable()) saver_.join();
}

void limit_keeper::take_directory() {
  tried_ = true;
  try {
    disk_.emplace(node_.data_dir);
  } catch (const std::exception& e) {
    warn("limits_not_kept", node_.data_dir, e.what());
    return;
  }
  try {
    load();
  } catch (const std::exception& e) {
    entries_.clear();
    warn("limits_forgotten", node_.data_dir, e.what());
  }
  if (salt_.empty()) salt_ = new_salt();
  as_of_ = engine::clock::now();
}

void limit_keeper::load() {
  const auto text = disk_->read(file_name, engine::kept_limits::max_bytes);
  if (!text) return;
  engine::kept_limits kept = engine::parse_kept(*text);
  salt_ = kept.salt;
  // A clock that was set back tells nothing: no time passed.
  const auto down = std::chrono::milliseconds(std::max<std::int64_t>(unix_ms() - kept.saved_at_ms, 0));
  for (engine::kept_key& k : kept.keys) {
    engine::age(k.use, std::min<engine::duration>(down, std::chrono::hours(48)));
    if (kept.clean) engine::forget_soon(k.use);
    if (!engine::empty(k.use)) entries_.push_back({std::move(k), false});
  }
}

/// Takes the keys of the configuration for those whose homes are asked from now on; `known` gets what is
/// known of those that have had no home yet.
void limit_keeper::track(std::vector<engine::key_use>& known) {
  const auto now = engine::clock::now();
  for (entry& e : entries_) engine::age(e.use, now - as_of_);
  as_of_ = now;
  for (const auto& p : config_->providers) {
    for (const auto& k : p.keys) {
      const std::string& name = config_->names->text(k.name);
      const std::string fingerprint = engine::key_fingerprint(salt_, p.base_url, k.key);
      entry* found = nullptr;
      for (entry& e : entries_) {
        if (e.node != node_.id || e.use.key != name) continue;
        if (e.fingerprint == fingerprint) {
          found = &e;
        } else {
          e.live = false;
        }
      }
      if (found == nullptr) {
        found = &entries_.emplace_back();
        found->node = node_.id;
        found->fingerprint = fingerprint;
        found->use.key = name;
      } else if (!found->live) {
        known.push_back(found->use);
      }
      found->live = true;
    }
  }
  for (entry& e : entries_) {
    if (!e.live) engine::assume_soon(e.use);
  }
}

/// Asks the homes; true when the file would no longer tell what they know.
bool limit_keeper::refresh() {
  if (!config_ || (tried_ && !disk_)) return false;
  ask();
  const auto has_news = [](const entry& e) { return !engine::empty(e.use); };
  if (!tried_ && std::any_of(entries_.begin(), entries_.end(), has_news)) {
    entries_.clear();  // what is on the disk comes first, and gives the salt
    take_directory();
    if (!disk_) return false;
    std::vector<engine::key_use> known_better;
    track(known_better);
    ask();
  }
  return disk_ && unsaved_;
}

void limit_keeper::ask() {
  const auto now = engine::clock::now();
  for (entry& e : entries_) {
    engine::age(e.use, now - as_of_);
    if (!e.live) continue;
    auto use = reader_.read(e.use.key);
    if (!use) continue;
    unsaved_ = unsaved_ || differs(*use, e.use);
    e.use = std::move(*use);
  }
  as_of_ = now;
}

void limit_keeper::save(bool clean) {
  if (!disk_) return;
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(),
                                [](const entry& e) { return !e.live && engine::empty(e.use); }),
                 entries_.end());
  engine::kept_limits kept{clean, unix_ms(), salt_, {}};
  for (const entry& e : entries_) {
    if (!engine::empty(e.use)) kept.keys.push_back(e);
  }
  try {
    disk_->replace(file_name, engine::format_kept(kept));
    unsaved_ = failed_ = false;
  } catch (const std::exception& e) {
    if (!failed_) warn("limits_not_kept", node_.data_dir, e.what());
    failed_ = true;
  }
}

void limit_keeper::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, period, [this] { return closed_; })) {
    if (refresh()) save(false);
  }
}

}  // namespace millrace::commands
