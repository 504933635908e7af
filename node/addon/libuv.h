#pragma once

// The few functions of libuv that the addon calls. Node.js exports them to addons. They are declared
// here because no package that we depend on carries Node's own copy of the headers; handles are
// sized at run time and never looked into, so that no layout of a particular version is assumed.
// Source: https://docs.libuv.org/en/v1.x/async.html and handle.html.

#include <cstddef>

extern "C" {

struct uv_loop_s;
struct uv_handle_s;
struct uv_async_s;

int uv_async_init(uv_loop_s* loop, uv_async_s* async, void (*callback)(uv_async_s*));
// The only one that may be called from any thread.
int uv_async_send(uv_async_s* async);
void uv_close(uv_handle_s* handle, void (*callback)(uv_handle_s*));
void* uv_handle_get_data(const uv_handle_s* handle);
void uv_handle_set_data(uv_handle_s* handle, void* data);
std::size_t uv_handle_size(int type);
const char* uv_strerror(int error);

}  // extern "C"

namespace pawl::node {

// UV_ASYNC of enum uv_handle_type, the same in every libuv 1.x.
inline constexpr int kUvAsync = 1;

}  // namespace pawl::node
