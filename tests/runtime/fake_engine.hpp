// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <span>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/prefix_index.hpp"
#include "runtime/fake_model.hpp"
#include "runtime/slow_counters.hpp"

/// An engine that batches continuously: requests come, wait for pages, run together with others, are set aside when
/// pages run out, fork, draft, are cancelled and end; some sequences are kept for the prefixes of later requests.
namespace fake_engine {

using namespace kvsharer;

struct request {
  fake_model::text text;
  std::size_t prompt = 0;  // tokens given
  index_t wanted = 0;      // tokens to add
  index_t fresh = 0;       // of its newest tokens, those that attention has not seen yet
  bool cancelled = false;
  sequence_id id = {};

  bool done() const { return text.tokens.size() == prompt + static_cast<std::size_t>(wanted); }
};

/// How often what happened.
struct events {
  int forks = 0, drafts = 0, cancellations = 0, preemptions = 0, evictions = 0, refusals = 0;
};

/// Tokens [first, length) of a sequence, its newest ones, which are to be stored.
struct new_tokens {
  sequence_id id;
  std::span<const std::int32_t> tokens;  // all of the sequence
  index_t first;
};

/// fake_model for a batch, one sequence after another.
template <class Attend>
struct one_by_one {
  static constexpr cache_shape shape = fake_model::shape;
  share_map map;
  Attend attend;

  template <class Cache>
  void store(Cache& cache, std::span<const new_tokens> batch) {
    for (const new_tokens& n : batch) fake_model::store(cache, n.id, n.tokens, n.first, map);
  }
  template <class Cache>
  void decode(const Cache& cache, std::span<request* const> batch) {
    for (request* r : batch) fake_model::decode(cache, r->id, r->text, attend);
  }
};

/// A model stores new tokens of sequences, and decodes: lets the fresh tokens of requests attend and adds the next one.
template <class Cache, class Model>
class engine {
 public:
  /// `beginnings` are what prompts may have in common. Borrows the cache and the model.
  engine(Cache& cache, share_map map, Model& model, std::size_t requests, std::size_t batch, std::size_t beginnings,
         unsigned seed)
      : cache_(cache),
        map_(std::move(map)),
        model_(model),
        index_(cache.page_tokens(), map_),
        total_(requests),
        batch_(batch),
        random_(seed) {
    for (; beginnings > 0; --beginnings) beginnings_.push_back(some_tokens(4 + below(24)));
  }

  /// Until all requests have ended; `look` is how often counters are counted anew.
  void run(int look) {
    for (int step = 0; requests_.size() < total_ || !waiting_.empty() || !running_.empty(); ++step) {
      arrive();
      for (std::size_t n = 0; n < times_; ++n) cancel();
      while (running_.size() < batch_ && !waiting_.empty() && admit(waiting_.front())) waiting_.pop_front();
      REQUIRE((!running_.empty() || waiting_.empty()));  // or nothing would ever move
      for (std::size_t n = 0; n < times_; ++n) draft();
      decode();
      for (std::size_t n = 0; n < times_; ++n) fork();
      if (step % look == 0) {
        std::vector<sequence_id> living(kept_.begin(), kept_.end());
        for (const request* r : running_) living.push_back(r->id);
        const auto c = cache_.counters();
        REQUIRE(c == cache_fixtures::slow_counters(cache_, living, token_bytes(), c.pages_at_peak));
      }
    }
    while (!kept_.empty()) evict();
  }

  const std::deque<request>& requests() const { return requests_; }
  const prefix_index<>& index() const { return index_; }
  events happened() const { return events_; }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  bool once_in(std::size_t n) { return below(n) == 0; }
  std::vector<std::int32_t> some_tokens(std::size_t n) {
    std::vector<std::int32_t> t(n);
    for (std::int32_t& x : t) x = static_cast<std::int32_t>(below(fake_model::words));
    return t;
  }
  std::size_t token_bytes() const {
    const index_t row = Model::shape.kv_heads * Model::shape.head_dim;
    return 2 * static_cast<std::size_t>(map_.owner_count() * row) * sizeof(typename Cache::element_type);
  }

  /// Does what may be refused for want of memory, and is not trusted to have changed nothing then.
  template <class F>
  bool attempt(F&& f) {
    const auto before = cache_.counters();
    try {
      f();
      return true;
    } catch (const error& e) {
      REQUIRE((e.code() == errc::pages_exhausted || e.code() == errc::sequences_exhausted));
      REQUIRE(cache_.counters() == before);
      ++events_.refusals;
      return false;
    }
  }

  request& add(std::vector<std::int32_t> tokens) {
    request& r = requests_.emplace_back();
    r.prompt = tokens.size();
    r.text.tokens = std::move(tokens);
    r.wanted = static_cast<index_t>(1 + below(8));
    return r;
  }

  void arrive() {
    for (std::size_t n = below(batch_ / 2); n > 0 && requests_.size() < total_; --n) {
      std::vector<std::int32_t> tokens;
      if (!once_in(4)) tokens = beginnings_[below(beginnings_.size())];
      const auto rest = some_tokens(1 + below(16));
      tokens.insert(tokens.end(), rest.begin(), rest.end());
      waiting_.push_back(&add(std::move(tokens)));
    }
  }

