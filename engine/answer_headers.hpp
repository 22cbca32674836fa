#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/cached_answer.hpp"
#include "engine/exchange.hpp"
#include "engine/messages.hpp"
#include "engine/ports.hpp"

/// Headers and errors that several kinds of answers share. Pure functions.
namespace millrace::engine {

/// `x-ratelimit-*` of a client's own limits, as they stood when the request was counted.
void add_client_windows(header_list& headers, const acquire_reply& counted);
/// An error as a whole answer in the client's dialect, with the headers that say when and whether to retry.
answer error_answer(const api_error& error, const client_dialect& format);
/// Puts a whole answer to a plain request into the form that the client asked for. False, with `out`
/// untouched, when it cannot be told as a stream.
bool give_whole(const client_dialect& format, route_kind route, const request_facts& asked,
                std::string_view body, std::string_view content_type, answer& out);
/// Of a model with an upgrade: whether that answered, and how sure the answer is (below 0: not known).
void add_upgrade(answer& out, bool upgraded, double confidence);
/// The value of `x-millrace-dropped`: names of fields, with commas; empty: none.
std::string dropped_text(const std::vector<std::string>& fields);
/// `age`, in seconds.
void add_age(answer& out, const cached_answer& entry, wall_time now);
/// The budget of the client's key or its tenant has not enough left; 402. `now`: the calendar's.
api_error budget_error(const acquire_reply& refusal, wall_time now);
/// The request's own time ran out.
api_error deadline_error();
/// The request's client is gone; nobody reads this.
/// Why a cancelled request has no answer. Where the client is gone it is for the log alone.
api_error gone_error(const cancellation& gone);
/// Something went wrong inside.
api_error internal_error();
/// Whether a header belongs to an error rather than to the one who got it.
bool is_retry_header(std::string_view name);

}  // namespace millrace::engine
