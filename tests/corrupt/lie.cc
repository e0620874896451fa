// Choosing lies.
#include "tests/corrupt/case.h"

#include <fmt/core.h>

#include <algorithm>

namespace rump::corrupt {

namespace {

uint64_t load(std::span<const std::byte> bytes, bool big) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
        size_t at = big ? i : bytes.size() - 1 - i;
        value = value << 8 | static_cast<uint64_t>(bytes[at]);
    }
    return value;
}

std::vector<std::byte> store(uint64_t value, size_t size, bool big) {
    std::vector<std::byte> bytes(size);
    for (size_t i = 0; i < size; ++i, value >>= 8)
        bytes[big ? size - 1 - i : i] = static_cast<std::byte>(value);
    return bytes;
}

std::span<const std::byte> at(const Subject& subject, const Field& field) {
    return std::span(subject.image).subspan(field.offset, field.size);
}

uint64_t some_value(const Subject& subject, const Field& field, uint64_t old,
                    host::Random& random) {
    uint64_t ones = field.size == 8 ? UINT64_MAX : (1ull << field.size * 8) - 1;
    uint64_t sign = ones / 2 + 1;
    const Field& other = subject.fields[random.below(subject.fields.size())];
    const uint64_t values[] = {0,
                               1,
                               2,
                               ones,
                               ones - 1,
                               sign,
                               sign - 1,
                               old + 1,
                               old - 1,
                               old * 2,
                               old / 2,
                               old ^ 1ull << random.below(field.size * 8u),
                               old + subject.image.size(),
                               subject.image.size(),
                               subject.image.size() / 512,
                               subject.image.size() / 1024,
                               load(at(subject, other), other.big_endian),
                               random.next(),
                               random.below(65536)};
    return values[random.below(std::size(values))] & ones;
}

Lie field_lie(const Subject& subject, host::Random& random) {
    const Field& field = subject.fields[random.below(subject.fields.size())];
    uint64_t old = load(at(subject, field), field.big_endian), value = old;
    for (int i = 0; i < 20 && value == old; ++i) value = some_value(subject, field, old, random);
    return {field.offset, store(value, field.size, field.big_endian),
            fmt::format("{} ({} bytes at {}): {:#x} -> {:#x}", field.name, field.size, field.offset,
                        old, value)};
}

Lie byte_lie(const Subject& subject, host::Random& random) {
    uint64_t offset = 0;
    if (subject.metadata.empty()) {
        offset = random.below(subject.image.size());
    } else {
        uint64_t total = 0;
        for (const Region& region : subject.metadata) total += region.length;
        uint64_t at = random.below(total);
        for (const Region& region : subject.metadata) {
            if (at < region.length) {
                offset = region.offset + at;
                break;
            }
            at -= region.length;
        }
    }
    unsigned old = static_cast<unsigned>(subject.image[offset]), value = old;
    while (value == old)
        value = static_cast<unsigned>(random.below(2) ? old ^ 1u << random.below(8)
                                                      : random.below(256));
    return {offset,
            {static_cast<std::byte>(value)},
            fmt::format("byte at {}: {:#04x} -> {:#04x}", offset, old, value)};
}

} // namespace

Lie choose_lie(const Subject& subject, uint64_t seed, uint64_t number) {
    host::SeededRandom random(seed * 0x9e3779b97f4a7c15 + number);
    if (!subject.fields.empty() && number % 2 == 1) return field_lie(subject, random);
    return byte_lie(subject, random);
}

void Ranges::add(uint64_t offset, uint64_t length) {
    uint64_t begin = offset, end = offset + length;
    auto next = ends_.upper_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second >= begin) --next;
    while (next != ends_.end() && next->first <= end) {
        begin = std::min(begin, next->first);
        end = std::max(end, next->second);
        next = ends_.erase(next);
    }
    ends_[begin] = end;
}

bool Ranges::touches(uint64_t offset, uint64_t length) const {
    auto next = ends_.lower_bound(offset + length);
    return next != ends_.begin() && std::prev(next)->second > offset;
}

} // namespace rump::corrupt
