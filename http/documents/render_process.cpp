#include "http/documents/render_process.hpp"

#include <fcntl.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill, sigset_t
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

namespace millrace::http::documents {

namespace {

namespace asio = boost::asio;

/// Of a pipe, where the system allows it: fewer turns for a large document.
constexpr int pipe_bytes = 1 << 20;
constexpr std::size_t read_bytes = 64 * 1024;

/// A file descriptor that is closed with its owner.
class descriptor {
 public:
  explicit descriptor(int fd = -1) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

struct pipe_ends {
  descriptor read;
  descriptor write;
};

bool make_pipe(pipe_ends& out) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return false;
  out.read = descriptor(fds[0]);
  out.write = descriptor(fds[1]);
  ::fcntl(fds[1], F_SETPIPE_SZ, pipe_bytes);
  return true;
}

/// What posix_spawn is told, freed with its owner.
class spawn_settings {
 public:
  spawn_settings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~spawn_settings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  spawn_settings(const spawn_settings&) = delete;
  spawn_settings& operator=(const spawn_settings&) = delete;

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

/// Nothing of this process is handed on: no environment (it holds keys), no open file but the two pipes, no
/// blocked or ignored signal, no terminal's process group.
bool spawn(const render_command& command, int input, int output, pid_t& pid) {
  spawn_settings s;
  constexpr int first_other = 3;
  posix_spawn_file_actions_adddup2(&s.actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&s.actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&s.actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&s.actions, first_other);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&s.attributes, &none);
  posix_spawnattr_setsigdefault(&s.attributes, &all);
  posix_spawnattr_setpgroup(&s.attributes, 0);
  posix_spawnattr_setflags(&s.attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(command.cpu_limit).count();
  std::array<std::string, 4> words = {command.program, command.subcommand,
                                      "--memory=" + std::to_string(command.memory_bytes),
                                      "--cpu=" + std::to_string(seconds)};
  std::array<char*, 5> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) arguments.at(i) = words.at(i).data();
  // One thread each: documents are many, and arenas and pools take address space.
  std::array<std::string, 3> settings = {"OMP_THREAD_LIMIT=1", "MALLOC_ARENA_MAX=2", "VIPS_CONCURRENCY=1"};
  std::array<char*, 4> environment{};
  for (std::size_t i = 0; i < settings.size(); ++i) environment.at(i) = settings.at(i).data();
  return posix_spawn(&pid, command.program.c_str(), &s.actions, &s.attributes, arguments.data(),
                     environment.data()) == 0;
}

/// The process, known by a descriptor that no other process can take over. Killed and waited for by its
/// owner, whatever happens.
class child {
 public:
  child(asio::io_context& io, pid_t pid) : pid_(pid), handle_(io) {
    if (const auto fd = ::syscall(SYS_pidfd_open, pid, 0); fd >= 0) handle_.assign(static_cast<int>(fd));
  }
  ~child() {
    kill();
    reap();
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  bool known() const { return handle_.is_open(); }

  void kill() const {
    if (!reaped_) ::kill(pid_, SIGKILL);
  }
  /// Suspends until it has ended. Its answer was read or it was killed, so that is soon.
  void wait(engine::yield y) {
    boost::system::error_code ec;
    handle_.async_wait(asio::posix::descriptor_base::wait_read, y[ec]);
    reap();
  }
  void reap() {
    if (std::exchange(reaped_, true)) return;
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }

 private:
  const pid_t pid_;
  asio::posix::stream_descriptor handle_;
  bool reaped_ = false;
};

/// All that it says; false when that is more than it may.
bool read_all(asio::posix::stream_descriptor& from, std::string& out, engine::yield y) {
  while (out.size() <= max_result_bytes) {
    const std::size_t before = out.size();
    out.resize(before + read_bytes);
    boost::system::error_code ec;
    const std::size_t got = from.async_read_some(asio::buffer(out.data() + before, read_bytes), y[ec]);
    out.resize(before + got);
    if (ec) return ec == asio::error::eof;
  }
  return false;
}

}  // namespace

render_end run_render(const render_command& command, const render_job& job, std::string_view document,
                      engine::time_point until, engine::thread_port& thread, engine::cancellation& gone,
                      render_result& result, engine::yield y) {
  asio::io_context& io = asio::get_associated_executor(y.handler_).context();
  pipe_ends in;
  pipe_ends out;
  pid_t pid = 0;
  if (!make_pipe(in) || !make_pipe(out) || !spawn(command, in.read.get(), out.write.get(), pid))
    return render_end::not_started;
  child process(io, pid);
  if (!process.known()) return render_end::not_started;
  asio::posix::stream_descriptor to(io, in.write.release());
  asio::posix::stream_descriptor from(io, out.read.release());
  in.read = descriptor();
  out.write = descriptor();

  // Killed, it closes its ends of the pipes, and whatever is under way here ends.
  bool late = false;
  const engine::cancellation::hook on_gone(gone, [&] { process.kill(); });
  if (gone.cancelled()) process.kill();
  const auto alarm = thread.at(until, [&] {
    late = true;
    process.kill();
  });
  const std::string head = encode_job(job);
  boost::system::error_code ec;
  const std::array<asio::const_buffer, 2> input = {asio::buffer(head),
                                                   asio::buffer(document.data(), document.size())};
  asio::async_write(to, input, y[ec]);
  to.close(ec);
  std::string said;
  const bool whole = read_all(from, said, y);
  if (!whole) process.kill();
  process.wait(y);
  if (whole && decode_result(said, result)) return render_end::answered;
  if (gone.cancelled()) return render_end::gone;
  return late ? render_end::late : render_end::crashed;
}

}  // namespace millrace::http::documents