  void cancel() {
    auto& from = once_in(2) ? waiting_ : running_;
    if (!once_in(25) || from.empty()) return;
    const auto it = from.begin() + static_cast<std::ptrdiff_t>(below(from.size()));
    (*it)->cancelled = true;
    if (&from == &running_) drop((*it)->id);
    from.erase(it);
    ++events_.cancellations;
  }

  void store(sequence_id id, std::span<const std::int32_t> tokens, index_t first) {
    const new_tokens one{id, tokens, first};
    model_.store(cache_, {&one, 1});
  }
  void drop(sequence_id id) {
    cache_.drop(id);
    index_.erase(id);
  }
  void evict() {
    drop(kept_.front());
    kept_.pop_front();
  }
  /// Frees something: a sequence kept for its prefix, the oldest first.
  bool make_room() {
    if (kept_.empty()) return false;
    evict();
    ++events_.evictions;
    return true;
  }

  /// Gives a request a sequence with all its tokens, of which only those that no other sequence holds are computed.
  bool admit(request* r) {
    const std::span<const std::int32_t> tokens = r->text.tokens;
    for (;;) {
      const prefix_hit hit = index_.find(tokens.first(tokens.size() - 1));
      const bool fits = attempt([&] {
        const sequence_id made = hit.tokens > 0 ? cache_.fork(hit.id) : cache_.create();
        cache_.truncate(made, hit.tokens);
        try {
          cache_.append(made, static_cast<index_t>(tokens.size()) - hit.tokens);
        } catch (const error&) {
          cache_.drop(made);
          throw;
        }
        r->id = made;
      });
      if (fits) {
        store(r->id, tokens, hit.tokens);
        r->fresh = static_cast<index_t>(tokens.size()) - hit.tokens;
        index_.update(r->id, tokens);
        running_.push_back(r);
        return true;
      }
      if (!make_room()) return false;
    }
  }

  /// Some tokens that turn out wrong.
  void draft() {
    if (running_.empty() || !once_in(4)) return;
    request& r = *running_[below(running_.size())];
    const std::size_t length = r.text.tokens.size(), count = 1 + below(6);
    if (length + count > static_cast<std::size_t>(Model::shape.capacity)) return;
    if (!attempt([&] { cache_.append(r.id, static_cast<index_t>(count)); })) return;
    auto drafted = r.text.tokens;
    const auto more = some_tokens(count);
    drafted.insert(drafted.end(), more.begin(), more.end());
    store(r.id, drafted, static_cast<index_t>(length));
    index_.update(r.id, drafted);
    cache_.truncate(r.id, static_cast<index_t>(length));
    index_.truncate(r.id, static_cast<index_t>(length));
    ++events_.drafts;
  }

  void decode() {
    const std::vector<request*> batch(running_.begin(), running_.end());
    model_.decode(cache_, batch);
    const auto ended = std::stable_partition(running_.begin(), running_.end(), [](request* r) { return !r->done(); });
    for (auto it = ended; it != running_.end(); ++it)
      if (once_in(2))
        kept_.push_back((*it)->id);
      else
        drop((*it)->id);
    running_.erase(ended, running_.end());

    // One more token for each, all or nothing; who came last waits again when there is no room for it.
    std::vector<sequence_growth> growth;
    do {
      growth.clear();
      for (const request* r : running_) growth.push_back({r->id, 1});
    } while (!attempt([&] { cache_.append(growth); }) && (make_room() || set_aside()));
    std::vector<new_tokens> newest;
    for (request* r : running_) {
      newest.push_back({r->id, r->text.tokens, static_cast<index_t>(r->text.tokens.size()) - 1});
      r->fresh = 1;
    }
    model_.store(cache_, newest);
    for (const request* r : running_) index_.update(r->id, r->text.tokens);
  }

  bool set_aside() {
    request* const last = running_.back();
    drop(last->id);
    running_.pop_back();
    waiting_.push_front(last);
    ++events_.preemptions;
    return true;
  }

  /// A second request that goes on from where a running one is, with another token.
  void fork() {
    if (running_.empty() || running_.size() >= batch_ || requests_.size() >= total_ || !once_in(6)) return;
    const request& from = *running_[below(running_.size())];
    if (from.text.tokens.size() + 9 > static_cast<std::size_t>(Model::shape.capacity)) return;
    auto tokens = from.text.tokens;
    tokens.push_back(some_tokens(1)[0]);
    sequence_id made;
    const bool fits = attempt([&] {
      const sequence_id forked = cache_.fork(from.id);
      try {
        cache_.append(forked, 1);
      } catch (const error&) {
        cache_.drop(forked);
        throw;
      }
      made = forked;
    });
    if (!fits) return;
    request& r = add(std::move(tokens));
    r.id = made;
    r.fresh = 1;
    store(made, r.text.tokens, static_cast<index_t>(r.prompt) - 1);
    index_.update(made, r.text.tokens);
    running_.push_back(&r);
    ++events_.forks;
  }

  Cache& cache_;
  share_map map_;
  Model& model_;
  prefix_index<> index_;
  std::size_t total_, batch_;
  std::size_t times_ = std::max<std::size_t>(batch_ / 10, 1);  // a wide batch has more happen to it in a step
  std::mt19937 random_;
  std::vector<std::vector<std::int32_t>> beginnings_;
  std::deque<request> requests_;  // all that ever came
  std::deque<request*> waiting_, running_;
  std::deque<sequence_id> kept_;  // ended, and kept for their prefixes
  events events_;
};

}  // namespace fake_engine
