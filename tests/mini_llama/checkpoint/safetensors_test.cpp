// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "mini_llama/damage.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "network/linear.hpp"

using namespace mini_llama;

namespace {

/// `n` bytes, little end first.
std::string little_endian(std::uint64_t value, int n) {
  std::string bytes;
  for (int i = 0; i < n; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

/// What is said against a file of these bytes; always begins with the file.
std::string refused(const std::string& bytes) {
  const scratch_directory d;
  const std::filesystem::path file = d.write("w.safetensors", bytes);
  const std::string text = refusal([&] { const safetensors_file opened(file); });
  CHECK_MESSAGE(text.starts_with(file.string() + ": "), text);
  return text;
}

std::string refused(const std::string& header, std::size_t data_bytes) {
  return refused(safetensors_bytes(header, std::string(data_bytes, 'x')));
}

void check_refused(const std::string& header, std::size_t data_bytes, const char* what, const char* advice) {
  const std::string text = refused(header, data_bytes);
  CHECK_MESSAGE(has(text, what), text);
  CHECK_MESSAGE(has(text, advice), text);
}

/// Sign, exponent and fraction by their definition, in double, which holds every value exactly.
double decoded_by_definition(std::uint32_t bits, int exponent_bits, int fraction_bits) {
  const double sign = bits >> (exponent_bits + fraction_bits) & 1 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> fraction_bits & ((1u << exponent_bits) - 1));
  const double fraction = std::ldexp(static_cast<double>(bits & ((1u << fraction_bits) - 1)), -fraction_bits);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  if (exponent == (1 << exponent_bits) - 1)
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias));
}

/// Writes the patterns as a tensor of one row, opens the file, and decodes the row as the forward pass does.
void check_values(const char* type, int exponent_bits, int fraction_bits, const std::vector<std::uint32_t>& patterns) {
  const int width = (1 + exponent_bits + fraction_bits) / 8;
  std::string data;
  for (const std::uint32_t bits : patterns) data += little_endian(bits, width);
  const std::string n = std::to_string(patterns.size());
  const std::string header = R"({"t":{"dtype":")" + std::string(type) + R"(","shape":[1,)" + n +
                             R"(],"data_offsets":[0,)" + std::to_string(data.size()) + "]}}";
  const scratch_directory d;
  const safetensors_file file(d.write("w.safetensors", safetensors_bytes(header, data)));
  const tensor_view& t = file.tensors().at("t");
  REQUIRE(t.bytes() == static_cast<kvsharer::index_t>(data.size()));
  std::vector<float> row(patterns.size());
  decode_row({t.type, t.data, 1, t.elements()}, 0, row.data());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    const double expected = decoded_by_definition(patterns[i], exponent_bits, fraction_bits);
    // As bits: zeros have signs too. Of a NaN only that it is one.
    const bool same = std::isnan(expected) ? std::isnan(row[i])
                                           : std::bit_cast<std::uint32_t>(static_cast<float>(expected)) ==
                                                 std::bit_cast<std::uint32_t>(row[i]);
    wrong += !same;
  }
  CHECK(wrong == 0);
}

constexpr const char* fetch = "fetch it again";
constexpr const char* save = "save the model again";

}  // namespace

TEST_CASE("tensors are found where the header says") {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},
          "b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},
          "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
          "none":{"dtype":"BF16","shape":[0,7],"data_offsets":[16,16]},
          "c":{"dtype":"BF16","shape":[1],"data_offsets":[16,18]}})";
  const scratch_directory d;
  safetensors_file file(d.write("w.safetensors", safetensors_bytes(header, "abcdefghijklmnopqr")));
  REQUIRE(file.tensors().size() == 4);
  const tensor_view a = file.tensors().at("a"), b = file.tensors().at("b"), c = file.tensors().at("c");
  CHECK(a.type == dtype::f32);
  CHECK(a.elements() == 1);
  CHECK(static_cast<char>(*a.data) == 'a');
  CHECK(b.type == dtype::f16);
  CHECK(b.shape == std::vector<kvsharer::index_t>{2, 3});
  CHECK(static_cast<char>(*b.data) == 'e');
  CHECK(c.type == dtype::bf16);
  CHECK(static_cast<char>(c.data[1]) == 'r');
  CHECK(file.tensors().at("none").elements() == 0);

  const safetensors_file moved = std::move(file);
  CHECK(moved.tensors().at("b").data == b.data);
  CHECK(static_cast<char>(*b.data) == 'e');
}

TEST_CASE("every F16 and BF16 pattern, and F32 patterns of all kinds, decode as defined") {
  std::vector<std::uint32_t> patterns(1u << 16);
  for (std::uint32_t i = 0; i < patterns.size(); ++i) patterns[i] = i;
  check_values("F16", 5, 10, patterns);
  check_values("BF16", 8, 7, patterns);
  std::mt19937 random(7);
  for (std::uint32_t& p : patterns) p = static_cast<std::uint32_t>(random());
  for (const std::uint32_t p : {0u, 0x80000000u, 1u, 0x007fffffu, 0x7f7fffffu, 0x7f800000u, 0xff800000u, 0x7fc00000u})
    patterns.push_back(p);
  check_values("F32", 8, 23, patterns);
}

