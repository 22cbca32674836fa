#pragma once

#include <rocksdb/options.h>

#include "storage/answer_store.hpp"

namespace millrace::storage {

/// What the parts of a store may have, in bytes.
struct disk_bounds {
  std::uint64_t memtables = 0;  ///< memory of what is not yet in a file
  std::uint64_t merged = 0;     ///< one file made of several
  std::uint64_t kept = 0;       ///< with more in files, the oldest are deleted
  std::uint64_t accepted =
      0;  ///< with more in files nothing is written until the oldest are deleted; what is on its way
          ///< to a file, and one file that is being merged, fit between this and max_bytes
};
disk_bounds disk_bounds_of(const answer_store::settings& s);

/// How RocksDB keeps answers: see README.md.
rocksdb::Options answer_store_options(const answer_store::settings& s, rocksdb::Env* env);

}  // namespace millrace::storage
