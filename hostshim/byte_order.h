// Fields of on-disk structures: bytes in a stated order, alignment 1. Reading converts, writing
// converts, nothing else swaps.
//
// le16 … be64: formats of one order. raw16 … raw64: formats that exist in both (FFS); they have no
// conversion of their own, `ByteOrder::get` and `set` are the only way in.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rump {

constexpr uint8_t byte_swap(uint8_t v) { return v; }
constexpr uint16_t byte_swap(uint16_t v) { return __builtin_bswap16(v); }
constexpr uint32_t byte_swap(uint32_t v) { return __builtin_bswap32(v); }
constexpr uint64_t byte_swap(uint64_t v) { return __builtin_bswap64(v); }

template<class T, std::endian Order>
class DiskInt {
public:
    constexpr DiskInt() = default;
    constexpr DiskInt(T value) : bytes_(std::bit_cast<Bytes>(convert(value))) {} // NOLINT: implicit
    constexpr operator T() const { return convert(std::bit_cast<T>(bytes_)); }   // NOLINT: implicit
    constexpr T get() const { return *this; }
    DiskInt& operator+=(T v) { return *this = static_cast<T>(get() + v); }
    DiskInt& operator-=(T v) { return *this = static_cast<T>(get() - v); }
    DiskInt& operator|=(T v) { return *this = static_cast<T>(get() | v); }
    DiskInt& operator&=(T v) { return *this = static_cast<T>(get() & v); }

private:
    struct Bytes {
        unsigned char b[sizeof(T)] = {};
    };
    static constexpr T convert(T v) { return Order == std::endian::native ? v : byte_swap(v); }
    Bytes bytes_;
};

using le16 = DiskInt<uint16_t, std::endian::little>;
using le32 = DiskInt<uint32_t, std::endian::little>;
using le64 = DiskInt<uint64_t, std::endian::little>;
using be16 = DiskInt<uint16_t, std::endian::big>;
using be32 = DiskInt<uint32_t, std::endian::big>;
using be64 = DiskInt<uint64_t, std::endian::big>;
static_assert(sizeof(le64) == 8 && alignof(le64) == 1);

/// A field whose order only the mount knows.
template<class T>
class RawInt {
    friend class ByteOrder;
    unsigned char bytes_[sizeof(T)] = {};
};
using raw16 = RawInt<uint16_t>;
using raw32 = RawInt<uint32_t>;
using raw64 = RawInt<uint64_t>;

/// The order of a mounted image.
class ByteOrder {
public:
    explicit constexpr ByteOrder(std::endian order) : swap_(order != std::endian::native) {}

    template<class T>
    T get(const RawInt<T>& field) const {
        T v;
        std::memcpy(&v, field.bytes_, sizeof v);
        return swap_ ? byte_swap(v) : v;
    }
    template<class T>
    void set(RawInt<T>& field, std::type_identity_t<T> value) const {
        T v = swap_ ? byte_swap(value) : value;
        std::memcpy(field.bytes_, &v, sizeof v);
    }
    /// The order as it is, for code that chooses one (newfs) or names it (info).
    constexpr std::endian order() const {
        return swap_ == (std::endian::native == std::endian::little) ? std::endian::big
                                                                     : std::endian::little;
    }

private:
    bool swap_;
};

} // namespace rump