TEST_CASE("the length of the header is not believed") {
  CHECK(has(refused(""), "has 0 bytes"));
  CHECK(has(refused("1234567"), "has 7 bytes; a safetensors file begins with 8 bytes of length"));
  for (const std::uint64_t length : {std::uint64_t{1} << 63, ~std::uint64_t{0}, std::uint64_t{100'000'001}}) {
    const std::string text = refused(little_endian(length, 8) + "{}");
    CHECK_MESSAGE(has(text, std::to_string(length) + " bytes, more than the format allows"), text);
    CHECK_MESSAGE(has(text, fetch), text);
  }
  CHECK(has(refused(little_endian(3, 8) + "{}"), "says that its header has 3 bytes, but only 2 follow"));
  CHECK(has(refused(little_endian(0, 8) + "{}"), "does not begin with '{'"));
  CHECK(has(refused(little_endian(1, 8) + "{}"), "not valid JSON"));
  CHECK(has(refused("PK\x03\x04 a zip archive, such as PyTorch writes"), "no safetensors file"));
}

TEST_CASE("headers that are broken JSON") {
  check_refused(" {}", 0, "does not begin with '{'", fetch);
  check_refused("[]", 0, "does not begin with '{'", fetch);
  check_refused("{\"a\":", 0, "not valid JSON", fetch);
  check_refused("{} {}", 0, "not valid JSON", fetch);
  check_refused("{\"a\xff\":1}", 0, "not valid JSON", fetch);
  check_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                   "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                4, "has a header that names 'a' twice", fetch);
  check_refused(R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})", 4, "names 'shape' twice",
                fetch);
  check_refused("{\"a\":" + std::string(200'000, '[') + "}", 0, "nests more than 100 levels deep", fetch);
}

TEST_CASE("entries that are not whole") {
  check_refused(R"({"a":7})", 0, "tensor 'a' lacks one of dtype, shape and data_offsets", save);
  check_refused(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "tensor 'a' lacks", save);
  check_refused(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "tensor 'a' lacks", save);
  check_refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "tensor 'a' lacks", save);
  for (const char* type : {"\"F4\"", "\"C64\"", "\"f32\"", "\"\"", "null", "16"})
    check_refused(R"({"a":{"dtype":)" + std::string(type) + R"(,"shape":[1],"data_offsets":[0,8]}})", 8,
                  (std::string("tensor 'a' has the type ") + type + ". Only F32, F16 and BF16 are supported").c_str(),
                  "convert the model");
  check_refused(R"({"a":{"dtype":"F32","shape":4,"data_offsets":[0,4]}})", 4,
                "tensor 'a' has a shape that is not a list", save);
  for (const char* extent : {"-1", "1.0", "\"1\"", "null", "9223372036854775808"})
    check_refused(R"({"a":{"dtype":"F32","shape":[)" + std::string(extent) + R"(],"data_offsets":[0,4]}})", 4,
                  (std::string("tensor 'a' has the extent ") + extent).c_str(), save);
  for (const char* offsets : {"[0]", "[0,4,8]", "[]", "4", "[4,0]", "[-4,0]", "[0,4.0]", "[0,null]"})
    check_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + std::string(offsets) + "}}", 4,
                  (std::string("tensor 'a' has the data_offsets ") + offsets).c_str(), save);
}

TEST_CASE("sizes that lie") {
  check_refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
                "tensor 'a' has 4 bytes, but its shape [2] in F32 asks for 8", save);
  check_refused(R"({"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,16]}})", 16, "asks for 8", save);
  // 2^31 * 2^31 * 4 wraps to 0 in 64 bits.
  check_refused(R"({"a":{"dtype":"F32","shape":[2147483648,2147483648],"data_offsets":[0,0]}})", 0, "size overflows",
                save);
  check_refused(R"({"a":{"dtype":"F32","shape":[0,9223372036854775807,2],"data_offsets":[0,0]}})", 0, "size overflows",
                save);
}

TEST_CASE("offsets beyond the file: a file cut short") {
  check_refused(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", 8,
                "tensor 'a' ends at byte 12 of the data, which has only 8", fetch);
  check_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775800,9223372036854775804]}})", 8,
                "tensor 'a' ends at byte 9223372036854775804", fetch);
  check_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})", 8,
                "tensor 'a' has the data_offsets", save);
}

