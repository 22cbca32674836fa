// A disk that is full or fails, by RocksDB's own interface to files, and a small one that is really full.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <atomic>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "store_world.hpp"

namespace millrace::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

/// What the disk does; shared by its files.
struct disk_mood {
  std::atomic<bool> full = false;
  std::atomic<bool> no_reads = false;
  std::atomic<bool> no_writes = false;

  IOStatus writing() const {
    if (full) return IOStatus::NoSpace("injected");
    return no_writes ? IOStatus::IOError("injected") : IOStatus::OK();
  }
  IOStatus reading() const { return no_reads ? IOStatus::IOError("injected") : IOStatus::OK(); }
};

class moody_writable : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  moody_writable(std::unique_ptr<rocksdb::FSWritableFile> f, const disk_mood& m)
      : FSWritableFileOwnerWrapper(std::move(f)), mood_(m) {}
  IOStatus Append(const Slice& data, const IOOptions& o, IODebugContext* d) override {
    const auto s = mood_.writing();
    return s.ok() ? FSWritableFileOwnerWrapper::Append(data, o, d) : s;
  }
  IOStatus Append(const Slice& data, const IOOptions& o, const rocksdb::DataVerificationInfo& v,
                  IODebugContext* d) override {
    const auto s = mood_.writing();
    return s.ok() ? FSWritableFileOwnerWrapper::Append(data, o, v, d) : s;
  }
  IOStatus Sync(const IOOptions& o, IODebugContext* d) override {
    const auto s = mood_.writing();
    return s.ok() ? FSWritableFileOwnerWrapper::Sync(o, d) : s;
  }

 private:
  const disk_mood& mood_;
};

class moody_readable : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  moody_readable(std::unique_ptr<rocksdb::FSRandomAccessFile> f, const disk_mood& m)
      : FSRandomAccessFileOwnerWrapper(std::move(f)), mood_(m) {}
  IOStatus Read(uint64_t offset, size_t n, const IOOptions& o, Slice* result, char* scratch,
                IODebugContext* d) const override {
    const auto s = mood_.reading();
    return s.ok() ? FSRandomAccessFileOwnerWrapper::Read(offset, n, o, result, scratch, d) : s;
  }

 private:
  const disk_mood& mood_;
};

class moody_files : public rocksdb::FileSystemWrapper {
 public:
  explicit moody_files(const disk_mood& m) : FileSystemWrapper(rocksdb::FileSystem::Default()), mood_(m) {}
  const char* Name() const override { return "moody_files"; }
  IOStatus NewWritableFile(const std::string& name, const FileOptions& o,
                           std::unique_ptr<rocksdb::FSWritableFile>* f, IODebugContext* d) override {
    auto s = mood_.writing();
    if (s.ok()) s = FileSystemWrapper::NewWritableFile(name, o, f, d);
    if (s.ok()) *f = std::make_unique<moody_writable>(std::move(*f), mood_);
    return s;
  }
  IOStatus NewRandomAccessFile(const std::string& name, const FileOptions& o,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* f, IODebugContext* d) override {
    auto s = FileSystemWrapper::NewRandomAccessFile(name, o, f, d);
    if (s.ok()) *f = std::make_unique<moody_readable>(std::move(*f), mood_);
    return s;
  }

 private:
  const disk_mood& mood_;
};

class AnswerStoreFaults : public store_world {
 protected:
  std::unique_ptr<answer_store> open_moody() { return open(8UL << 20U, env_.get()); }

  /// Writes until the disk's state shows.
  static write_result write_until_it_fails(answer_store& s) {
    for (std::uint64_t n = 1000; n < 100'000; n += 50) {
      if (const auto r = write(s, n, n + 50); r != write_result::ok) return r;
    }
    return write_result::ok;
  }

  disk_mood mood_;
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(std::make_shared<moody_files>(mood_));
};

