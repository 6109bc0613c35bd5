// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/cache_stream.hpp"

#include <sstream>
#include <string>

#include "runtime/cache_fixtures.hpp"

using namespace cache_fixtures;

namespace {

const cache_shape shape{.layers = 3, .kv_heads = 2, .head_dim = 2, .capacity = 6};
const share_map map = map_of({0, 0, 2});

template <class Cache>
sequence_id filled(Cache& cache, index_t tokens) {
  const auto id = cache.create();
  cache.append(id, tokens);
  for (const layer_id l : {layer_id{0}, layer_id{2}})
    cache.store(l, id, 0, tokens, rows(shape, tokens, l.value).data(), rows(shape, tokens, l.value + 50).data());
  return id;
}
template <class Cache>
std::string saved(const Cache& cache, sequence_id id) {
  std::ostringstream out;
  cache.save(id, out);
  return out.str();
}
std::string small_stream() {
  shared_cache<float16, layout::paged<2>> cache(map, shape, {.tag = "m"});
  return saved(cache, filled(cache, 3));
}

}  // namespace

TEST_CASE("the bytes are those of the documented form") {
  shared_cache<bfloat16> cache(map_of({0, 0}), {2, 1, 2, 4}, {.tag = "ab"});
  const auto id = cache.create();
  cache.append(id, 1);
  const float k[] = {1.0f, -2.0f}, v[] = {0.5f, 0.0f};
  cache.store({0}, id, 0, 1, k, v);
  const std::string s = saved(cache, id);
  const std::string header(
      "KVSHARER\x03\0\0\0\x03\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0", 48);
  CHECK(s.substr(0, 48) == header);
  const std::string lengths("\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0ab", 30);
  CHECK(s.substr(56, 30) == lengths);
  CHECK(s.substr(94, 8) == std::string("\x80\x3f\x00\xc0\x00\x3f\x00\x00", 8));
  CHECK(s.size() == 110);
  std::uint64_t sum = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i < 102; ++i) sum = (sum ^ static_cast<unsigned char>(s[i])) * 0x100000001b3u;
  for (std::size_t i = 0; i < 8; ++i) CHECK(static_cast<unsigned char>(s[102 + i]) == ((sum >> (8 * i)) & 0xffu));
}

TEST_CASE("every shortened and every damaged stream is refused, and the cache is as it was") {
  shared_cache<float16, layout::paged<2>> cache(map, shape, {.max_sequences = 2, .pages = 4, .tag = "m"});
  const auto kept = filled(cache, 2);
  const std::string stream = small_stream(), before = saved(cache, kept);
  const auto footprint = cache.footprint();
  const auto refuses = [&](const std::string& bytes) {
    std::istringstream in(bytes);
    return refused([&] { cache.restore(in); }) == static_cast<int>(errc::bad_stream) && cache.footprint() == footprint;
  };
  for (std::size_t n = 0; n < stream.size(); ++n) CHECK(refuses(stream.substr(0, n)));
  for (std::size_t at = 0; at < stream.size(); ++at)
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = stream;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ (1u << bit));
      CHECK(refuses(damaged));
    }
  CHECK(saved(cache, kept) == before);
  CHECK(cache.free_pages() == 3);
  std::istringstream whole(stream);
  CHECK(saved(cache, cache.restore(whole)) == stream);
}

TEST_CASE("a stream of another cache is refused and the text says which part differs") {
  const std::string stream = small_stream();
  const auto why = [&](auto&& cache) -> std::string {
    std::istringstream in(stream);
    try {
      cache.restore(in);
    } catch (const error& e) {
      CHECK(e.code() == errc::bad_stream);
      return e.what();
    }
    return "";
  };
  const auto says = [](const std::string& text, const char* word) { return text.find(word) != std::string::npos; };
  CHECK(says(why(shared_cache<bfloat16>(map, shape, {.tag = "m"})), "element type"));
  CHECK(says(why(shared_cache<float>(map, shape, {.tag = "m"})), "element type"));
  CHECK(says(why(shared_cache<float16>(map, shape, {.tag = "n"})), "model"));
  CHECK(says(why(shared_cache<float16>(map, shape, {.tag = "mm"})), "model"));
  CHECK(says(why(shared_cache<float16>(map, shape, {})), "model"));
  CHECK(says(why(shared_cache<float16>(map_of({0, 1, 1}), shape, {.tag = "m"})), "plan of sharing"));
  CHECK(says(why(shared_cache<float16>(map, {3, 1, 4, 6}, {.tag = "m"})), "shape"));
  CHECK(says(why(shared_cache<float16>(map_of({0, 0, 2, 2}), {4, 2, 2, 6}, {.tag = "m"})), "shape"));
}

TEST_CASE("a sound stream that does not fit names what is full") {
  const std::string stream = small_stream();
  const auto restore_into = [&](auto&& cache) {
    std::istringstream in(stream);
    cache.restore(in);
  };
  cache_shape narrow = shape;
  narrow.capacity = 2;
  CHECK_REFUSED(capacity_exceeded, restore_into(shared_cache<float16>(map, narrow, {.tag = "m"})));
  CHECK_REFUSED(pages_exhausted,
                restore_into(shared_cache<float16, layout::paged<2>>(map, shape, {.pages = 1, .tag = "m"})));
  shared_cache<float16> full(map, shape, {.tag = "m"});
  full.create();
  CHECK_REFUSED(sequences_exhausted, restore_into(full));
}

