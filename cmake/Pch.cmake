# Precompiled for our own code: only headers that most files include and that never change. Each
# file still includes what it uses. Written as <…>, since a path of this checkout would keep ccache
# from sharing with another checkout.
set(pawl_pch
  <algorithm> <chrono> <cstdint> <functional> <map> <memory> <optional> <string> <string_view>
  <unordered_map> <utility> <variant> <vector>
  <boost/describe.hpp> <boost/mp11.hpp> <boost/system/result.hpp> <fmt/format.h>)
