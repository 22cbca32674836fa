#include "storage/answer_store.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include "storage/answer_record.hpp"
#include "storage/answer_store_options.hpp"

namespace millrace::storage {
namespace {

namespace fs = std::filesystem;
using rocksdb::Status;

constexpr const char* state_file = "/MILLRACE";
constexpr std::uint64_t max_state_bytes = 64UL << 20U;

rocksdb::Slice slice(const engine::cache_key& key) {
  return {reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()};
}

/// What another attempt with the same files would meet again, other than a disk that does not serve.
bool damaged(const Status& s) {
  return s.IsCorruption() || s.IsInvalidArgument() || s.IsNotSupported() || s.IsNotFound() ||
         s.IsPathNotFound();
}

/// N of a file name `prefix`N.
std::optional<unsigned> number_of(const std::string& name, const std::string& prefix) {
  unsigned n = 0;
  if (!name.starts_with(prefix)) return std::nullopt;
  const char* const end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data() + prefix.size(), end, n);
  if (error != std::errc{} || at != end) return std::nullopt;
  return n;
}

Status failure(const std::string& what, const std::error_code& e) {
  return Status::IOError(what, e.message());
}

Status make_private(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return Status::OK();
  if (fs::exists(path, error)) return Status::Corruption(path, "is no directory");
  fs::create_directories(path, error);
  if (!error) fs::permissions(path, fs::perms::owner_all, error);
  return error ? failure(path, error) : Status::OK();
}

}  // namespace

answer_store::opened answer_store::open(const std::string& path, const settings& s, rocksdb::Env* env) {
  opened o;
  o.store.reset(new answer_store(path, s, env != nullptr ? env : rocksdb::Env::Default()));
  if (const Status done = o.store->start(o.note); !done.ok()) {
    o.note += done.ToString();
    o.store.reset();
  }
  return o;
}

answer_store::answer_store(std::string path, const settings& s, rocksdb::Env* env)
    : path_(std::move(path)), settings_(s), accepted_bytes_(disk_bounds_of(s).accepted), env_(env) {}

answer_store::~answer_store() = default;

answer_store::read_result answer_store::get(const engine::cache_key& key, engine::wall_time now,
                                            engine::cached_answer_ptr& out) {
  rocksdb::ReadOptions options;
  options.fill_cache =
      false;  // what was found is kept in memory by whoever asked; the cache is for indexes and filters
  const std::shared_lock lock(guard_);
  if (db_ == nullptr) return read_result::failed;
  rocksdb::PinnableSlice record;
  const Status s = db_->Get(options, db_->DefaultColumnFamily(), slice(key), &record);
  if (s.IsNotFound()) return read_result::absent;
  if (!s.ok() && !s.IsCorruption()) return read_result::failed;
  auto a = s.ok() ? decode_answer(key, {record.data(), record.size()}) : nullptr;
  if (a == nullptr) {
    ++bad_records_;
    return read_result::absent;
  }
  if (!usable(*a, now)) return read_result::absent;
  out = std::move(a);
  return read_result::found;
}

/// A clock that was set back must not make answers older than they are allowed to be.
bool answer_store::usable(const engine::cached_answer& a, engine::wall_time now) const {
  const auto age = now - a.stored_at;
  return now < a.useless_at() && age < settings_.max_ttl && !state_.purged.covers(a);
}

answer_store::write_result answer_store::write(const std::vector<entry>& batch) {
  rocksdb::WriteBatch all;
  for (const auto& [key, answer] : batch) all.Put(slice(key), encode_answer(key, *answer));
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  options.no_slowdown = true;
  // Each memtable may run over by one batch.
  if (usage().disk_bytes + 2 * all.GetDataSize() > accepted_bytes_) return write_result::busy;
  if (const Status saved = ensure_saved(); !saved.ok()) return judge(saved);
  Status s;
  {
    const std::shared_lock lock(guard_);
    if (db_ == nullptr) return write_result::failed;
    s = db_->Write(options, &all);
  }
  if (s.IsCorruption()) replace_damaged();
  return judge(s);
}

answer_store::write_result answer_store::flush() {
  const Status saved = ensure_saved();
  const std::shared_lock lock(guard_);
  if (db_ == nullptr) return write_result::failed;
  const Status flushed = db_->Flush(rocksdb::FlushOptions());
  return judge(flushed.ok() ? saved : flushed);
}

answer_store::write_result answer_store::purge(const engine::purge_scope& scope, engine::wall_time at) {
  const std::lock_guard control(control_);
  {
    const std::unique_lock lock(guard_);
    state_.purged.forget_before(at - state_.longest_ttl);
    state_.purged.add(scope, at);
    state_saved_ = false;
  }
  const Status saved = save_state();
  if (scope != engine::purge_scope{}) return judge(saved);
  const Status emptied = empty();
  return judge(emptied.ok() ? saved : emptied);
}

answer_store::write_result answer_store::resume() {
  const std::lock_guard control(control_);
  // First of all: does the disk take anything?
  if (const Status saved = save_state(); !saved.ok()) return judge(saved);
  if (db_ != nullptr && db_->Resume().ok()) return write_result::ok;
  const std::unique_lock lock(guard_);
  db_.reset();
  std::string note;
  return judge(start(note));
}

