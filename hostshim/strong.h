// Numbers that must not mix: file system block, device sector, inode, cluster. A distinct type per
// tag; sums with plain counts and differences are allowed, mixing two tags does not compile.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>

namespace rump {

template<class Tag, class Rep>
class Strong {
public:
    using rep = Rep;
    constexpr Strong() = default;
    explicit constexpr Strong(Rep value) : value_(value) {}
    constexpr Rep value() const { return value_; }
    constexpr auto operator<=>(const Strong&) const = default;
    constexpr Strong operator+(Rep n) const { return Strong(static_cast<Rep>(value_ + n)); }
    constexpr Strong operator-(Rep n) const { return Strong(static_cast<Rep>(value_ - n)); }
    constexpr Rep operator-(Strong other) const { return static_cast<Rep>(value_ - other.value_); }
    constexpr Strong& operator++() {
        ++value_;
        return *this;
    }
    constexpr Strong& operator+=(Rep n) {
        value_ = static_cast<Rep>(value_ + n);
        return *this;
    }

private:
    Rep value_{};
};

} // namespace rump

template<class Tag, class Rep>
struct std::hash<rump::Strong<Tag, Rep>> {
    size_t operator()(rump::Strong<Tag, Rep> v) const noexcept {
        return std::hash<Rep>()(v.value());
    }
};
