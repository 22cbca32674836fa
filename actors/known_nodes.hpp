#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/actors.hpp"

namespace millrace::actors {

/// The nodes that an actor with one home has heard from, and where to answer them. Nodes beyond `max_nodes`
/// are not kept: what they report counts, but they are told and granted nothing until others have left.
class known_nodes {
 public:
  static constexpr std::size_t max_nodes = 256;

  /// Notes where `node`, whose message is being handled, wants its answers, and watches that it lives. True
  /// when this is another dispatcher than before: nothing that the old one said is to be expected any more.
  template <class Self>
  bool learn(Self self, const std::string& node) {
    const auto sender = caf::actor_cast<dispatcher_actor>(self->current_sender());
    const auto found = nodes_.find(node);
    if (!sender || (found == nodes_.end() && nodes_.size() >= max_nodes)) return false;
    if (found != nodes_.end() && found->second == sender) return false;
    self->monitor(sender);
    return !nodes_.insert_or_assign(node, sender).second;
  }
  /// Null for a node that is not kept.
  dispatcher_actor find(const std::string& node) const {
    const auto found = nodes_.find(node);
    return found == nodes_.end() ? dispatcher_actor{} : found->second;
  }
  /// Forgets the nodes whose dispatcher ended, and returns their names.
  std::vector<std::string> drop(const caf::actor_addr& ended) {
    std::vector<std::string> dropped;
    for (auto n = nodes_.begin(); n != nodes_.end();) {
      if (caf::actor_cast<caf::actor_addr>(n->second) != ended) {
        ++n;
        continue;
      }
      dropped.push_back(n->first);
      n = nodes_.erase(n);
    }
    return dropped;
  }

  auto begin() const { return nodes_.begin(); }
  auto end() const { return nodes_.end(); }

 private:
  std::unordered_map<std::string, dispatcher_actor> nodes_;
};

}  // namespace millrace::actors
