// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/nfc.hpp"

#include <doctest/doctest.h>

#include <string>

using mini_llama::nfc;

TEST_CASE("characters are composed as the Unicode standard's annex 15 has it") {
  CHECK(nfc("") == "");
  CHECK(nfc(std::string("a\0b", 3)) == std::string("a\0b", 3));
  CHECK(nfc("e\xCC\x81") == "\xC3\xA9");
  CHECK(nfc("\xE2\x84\xAB") == "\xC3\x85");                                // the Angstrom sign is the letter
  CHECK(nfc("D\xCC\xA3\xCC\x87") == nfc("D\xCC\x87\xCC\xA3"));             // marks have an order
  CHECK(nfc("D\xCC\x87\xCC\xA3") == "\xE1\xB8\x8C\xCC\x87");               // D with a dot below, then a dot above
  CHECK(nfc("\xE0\xA5\x98") == "\xE0\xA4\x95\xE0\xA4\xBC");                // excluded from composition
  CHECK(nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8") == "\xEA\xB0\x81");    // Hangul
  CHECK(nfc("\xEF\xAC\x81 \xE2\x91\xA0") == "\xEF\xAC\x81 \xE2\x91\xA0");  // compatibility characters stay
  CHECK(nfc("\xCC\x81 a") == "\xCC\x81 a");
}
