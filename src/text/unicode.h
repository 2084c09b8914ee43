// File: text/unicode.h
// UTF-8 characters, their classes and their lower case. Malformed bytes read as characters of no class.
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quiver::text {

/// One character of a text: its code point and its bytes.
struct Character {
  uint32_t code = 0;
  size_t length = 1;
};

/// The character at `position`, which lies inside of the text.
Character CharacterAt(std::string_view text, size_t position);

/// Appends the character of a code point up to 0x10FFFF; of a surrogate the three bytes that it would have.
void AppendUtf8(uint32_t code, std::string* out);

/// Letters, digits and the marks that combine with them, of every script.
bool IsWordCharacter(uint32_t code);
bool IsBlank(uint32_t code);
/// Han characters: each is a word or a part of one without a blank between.
bool IsHan(uint32_t code);

std::string LowerCase(std::string_view text);
/// Letters without their accents where that leaves ASCII: "résumé" is "resume"; others stay.
std::string AsciiFold(std::string_view text);

}  // namespace quiver::text