answer_store::stats answer_store::usage() const {
  stats s;
  s.bad_records = bad_records_;
  s.rebuilds = rebuilds_;
  const std::shared_lock lock(guard_);
  if (db_ == nullptr) return s;
  db_->GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &s.disk_bytes);
  db_->GetIntProperty(rocksdb::DB::Properties::kEstimateNumKeys, &s.entries);
  return s;
}

answer_store::write_result answer_store::judge(const Status& s) {
  if (s.ok()) return write_result::ok;
  if (s.IsIncomplete()) return write_result::busy;
  return s.IsNoSpace() ? write_result::no_space : write_result::failed;
}

/// Opens what is there; what is damaged is set aside, once.
Status answer_store::start(std::string& note) {
  Status s = open_database();
  if (!damaged(s)) return s;
  note = s.ToString() + "; ";
  s = set_aside(note);
  if (s.ok()) s = open_database();
  return s;
}

Status answer_store::open_database() {
  Status s = make_private(path_);
  if (s.ok()) s = load_state();
  if (!s.ok()) return s;
  rocksdb::DB* db = nullptr;
  s = rocksdb::DB::Open(answer_store_options(settings_, env_), path_, &db);
  db_.reset(db);
  if (s.ok()) env_->LowerThreadPoolCPUPriority(rocksdb::Env::LOW);
  return s;
}

/// A database without our state is somebody else's. The state is on disk before the first answer is.
Status answer_store::load_state() {
  const std::string file = path_ + state_file;
  const bool has_database = env_->FileExists(path_ + "/CURRENT").ok();
  std::optional<store_state> read;
  std::uint64_t size = 0;
  Status s = env_->GetFileSize(file, &size);
  if (s.ok() && size <= max_state_bytes) {
    std::string record;
    s = rocksdb::ReadFileToString(env_, file, &record);
    if (s.ok()) read = decode_state(record);
  }
  if (!s.ok() && !damaged(s)) return s;
  if (!read && has_database) return Status::Corruption(path_, "is not a cache of this version");
  // Purges from before the database was replaced stay in force.
  if (read) {
    for (const auto& [scope, at] : read->purged.rules()) state_.purged.add(scope, at);
    state_.longest_ttl = std::max(state_.longest_ttl, read->longest_ttl);
  }
  if (read && state_.longest_ttl >= settings_.max_ttl && state_saved_) return Status::OK();
  state_.longest_ttl = std::max(state_.longest_ttl, settings_.max_ttl);
  return save_state();
}

/// The file is replaced as a whole and synced.
Status answer_store::save_state() {
  const std::string file = path_ + state_file;
  const std::string fresh = file + ".new";
  Status s = rocksdb::WriteStringToFile(env_, encode_state(state_), fresh, true);
  if (s.ok()) s = env_->RenameFile(fresh, file);
  std::unique_ptr<rocksdb::Directory> directory;
  if (s.ok()) s = env_->NewDirectory(path_, &directory);
  if (s.ok()) s = directory->Fsync();
  state_saved_ = s.ok();
  return s;
}

Status answer_store::ensure_saved() {
  if (state_saved_) return Status::OK();
  const std::lock_guard control(control_);
  return state_saved_ ? Status::OK() : save_state();
}

/// Deletes all answers. Only its own files: the state stays.
Status answer_store::empty() {
  const std::unique_lock lock(guard_);
  db_.reset();
  const Status destroyed = rocksdb::DestroyDB(path_, answer_store_options(settings_, env_));
  std::string note;
  const Status started = start(note);
  return started.ok() ? destroyed : started;
}

/// RocksDB takes no more writes once it met damage in the background.
void answer_store::replace_damaged() {
  const std::lock_guard control(control_);
  const std::unique_lock lock(guard_);
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  rocksdb::WriteBatch nothing;
  if (db_ == nullptr || !db_->Write(options, &nothing).IsCorruption()) return;
  db_.reset();
  std::string note;
  ++rebuilds_;
  if (set_aside(note).ok()) start(note).PermitUncheckedError();
}

/// Renames the directory; of those set aside earlier none is left.
Status answer_store::set_aside(std::string& note) {
  const fs::path here(path_);
  const std::string prefix = here.filename().string() + ".broken-";
  const fs::path parent = here.has_parent_path() ? here.parent_path() : fs::path(".");
  std::error_code error;
  std::vector<fs::path> earlier;
  unsigned last = 0;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    const auto n = number_of(it->path().filename().string(), prefix);
    if (!n) continue;
    earlier.push_back(it->path());
    last = std::max(last, *n);
  }
  if (error) return failure(parent.string(), error);
  const fs::path aside = parent / (prefix + std::to_string(last + 1));
  fs::rename(here, aside, error);
  if (error) return failure(path_, error);
  note += "set aside as " + aside.string() + "; ";
  for (const auto& old : earlier) fs::remove_all(old, error);
  return Status::OK();
}

}  // namespace millrace::storage
