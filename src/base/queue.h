#pragma once

// A double-ended queue that takes no memory while it is empty and was never filled: that of the standard
// library allocates two blocks for each, and every execution in the cache has several.

#include <algorithm>
#include <boost/container/deque.hpp>
#include <utility>
#include <vector>

namespace pawl {

template <class T>
using Queue = boost::container::deque<T>;

// Before all others, in their order. Not with insert() of a range: in Boost 1.81 that spoils the first
// element where the range is empty.
template <class T>
void put_in_front(Queue<T>& queue, std::vector<T> items) {
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    queue.push_front(std::move(*item));
  }
}

template <class T, class Predicate>
void erase_if(Queue<T>& queue, Predicate unwanted) {
  queue.erase(std::remove_if(queue.begin(), queue.end(), std::move(unwanted)), queue.end());
}

}  // namespace pawl
