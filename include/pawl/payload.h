#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace pawl {

// How the bytes of a payload are to be read. Numbers are permanent; stores keep them in a column.
enum class Encoding : std::uint8_t {
  json = 0,  // UTF-8 JSON text
};

// A value as it crosses every border: into the log, between languages, over the wire. An empty
// payload (`is_none`) is the absence of a value: JavaScript's undefined, C++'s void.
struct Payload {
  std::string bytes;
  Encoding encoding = Encoding::json;

  static Payload json(std::string text) { return Payload{std::move(text), Encoding::json}; }
  bool is_none() const { return bytes.empty(); }

  friend bool operator==(const Payload&, const Payload&) = default;
};

}  // namespace pawl