TEST_CASE("the tensors must cover the data exactly") {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  check_refused("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8,
                "tensor 'b' overlaps the one before it, at byte 4", save);
  check_refused("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "overlaps", save);
  check_refused("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})", 16,
                "has a hole of 4 bytes before tensor 'b'", save);
  check_refused(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "has a hole of 4 bytes before", save);
  check_refused("{" + a + "}", 11, "has 3 bytes behind its last tensor", save);
  check_refused("{}", 1, "has 1 bytes behind its last tensor", save);
}

TEST_CASE("tensors that are not aligned are copied to where they are") {
  const auto number = [](const tensor_view& t, kvsharer::index_t i) {
    std::vector<float> row(static_cast<std::size_t>(t.elements()));
    decode_row({t.type, t.data, 1, t.elements()}, 0, row.data());
    return row[static_cast<std::size_t>(i)];
  };
  // 1 and -2, 0.5, and 1.5, behind headers of every length modulo 8.
  const std::string numbers = little_endian(0x3f80, 2) + little_endian(0xc0000000, 4) + little_endian(0x3800, 2);
  for (int blanks = 0; blanks < 8; ++blanks) {
    const std::string header = R"({"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},)"
                               R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},)"
                               R"("c":{"dtype":"F16","shape":[1],"data_offsets":[6,8]}})" +
                               std::string(static_cast<std::size_t>(blanks), ' ');
    const scratch_directory d;
    safetensors_file opened(d.write("w.safetensors", little_endian(header.size(), 8) + header + numbers));
    const safetensors_file file = std::move(opened);
    for (const auto& [name, t] : file.tensors())
      CHECK(reinterpret_cast<std::uintptr_t>(t.data) % static_cast<std::uintptr_t>(size_of(t.type)) == 0);
    CHECK(number(file.tensors().at("a"), 0) == 1);
    CHECK(number(file.tensors().at("b"), 0) == -2);
    CHECK(number(file.tensors().at("c"), 0) == 0.5f);
  }
}

TEST_CASE(
    "tensors of types that are not computed with are known by name and length, and refused where they are needed") {
  for (const auto& [type, bytes] :
       {std::pair{"F64", 8}, std::pair{"I64", 8}, std::pair{"U64", 8}, std::pair{"I32", 4}, std::pair{"U32", 4},
        std::pair{"I16", 2}, std::pair{"U16", 2}, std::pair{"I8", 1}, std::pair{"U8", 1}, std::pair{"BOOL", 1},
        std::pair{"F8_E4M3", 1}, std::pair{"F8_E5M2", 1}}) {
    const std::string size = std::to_string(3 * bytes);
    const std::string header = R"({"a":{"dtype":")" + std::string(type) + R"(","shape":[3],"data_offsets":[0,)" + size +
                               R"(]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[)" + size + "," +
                               std::to_string(3 * bytes + 2) + "]}}";
    const scratch_directory d;
    const safetensors_file file(
        d.write("w.safetensors", safetensors_bytes(header, std::string(static_cast<std::size_t>(3 * bytes + 2), 'x'))));
    CHECK(file.foreign() == std::map<std::string, std::string>{{"a", type}});
    CHECK(file.tensors().size() == 1);
    CHECK((file.holds("a") && file.holds("b") && !file.holds("c")));
    const std::string said = refusal([&] { file.refuse_type("a"); });
    CHECK_MESSAGE(has(said, "w.safetensors: tensor 'a' has the type \"" + std::string(type) + "\". Only F32"), said);
    check_refused(R"({"a":{"dtype":")" + std::string(type) + R"(","shape":[2],"data_offsets":[0,)" + size + "]}}",
                  static_cast<std::size_t>(3 * bytes), (std::string("its shape [2] in ") + type).c_str(), save);
  }
}

TEST_CASE("what is no file of weights") {
  const scratch_directory d;
  CHECK(has(refusal([&] { const safetensors_file f(d.path() / "absent"); }), "absent: cannot be opened"));
  CHECK(has(refusal([&] { const safetensors_file f(d.path()); }), "is not a regular file"));
  CHECK(has(refusal([&] { const safetensors_file f("/dev/zero"); }), "is not a regular file"));
}

TEST_CASE("thousands of damaged files are refused or read, and what is read lies within the file") {
  const std::string whole = safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"c":{"dtype":"F16","shape":[],"data_offsets":[22,24]}})",
      std::string(24, 'x'));
  const scratch_directory d;
  damage damaged(11);
  int refusals = 0, readings = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::string bytes = damaged(whole);
    const std::filesystem::path path = d.write("w.safetensors", bytes);
    try {
      const safetensors_file file(path);
      ++readings;
      kvsharer::index_t sum = 0;
      for (const auto& [name, t] : file.tensors()) {
        std::vector<float> row(static_cast<std::size_t>(t.elements()));
        decode_row({t.type, t.data, 1, t.elements()}, 0, row.data());
        sum += t.bytes();
      }
      CHECK(sum < static_cast<kvsharer::index_t>(bytes.size()));
    } catch (const load_error& e) {
      ++refusals;
      CHECK(has(e.what(), path.string()));
    }
  }
  CHECK(refusals > 1000);
  CHECK(readings > 50);  // changes of names and values
}
