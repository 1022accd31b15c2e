#include "cache/seekable_decoder.h"

#include <iterator>
#include <utility>

namespace xzfs {

SeekableDecoder::Start SeekableDecoder::StartFor(uint64_t goal, uint64_t at) const {
  Start best;
  const auto consider = [&](Start start) {
    if (start.slice <= goal && start.Cost(goal) < best.Cost(goal)) {
      best = std::move(start);
    }
  };
  if (const auto after = points.upper_bound(goal); after != points.begin()) {
    const auto& [point_slice, point] = *std::prev(after);
    consider({Start::Kind::kPoint, point_slice, 0, point});
  }
  for (const auto& [owner, place] : places) {
    consider({Start::Kind::kPlace, place.slice, owner, place.point});
  }
  consider({Start::Kind::kHere, at});
  return best;
}

uint64_t SeekableDecoder::PointBefore(uint64_t at) const {
  const auto after = points.upper_bound(at);
  return after == points.begin() ? 0 : std::prev(after)->first;
}

uint64_t SeekableDecoder::CostFor(uint64_t slice_wanted, uint64_t for_reader) const {
  if (Passes(slice_wanted)) {
    return slice_wanted - slice;
  }
  if (busy) {
    const uint64_t left = slice <= goal ? goal + 1 - slice : 0;
    return left + StartFor(slice_wanted, goal + 1).Cost(slice_wanted);
  }
  const Start start = StartFor(slice_wanted, slice);
  const uint64_t cost = start.Cost(slice_wanted);
  const uint64_t reads_on = IsReadOnBy();
  if (cost == 0 || reads_on == 0 || reads_on == for_reader) {
    return cost;
  }
  // That reader may have to wait for as long, and then to go back.
  return 2 * cost + 2;
}

void SeekableDecoder::SetPlace(uint64_t at_reader, uint64_t at, RestartPointPtr point,
                               std::vector<RestartPointPtr>& dropped) {
  Place& place = places[at_reader];
  dropped.push_back(std::move(place.point));
  place = {at, std::move(point)};
}

void SeekableDecoder::Forget(const Start& start) {
  if (start.kind == Start::Kind::kPlace) {
    places.erase(start.reader);
  } else {
    points.erase(start.slice);
  }
}

void SeekableDecoder::ForgetReader(uint64_t gone, std::vector<RestartPointPtr>& dropped) {
  if (reader == gone) {
    reader = 0;
  }
  if (const auto place = places.find(gone); place != places.end()) {
    dropped.push_back(std::move(place->second.point));
    places.erase(place);
  }
}

void SeekableDecoder::ThinPoints(std::vector<RestartPointPtr>& dropped) {
  bool drop = true;
  for (auto it = points.begin(); it != points.end(); drop = !drop) {
    if (drop) {
      dropped.push_back(std::move(it->second));
      it = points.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace xzfs
