#pragma once

#include "pawl/time.h"

namespace pawl {

// The only way to see the time. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Timestamp now() = 0;
};

// The machine's wall clock.
class SystemClock final : public Clock {
 public:
  Timestamp now() override;
};

}  // namespace pawl
