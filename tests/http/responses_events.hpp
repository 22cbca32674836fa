#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "http/sse.hpp"

namespace millrace::http {

/// The events of a stream of /v1/responses. Each must be named as its type is, and numbered from 0 on.
inline std::vector<nlohmann::json> response_events(const std::string& stream) {
  std::vector<nlohmann::json> out;
  sse_splitter splitter;
  sse_event event;
  std::string joined;
  splitter.feed(stream);
  while (splitter.next(event) == sse_splitter::result::event) {
    const std::string_view payload = sse_payload(event, joined);
    if (payload.empty()) continue;
    out.push_back(nlohmann::json::parse(payload));
    EXPECT_EQ(out.back()["type"], event.name);
    EXPECT_EQ(out.back()["sequence_number"], out.size() - 1);
  }
  return out;
}

/// What OpenAI's SDK makes of the events before the last one, and nothing else: its ResponseAccumulator, with
/// all of its checks.
inline nlohmann::json accumulated(const std::vector<nlohmann::json>& events) {
  using nlohmann::json;
  json snapshot = events.at(0).at("response");
  EXPECT_EQ(events[0]["type"], "response.created");
  const auto item_at = [&](const json& e) -> json& {
    json& item = snapshot["output"].at(e.at("output_index").get<std::size_t>());
    EXPECT_EQ(item["id"], e.at("item_id")) << e;
    return item;
  };
  const auto content_at = [&](const json& e) -> json& {
    return item_at(e)["content"].at(e.at("content_index").get<std::size_t>());
  };
  const auto summary_at = [&](const json& e) -> json& {
    return item_at(e)["summary"].at(e.at("summary_index").get<std::size_t>());
  };
  const auto add = [](json& text, const json& more) {
    text = text.get<std::string>() + more.get<std::string>();
  };
  for (const json& e : events) {
    const std::string type = e["type"];
    if (type == "response.output_item.added") {
      EXPECT_EQ(e["output_index"], snapshot["output"].size());
      snapshot["output"].push_back(e["item"]);
    } else if (type == "response.output_item.done") {
      json& item = snapshot["output"].at(e["output_index"].get<std::size_t>());
      EXPECT_EQ(item["id"], e["item"]["id"]);
      for (const char* grown : {"content", "summary", "arguments"}) {
        if (item.contains(grown)) {
          EXPECT_EQ(item[grown], e["item"][grown]) << e;
        }
      }
      item = e["item"];
    } else if (type == "response.content_part.added") {
      item_at(e)["content"].push_back(e["part"]);
    } else if (type == "response.content_part.done") {
      content_at(e) = e["part"];
    } else if (type == "response.output_text.delta") {
      EXPECT_EQ(content_at(e)["type"], "output_text");
      add(content_at(e)["text"], e["delta"]);
    } else if (type == "response.output_text.done") {
      EXPECT_EQ(content_at(e)["text"], e["text"]);
    } else if (type == "response.refusal.delta") {
      EXPECT_EQ(content_at(e)["type"], "refusal");
      add(content_at(e)["refusal"], e["delta"]);
    } else if (type == "response.refusal.done") {
      EXPECT_EQ(content_at(e)["refusal"], e["refusal"]);
    } else if (type == "response.function_call_arguments.delta") {
      add(item_at(e)["arguments"], e["delta"]);
    } else if (type == "response.function_call_arguments.done") {
      EXPECT_EQ(item_at(e)["name"], e["name"]);
      item_at(e)["arguments"] = e["arguments"];
    } else if (type == "response.reasoning_summary_part.added") {
      item_at(e)["summary"].push_back(e["part"]);
    } else if (type == "response.reasoning_summary_text.delta") {
      add(summary_at(e)["text"], e["delta"]);
    } else if (type == "response.reasoning_summary_text.done") {
      EXPECT_EQ(summary_at(e)["text"], e["text"]);
    } else if (type == "response.reasoning_summary_part.done") {
      EXPECT_EQ(summary_at(e), e["part"]);
    } else if (type == "response.output_text.annotation.added") {
      content_at(e)["annotations"].push_back(e["annotation"]);
    } else if (type == "response.reasoning_text.delta") {
      add(content_at(e)["text"], e["delta"]);
    } else if (type == "response.reasoning_text.done") {
      EXPECT_EQ(content_at(e)["text"], e["text"]);
    } else {
      EXPECT_TRUE(type == "response.created" || type == "response.in_progress" ||
                  type == "response.completed" || type == "response.incomplete")
          << type;
    }
  }
  return snapshot["output"];
}

}  // namespace millrace::http
