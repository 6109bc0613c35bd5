// SPDX-License-Identifier: Apache-2.0
// Budgets and selectors by name and options.
#include "kvsharer/budget/named.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

#include "kvsharer/core/press_names.hpp"
#include "kvsharer/select/named.hpp"

using namespace kvsharer;

namespace {

method_spec spec(std::string_view text) { return method_spec::parse(text).value(); }
template <class T>
T budget_of(const std::string& text) {
  return std::get<T>(budget::named(spec(text)).value());
}
template <class T>
T selector_of(const std::string& text) {
  return std::get<T>(select::named(spec(text)).value());
}
std::string says(const auto& r) {
  REQUIRE_FALSE(r);
  return r.failure().what();
}

}  // namespace

TEST_CASE("every budget has a name, and its options are its members") {
  budget_of<budget::uniform>("uniform");
  CHECK(budget_of<budget::pyramidkv>("pyramidkv").beta == 20);
  CHECK(budget_of<budget::pyramidkv>("pyramidkv:beta=14").beta == 14);
  const auto p = budget_of<budget::pyramidinfer>("pyramidinfer:recent=30%,decay=0.8,min_context=32,interval=2");
  CHECK(p.recent == doctest::Approx(.3));
  CHECK(p.decay == .8);
  CHECK(p.min_context == 32);
  CHECK(p.interval == 2);
  const auto z = budget_of<budget::zigzagkv>("zigzagkv:floor=0.1,per_head=yes");
  CHECK(z.floor == .1);
  CHECK(z.per_head);
  const auto b = budget_of<budget::baklava>("baklava:rule=tempered,low=0.1,high=0.2,kept=0.3,alpha=0.4,floor=0.6");
  CHECK(b.by == budget::baklava::rule::tempered);
  CHECK(b.low == .1);
  CHECK(b.high == .2);
  CHECK(b.kept == .3);
  CHECK(b.alpha == .4);
  CHECK(b.floor == .6);
  CHECK(budget_of<budget::baklava>("baklava:rule=floor").by == budget::baklava::rule::floor);
  CHECK(budget_of<budget::baklava>("baklava:rule=two_thresholds").by == budget::baklava::rule::two_thresholds);
  CHECK(budget_of<budget::adakv<>>("adakv:safeguard=0.5").safeguard == .5);
  CHECK(budget_of<budget::adakv<>>("adakv:sets=uniform").safeguard == .2);
  const auto a = budget_of<budget::adakv<budget::pyramidkv>>("adakv:sets=pyramidkv,beta=4,safeguard=0");
  CHECK(a.inner.beta == 4);
  CHECK(a.safeguard == 0);
  CHECK(budget_of<budget::threshold>("threshold:score=0.01").score == .01f);
}

TEST_CASE("a named budget divides like the struct, and says itself what is out of range") {
  const budget_request r{.sets = 4, .kv_heads = 1, .tokens = 100, .average = 18, .least = 2};
  CHECK(budget::spread(budget::named(spec("pyramidkv:beta=4")).value(), {}, r).value().tokens ==
        std::vector<index_t>{30, 22, 14, 6});
  CHECK(budget::spread(budget::named(spec("pyramidkv:beta=0")).value(), {}, r).failure().code() == errc::bad_argument);
}

TEST_CASE("every selector has a name, and options") {
  CHECK(selector_of<select::streaming_llm>("streaming_llm:sinks=8").sinks == 8);
  CHECK(selector_of<select::h2o>("h2o:sinks=4,recent=16").also.recent == 16);
  CHECK(selector_of<select::observed_attention>("observed_attention:sinks=4").also.sinks == 4);
  const auto r = selector_of<select::random_choice>("random:seed=9,sinks=1,recent=2");
  CHECK(r.seed == 9);
  CHECK(r.also.sinks == 1);
  CHECK(r.also.recent == 2);
  const auto p = selector_of<select::pyramidinfer>("pyramidinfer:sinks=2,distance_weight=1.5");
  CHECK(p.sinks == 2);
  CHECK(p.distance_weight == 1.5);
  const auto s = selector_of<select::snapkv>("snapkv:window=16,kernel=5,pool=average,group=max,sinks=4,recent=20");
  CHECK(s.window == 16);
  CHECK(s.kernel == 5);
  CHECK(s.pool == select::pooling::average);
  CHECK(s.group == select::reduce::largest);
  CHECK(s.also.sinks == 4);
  CHECK(s.also.recent == 20);
  CHECK(selector_of<select::snapkv>("snapkv:pool=average_inside,group=sum").pool == select::pooling::average_inside);
  CHECK(selector_of<select::snapkv>("snapkv:pool=none").pool == select::pooling::none);
  CHECK(selector_of<select::snapkv>("snapkv:pool=max,group=mean").group == select::reduce::mean);
}

TEST_CASE("what knows the question says so") {
  for (const known_method& k : select::names)
    CHECK(select::knows_question(select::named(spec(k.name)).value()) ==
          (k.name != "streaming_llm" && k.name != "random"));
}

TEST_CASE("an unknown name or option lists the known ones, and a value that is none is named") {
  CHECK(says(budget::named(spec("pyramid"))) ==
        "kvsharer E306: there is no budget \"pyramid\"; this version has: uniform, pyramidkv, pyramidinfer, zigzagkv, "
        "baklava, adakv, threshold");
  CHECK(says(budget::named(spec("pyramidkv:alpha=1"))) ==
        "kvsharer E306: the budget pyramidkv has no option \"alpha\"; it takes these: beta");
  CHECK(says(budget::named(spec("zigzagkv:per_head=1"))).find("E305") != std::string::npos);
  CHECK(says(budget::named(spec("adakv:beta=3"))).find("E305") != std::string::npos);
  CHECK(says(select::named(spec("tova"))) ==
        "kvsharer E306: there is no selector \"tova\"; this version has: streaming_llm, h2o, snapkv, pyramidinfer, "
        "observed_attention, random");
  CHECK(says(select::named(spec("snapkv:pool=avg"))) ==
        "kvsharer E305: \"snapkv:pool=avg\" has pool=avg; its value is to be none, max, average or average_inside");
}

TEST_CASE("names of whole methods name selectors and budgets that exist") {
  for (const press_name& p : press_names) {
    const press_methods m = press_named(p.name).value();
    CHECK(select::named(m.selector).has_value());
    CHECK(budget::named(m.budget).has_value());
  }
}