TEST_F(AnswerStoreFaults, AFullDiskIsToldReadsGoOnAndItRecovers) {
  auto s = open_moody();
  ASSERT_EQ(write(*s, 0, 100), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  mood_.full = true;
  EXPECT_EQ(write_until_it_fails(*s), write_result::no_space);
  EXPECT_EQ(count_found(*s, 0, 100), 100U);
  EXPECT_EQ(s->flush(), write_result::no_space);
  EXPECT_NE(s->resume(), write_result::ok);
  mood_.full = false;
  EXPECT_EQ(s->resume(), write_result::ok);
  EXPECT_EQ(write(*s, 100, 200), write_result::ok);
  EXPECT_EQ(s->flush(), write_result::ok);
  s.reset();
  s = open_moody();
  ASSERT_NE(s, nullptr) << note();
  EXPECT_EQ(note(), "");
  EXPECT_EQ(count_found(*s, 0, 200), 200U);
}

TEST_F(AnswerStoreFaults, FailingWritesAreToldReadsGoOnAndItRecovers) {
  auto s = open_moody();
  ASSERT_EQ(write(*s, 0, 100), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  mood_.no_writes = true;
  EXPECT_EQ(write_until_it_fails(*s), write_result::failed);
  EXPECT_EQ(count_found(*s, 0, 100), 100U);
  mood_.no_writes = false;
  EXPECT_EQ(s->resume(), write_result::ok);
  EXPECT_EQ(write(*s, 100, 200), write_result::ok);
  EXPECT_EQ(s->flush(), write_result::ok);
  EXPECT_EQ(count_found(*s, 0, 200), 200U);
}

TEST_F(AnswerStoreFaults, FailingReadsAreToldApartFromMisses) {
  auto s = open_moody();
  ASSERT_EQ(write(*s, 0, 100), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  mood_.no_reads = true;
  engine::cached_answer_ptr a;
  EXPECT_EQ(s->get(key_of(1), start_time, a), read_result::failed);
  EXPECT_EQ(a, nullptr);
  mood_.no_reads = false;
  EXPECT_EQ(s->get(key_of(1), start_time, a), read_result::found);
}

TEST_F(AnswerStoreFaults, APurgeThatCouldNotBeWrittenIsInForceAndLastsLater) {
  const engine::purge_scope acme{.tenant = "acme", .model = {}};
  auto s = open_moody();
  ASSERT_EQ(write(*s, 0, 10), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  mood_.full = true;
  EXPECT_EQ(s->purge(acme, start_time), write_result::no_space);
  EXPECT_EQ(count_found(*s, 0, 10), 0U);
  mood_.full = false;
  EXPECT_EQ(s->flush(), write_result::ok);
  s.reset();
  s = open_moody();
  EXPECT_EQ(count_found(*s, 0, 10), 0U);
}

TEST_F(AnswerStoreFaults, APurgeOfEverythingOnAFullDiskLosesNothingElse) {
  auto s = open_moody();
  ASSERT_EQ(write(*s, 0, 10), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  mood_.full = true;
  EXPECT_EQ(s->purge({}, start_time), write_result::no_space);
  EXPECT_EQ(count_found(*s, 0, 10), 0U);
  EXPECT_NE(write(*s, 10, 20), write_result::ok);
  mood_.full = false;
  EXPECT_EQ(s->resume(), write_result::ok);
  const auto later = answer_of(1, 100, start_time + 1ms);
  EXPECT_EQ(s->write({{key_of(1), later}}), write_result::ok);
  engine::cached_answer_ptr a;
  EXPECT_EQ(s->get(key_of(1), start_time + 1ms, a), read_result::found);
}

TEST_F(AnswerStoreFaults, OnAFullOrFailingDiskItDoesNotOpenAndLeavesWhatIsThere) {
  {
    const auto s = open_moody();
    ASSERT_EQ(write(*s, 0, 100), write_result::ok);
    ASSERT_EQ(s->flush(), write_result::ok);
  }
  for (std::atomic<bool>* fault : {&mood_.full, &mood_.no_writes, &mood_.no_reads}) {
    *fault = true;
    EXPECT_EQ(open_moody(), nullptr);
    EXPECT_NE(note().find("injected"), std::string::npos) << note();
    EXPECT_FALSE(fs::exists(path() + ".broken-1"));
    *fault = false;
  }
  const auto s = open_moody();
  ASSERT_NE(s, nullptr) << note();
  EXPECT_EQ(count_found(*s, 0, 100), 100U);
}

void write_file(const char* file, const std::string& text) {
  const int fd = ::open(file, O_WRONLY);
  if (fd < 0) return;
  static_cast<void>(!::write(fd, text.data(), text.size()));
  close(fd);
}

/// A file system of 6 MiB that only this process sees.
bool mount_small(const std::string& where) {
  const auto uid = std::to_string(getuid());
  const auto gid = std::to_string(getgid());
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "0 " + uid + " 1");
    write_file("/proc/self/gid_map", "0 " + gid + " 1");
  }
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return mount("tmpfs", where.c_str(), "tmpfs", 0, "size=6m") == 0;
}

class AnswerStoreOnASmallDisk : public AnswerStoreFaults {
 protected:
  static constexpr int passed = 0;
  static constexpr int not_allowed = 77;

  [[noreturn]] void in_a_process_of_its_own() {
    const bool allowed = mount_small(root().string());
    if (allowed) fill_the_disk();
    umount2(root().c_str(), MNT_DETACH);
    fs::remove_all(root());
    std::_Exit(!allowed ? not_allowed : HasFailure() ? 1 : passed);
  }

  /// The store may use more than there is.
  void fill_the_disk() {
    const auto s = open(64UL << 20U);
    ASSERT_NE(s, nullptr) << note();
    EXPECT_EQ(write(*s, 0, 100), write_result::ok);
    EXPECT_EQ(s->flush(), write_result::ok);
    EXPECT_EQ(write_until_it_fails(*s), write_result::no_space);
    EXPECT_EQ(count_found(*s, 0, 100), 100U);
    EXPECT_NE(s->purge({}, start_time), write_result::failed);
    EXPECT_EQ(count_found(*s, 0, 100), 0U);
    EXPECT_EQ(s->resume(), write_result::ok);
    const auto later = answer_of(1, 100, start_time + 1ms);
    EXPECT_EQ(s->write({{key_of(1), later}}), write_result::ok);
    EXPECT_EQ(s->flush(), write_result::ok);
  }
};

TEST_F(AnswerStoreOnASmallDisk, ItIsToldAndAPurgeOfEverythingHelps) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  bool allowed = true;
  const auto ended = [&allowed](int status) {
    allowed = !(WIFEXITED(status) && WEXITSTATUS(status) == not_allowed);
    return !allowed || (WIFEXITED(status) && WEXITSTATUS(status) == passed);
  };
  EXPECT_EXIT(in_a_process_of_its_own(), ended, "");
  if (!allowed) GTEST_SKIP() << "the kernel lets nobody here mount a file system of his own";
}

}  // namespace
}  // namespace millrace::storage
