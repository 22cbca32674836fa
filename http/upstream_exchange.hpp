#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/ports.hpp"
#include "http/gzip.hpp"
#include "http/response_parser.hpp"
#include "http/upstream_pool.hpp"

namespace millrace::http {

/// The longest head of an answer, all its 1xx heads together.
inline constexpr size_t max_answer_head_bytes = upstream_connection::max_buffer_bytes;
/// What one `read` returns at most, whatever it was compressed from.
inline constexpr size_t max_read_bytes = upstream_connection::max_buffer_bytes;

/// One request and its answer on one connection, which goes back to the pool as soon as the answer is
/// complete.
class http_exchange final : public engine::upstream_exchange {
 public:
  /// `reused`: the connection came from the pool.
  http_exchange(upstream_pool& pool, std::shared_ptr<upstream_origin> origin,
                std::shared_ptr<upstream_connection> connection, bool reused, engine::cancellation& gone);

  /// A field or target with line breaks in it is refused as `protocol`: nothing is written.
  engine::upstream_failure send(const engine::upstream_request& request, engine::time_point first_byte,
                                engine::upstream_head& head, engine::yield y) override;
  engine::upstream_failure read(std::string& out, engine::time_point until, engine::yield y) override;
  bool stale() const override { return stale_; }
  std::string_view proxy_variable() const override {
    return origin_->proxy ? std::string_view(origin_->proxy->variable) : std::string_view();
  }

 private:
  engine::upstream_failure fail(engine::upstream_failure why);
  bool build_head(const engine::upstream_request& request, std::string& out) const;
  engine::upstream_failure read_head(bool bodyless, engine::upstream_head& head, const io_scope& scope);
  engine::upstream_failure parse_head(size_t& head_bytes, const io_scope& scope);
  engine::upstream_failure fill_for_head(const io_scope& scope);
  engine::upstream_failure accept_head(engine::upstream_head& head);
  bool advance(std::string& out);
  engine::upstream_failure body_end();
  void complete();

  upstream_pool& pool_;
  std::shared_ptr<upstream_origin> origin_;
  std::shared_ptr<upstream_connection> connection_;  ///< null after a failure or the end of the answer
  engine::cancellation& gone_;
  std::optional<response_parser> parser_;
  std::unique_ptr<body_decoder> decoder_;
  engine::duration keep_{};  ///< how long the provider says it keeps the connection; 0: not said
  engine::upstream_failure failure_ = engine::upstream_failure::none;
  bool reused_;
  bool stale_ = false;
  bool written_ = false;   ///< the whole request was: else the connection cannot carry another one
  bool answered_ = false;  ///< some byte of an answer came
  bool complete_ = false;
};

}  // namespace millrace::http
