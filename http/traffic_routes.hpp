#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "engine/traffic_weights.hpp"
#include "http/api.hpp"

/// `GET` and `PUT /v1/models/{id}/weights`: the share of traffic that groups and targets of a model get,
/// changed while the node runs.
namespace millrace::http {

/// Largest body of a `PUT`.
inline constexpr std::size_t max_weights_bytes = 64U << 10U;

/// `{"groups":{NAME:WEIGHT,...},"targets":{"PROVIDER/MODEL":WEIGHT,...}}`, either of them absent where
/// nothing changes; names that are not mentioned keep what `weights` has. False, with `error`, for anything
/// else, for weights outside 0 to 1e6, and where nothing would have a weight any more. Pure.
bool read_weights(const engine::config& c, const engine::model_config& m, std::string_view body,
                  engine::traffic_weights& weights, engine::api_error& error);

/// What is told of a model. `changed`: since the configuration was read.
nlohmann::ordered_json weights_json(const engine::config& c, const engine::model_config& m,
                                    const engine::traffic_weights& weights, bool changed);

void add_traffic_routes(api_services& s, std::vector<route>& out);

}  // namespace millrace::http
