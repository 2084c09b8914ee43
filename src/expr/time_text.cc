#include "expr/time_text.h"

#include <cstddef>

namespace quiver::expr {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

/// Reads the units of `units` in order, each at most once, each after digits.
bool EatUnits(std::string_view* text, std::string_view units) {
  size_t unit = 0;
  while (!text->empty() && IsDigit(text->front())) {
    size_t digits = 0;
    while (digits < text->size() && IsDigit((*text)[digits])) ++digits;
    if (digits == text->size() || digits > 18) return false;
    while (unit < units.size() && units[unit] != (*text)[digits]) ++unit;
    if (unit++ == units.size()) return false;
    text->remove_prefix(digits + 1);
  }
  return true;
}

/// Reads exactly `digits` digits.
bool EatNumber(std::string_view* text, size_t digits, int* value) {
  if (text->size() < digits) return false;
  *value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (!IsDigit((*text)[i])) return false;
    *value = *value * 10 + ((*text)[i] - '0');
  }
  text->remove_prefix(digits);
  return true;
}

bool Eat(std::string_view* text, char c) {
  if (text->empty() || text->front() != c) return false;
  text->remove_prefix(1);
  return true;
}

int DaysIn(int year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[month - 1];
}

}  // namespace

bool IsIsoDuration(std::string_view text) {
  if (!Eat(&text, 'P') || !EatUnits(&text, "YMD")) return false;
  if (Eat(&text, 'T') && !EatUnits(&text, "HMS")) return false;
  return text.empty();
}

bool IsIsoTimestamp(std::string_view text) {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  if (!EatNumber(&text, 4, &year) || !Eat(&text, '-') || !EatNumber(&text, 2, &month) || !Eat(&text, '-') ||
      !EatNumber(&text, 2, &day) || !Eat(&text, 'T') || !EatNumber(&text, 2, &hour) || !Eat(&text, ':') ||
      !EatNumber(&text, 2, &minute) || !Eat(&text, ':') || !EatNumber(&text, 2, &second)) {
    return false;
  }
  if (month < 1 || month > 12 || day < 1 || day > DaysIn(year, month) || hour > 23 || minute > 59 || second > 59) {
    return false;
  }
  if (Eat(&text, '.')) {
    size_t digits = 0;
    while (digits < text.size() && IsDigit(text[digits])) ++digits;
    if (digits == 0) return false;
    text.remove_prefix(digits);
  }
  if (text.empty() || text == "Z") return true;
  if (text.front() != '+' && text.front() != '-') return false;
  text.remove_prefix(1);
  return EatNumber(&text, 2, &hour) && Eat(&text, ':') && EatNumber(&text, 2, &minute) && text.empty() && hour < 24 &&
         minute < 60;
}

}  // namespace quiver::expr