TEST_CASE("sequences follow each other in one stream, an empty one among them") {
  shared_cache<float> cache(map, shape, {.max_sequences = 6});
  std::stringstream stream;
  const auto a = filled(cache, 4), b = cache.create(), c = filled(cache, 1);
  for (const auto id : {a, b, c}) cache.save(id, stream);
  for (const auto id : {a, b, c}) {
    const auto back = cache.restore(stream);
    CHECK(cache.length(back) == cache.length(id));
    CHECK(saved(cache, back) == saved(cache, id));
  }
}

TEST_CASE("rows longer than the staging buffer survive") {
  const cache_shape wide{1, 1, 1000, 2};
  shared_cache<float> cache(share_map::identity(1), wide, {.max_sequences = 2});
  const auto id = cache.create();
  cache.append(id, 2);
  cache.store({0}, id, 0, 2, rows(wide, 2, 1).data(), rows(wide, 2, 2).data());
  std::istringstream in(saved(cache, id));
  const auto back = cache.restore(in);
  const auto expected = rows(wide, 2, 2);
  for (index_t c = 0; c < 1000; ++c)
    CHECK(cache.values({0}, back).at(0, 1, c) == expected[static_cast<std::size_t>(1000 + c)]);
}

TEST_CASE("streams that throw or refuse leave the cache as it was") {
  shared_cache<float16> cache(map, shape, {.tag = "m"});
  std::istringstream in(small_stream().substr(0, 128));
  in.exceptions(std::ios::failbit | std::ios::eofbit);
  CHECK_THROWS_AS(cache.restore(in), std::ios_base::failure);
  const auto id = filled(cache, 1);  // the only sequence there is
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  CHECK_REFUSED(file_access, cache.save(id, out));
}

TEST_CASE("a stream whose position leaves no room to grow is refused, although its checksums are right") {
  const auto with_position = [](std::uint64_t position) {
    std::string s = small_stream();
    const auto put = [&](std::size_t at, std::uint64_t x) {
      for (std::size_t i = 0; i < 8; ++i) s[at + i] = static_cast<char>((x >> (8 * i)) & 0xffu);
    };
    const auto sum = [&](std::size_t end) {
      std::uint64_t h = 0xcbf29ce484222325u;
      for (std::size_t i = 0; i < end; ++i) h = (h ^ static_cast<unsigned char>(s[i])) * 0x100000001b3u;
      return h;
    };
    put(64, position);
    put(85, sum(85));  // behind the tag, which has one byte
    put(s.size() - 8, sum(s.size() - 8));
    return s;
  };
  shared_cache<float16, layout::paged<2>> cache(map, shape, {.max_sequences = 2, .tag = "m"});
  const auto code = [&](std::uint64_t position) {
    std::istringstream in(with_position(position));
    return refused([&] { cache.restore(in); });
  };
  // Beyond 31 bits, or before the last token; and where no positions are kept, any but the length.
  const std::uint64_t last = static_cast<std::uint64_t>(last_position);
  for (const std::uint64_t position :
       {last + 1, ~std::uint64_t{0} >> 1, ~std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{4}}) {
    CAPTURE(position);
    CHECK(code(position) == static_cast<int>(errc::bad_stream));
  }
}

TEST_CASE("a sequence at the last position does not grow") {
  shared_cache<float16, layout::paged<2>> cache(map, shape, {.max_sequences = 2, .tag = "m", .positions = true});
  const auto id = cache.create();
  cache.append(id, 1);
  cache.keep(id, {});  // a text that begins anywhere is made of a saved one
  std::ostringstream out;
  cache.save(id, out);
  std::string bytes = out.str();
  const auto put = [&](std::size_t at, std::uint64_t x) {
    for (std::size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<char>((x >> (8 * i)) & 0xffu);
  };
  const auto sum = [&](std::size_t end) {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (std::size_t i = 0; i < end; ++i) h = (h ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3u;
    return h;
  };
  put(64, static_cast<std::uint64_t>(last_position) - 1);
  put(85, sum(85));
  put(bytes.size() - 8, sum(bytes.size() - 8));
  std::istringstream in(bytes);
  const auto late = cache.restore(in);
  CHECK(cache.append(late, 1) == 0);
  CHECK(cache.position(late, 0) == last_position - 1);
  CHECK_REFUSED(capacity_exceeded, cache.append(late, 1));
  CHECK(cache.length(late) == 1);
}

TEST_CASE("positions that do not ascend, or reach the next one, are refused") {
  shared_cache<float, layout::paged<2>> cache(map, shape, {.max_sequences = 2, .tag = "m", .positions = true});
  const auto id = cache.create();
  cache.append(id, 5);
  cache.keep(id, std::vector<index_t>{0, 2, 4});
  std::ostringstream out;
  cache.save(id, out);
  const auto code = [&](std::size_t slot, std::uint32_t position) {
    std::string bytes = out.str();
    for (std::size_t i = 0; i < 4; ++i) bytes[93 + 4 * slot + i] = static_cast<char>((position >> (8 * i)) & 0xffu);
    std::istringstream in(bytes);
    return refused([&] { cache.restore(in); });
  };
  for (const auto& [slot, position] :
       {std::pair{0, 2u}, {1, 0u}, {1, 4u}, {2, 5u}, {2, ~0u}, {1, 1u}})  // the last: the checksum
    CHECK(code(static_cast<std::size_t>(slot), position) == static_cast<int>(errc::bad_stream));
  CHECK(cache.counters().sequences == 1);
}
