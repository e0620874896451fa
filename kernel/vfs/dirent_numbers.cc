// File numbers for formats without inodes.
#include "kernel/vfs/dirent_numbers.h"

namespace rump::vfs {

using host::MutexGuard;

InodeNumber DirentNumbers::at(uint64_t position) const {
    MutexGuard guard(mutex_);
    auto found = number_at_.find(position);
    return InodeNumber(found != number_at_.end() ? found->second : position / entry_size);
}

Result<uint64_t> DirentNumbers::position_of(InodeNumber number) const {
    MutexGuard guard(mutex_);
    if (auto found = position_of_.find(number.value()); found != position_of_.end())
        return found->second;
    if (number.value() >= first_fresh) return Errno::stale;
    uint64_t position = number.value() * entry_size;
    if (number_at_.contains(position)) return Errno::stale; // somebody else's by now
    return position;
}

InodeNumber DirentNumbers::created(uint64_t position, bool never_used) {
    MutexGuard guard(mutex_);
    if (never_used) return InodeNumber(position / entry_size);
    uint64_t number = next_fresh_++;
    number_at_[position] = number;
    position_of_[number] = position;
    return InodeNumber(number);
}

void DirentNumbers::moved(InodeNumber number, uint64_t from, uint64_t to) {
    MutexGuard guard(mutex_);
    number_at_.erase(from);
    number_at_[to] = number.value();
    position_of_[number.value()] = to;
}

void DirentNumbers::removed(InodeNumber number, uint64_t position) {
    MutexGuard guard(mutex_);
    number_at_.erase(position);
    position_of_.erase(number.value());
}

void DirentNumbers::restored(InodeNumber number, uint64_t position) {
    MutexGuard guard(mutex_);
    if (number.value() == position / entry_size) return;
    number_at_[position] = number.value();
    position_of_[number.value()] = position;
}

Result<void> DirentNumbers::add_directory(InodeNumber number, uint64_t first, uint64_t units) {
    MutexGuard guard(mutex_);
    uint64_t end = first + units;
    // The runs that touch [first, end): the last one that begins before its end, and those before
    // it.
    for (auto next = runs_.lower_bound(end); next != runs_.begin();) {
        auto run = std::prev(next);
        uint64_t run_end = run->first + run->second.units;
        if (run_end <= first) break;
        if (run->second.directory != number) return Errno::uclean;
        if (run->first <= first && run_end >= end) return {}; // met before
        next = run;
    }
    auto [run, fresh] = runs_.try_emplace(first, Run{units, number});
    if (fresh)
        runs_of_.emplace(number.value(), first);
    else if (run->second.units < units)
        run->second.units = units;
    return {};
}

void DirentNumbers::remove_units(uint64_t first) {
    MutexGuard guard(mutex_);
    auto run = runs_.find(first);
    if (run == runs_.end()) return;
    auto [begin, end] = runs_of_.equal_range(run->second.directory.value());
    for (auto at = begin; at != end; ++at)
        if (at->second == first) {
            runs_of_.erase(at);
            break;
        }
    runs_.erase(run);
}

void DirentNumbers::remove_directory(InodeNumber number) {
    MutexGuard guard(mutex_);
    auto [begin, end] = runs_of_.equal_range(number.value());
    for (auto at = begin; at != end; ++at) {
        auto run = runs_.find(at->second);
        for (uint64_t i = 0; i < run->second.units; i++) recycled_.insert(run->first + i);
        runs_.erase(run);
    }
    runs_of_.erase(begin, end);
}

InodeNumber DirentNumbers::directory_of(uint64_t unit) const {
    MutexGuard guard(mutex_);
    auto next = runs_.upper_bound(unit);
    if (next == runs_.begin()) return InodeNumber(0);
    const auto& [first, run] = *std::prev(next);
    return unit - first < run.units ? run.directory : InodeNumber(0);
}

bool DirentNumbers::recycled(uint64_t unit) const {
    MutexGuard guard(mutex_);
    return !recycled_.empty() && recycled_.contains(unit);
}

} // namespace rump::vfs
