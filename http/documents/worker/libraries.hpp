#pragma once

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace millrace::http::documents {

/// Raised where a library, or what it should have, is not there.
class library_missing : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A library that is opened by the process that needs it, and so costs every other one nothing: libvips alone
/// brings more than a hundred others along. Stays open until the process ends.
class shared_library {
 public:
  explicit shared_library(const char* name) : name_(name), handle_(::dlopen(name, RTLD_NOW | RTLD_GLOBAL)) {
    if (handle_ == nullptr) throw library_missing(name_ + " is not installed on this node");
  }

  /// Sets a pointer to a function that its header declares.
  template <class Function>
  void find(const char* name, Function*& out) const {
    out = reinterpret_cast<Function*>(::dlsym(handle_, name));
    if (out == nullptr) throw library_missing(name_ + " has no " + name);
  }

 private:
  std::string name_;
  void* handle_;
};

}  // namespace millrace::http::documents
