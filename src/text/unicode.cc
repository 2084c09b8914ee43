#include "text/unicode.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

namespace quiver::text {
namespace {

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

}  // namespace

void AppendUtf8(uint32_t code, std::string* out) {
  uint8_t bytes[U8_MAX_LENGTH];
  int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, static_cast<UChar32>(code));
  out->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

Character CharacterAt(std::string_view text, size_t position) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data() + position);
  if (bytes[0] < 0x80) return {bytes[0], 1};
  int32_t length = 0;
  UChar32 code = 0;
  // NOLINTNEXTLINE(bugprone-inc-dec-in-conditions): the macro of the library reads so.
  U8_NEXT(bytes, length, static_cast<int32_t>(text.size() - position), code);
  if (code < 0) return {0xFFFD, 1};
  return {static_cast<uint32_t>(code), static_cast<size_t>(length)};
}

bool IsWordCharacter(uint32_t code) {
  if (code < 0x80) {
    return (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
  }
  const auto c = static_cast<UChar32>(code);
  return u_isalnum(c) != 0 || (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_N_MASK)) != 0;
}

bool IsBlank(uint32_t code) { return u_isUWhiteSpace(static_cast<UChar32>(code)) != 0; }

bool IsHan(uint32_t code) {
  if (code < 0x2E80) return false;
  UErrorCode error = U_ZERO_ERROR;
  return uscript_getScript(static_cast<UChar32>(code), &error) == USCRIPT_HAN;
}

std::string LowerCase(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character character = CharacterAt(text, at);
    if (character.code < 0x80) {
      const char c = text[at];
      lower.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    } else if (character.code == 0xFFFD) {
      lower.append(text.substr(at, character.length));
    } else {
      AppendUtf8(u_tolower(static_cast<UChar32>(character.code)), &lower);
    }
    at += character.length;
  }
  return lower;
}

std::string AsciiFold(std::string_view text) {
  if (IsAscii(text)) return std::string(text);
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* form = unorm2_getNFKDInstance(&error);
  std::string folded;
  for (size_t at = 0; at < text.size();) {
    const Character character = CharacterAt(text, at);
    const std::string_view bytes = text.substr(at, character.length);
    at += character.length;
    UChar parts[64];
    error = U_ZERO_ERROR;
    const int32_t count = character.code < 0x80 || character.code == 0xFFFD
                              ? -1
                              : unorm2_getDecomposition(form, static_cast<UChar32>(character.code), parts, 64, &error);
    std::string plain;
    for (int32_t i = 0; i < count && U_SUCCESS(error) != 0; ++i) {
      if (parts[i] < 0x80) plain.push_back(static_cast<char>(parts[i]));
    }
    switch (character.code) {  // letters that have no decomposition
      case 0xDF: plain = "ss"; break;
      case 0xC6: plain = "AE"; break;
      case 0xE6: plain = "ae"; break;
      case 0xD8: plain = "O"; break;
      case 0xF8: plain = "o"; break;
      case 0x152: plain = "OE"; break;
      case 0x153: plain = "oe"; break;
      case 0x141: plain = "L"; break;
      case 0x142: plain = "l"; break;
      default: break;
    }
    if (plain.empty()) {
      folded.append(bytes);
    } else {
      folded += plain;
    }
  }
  return folded;
}

}  // namespace quiver::text
