// Names and endian fields.
#include "hostshim/byte_order.h"
#include "kernel/sys/types.h"

#include <catch2/catch.hpp>

using namespace rump;

TEST_CASE("a name is 1 to 255 bytes without slash and NUL") {
    CHECK(Name::from("").error() == Errno::noent);
    CHECK(Name::from(std::string(256, 'x')).error() == Errno::nametoolong);
    CHECK(Name::from("a/b").error() == Errno::inval);
    CHECK(Name::from(std::string_view("a\0b", 3)).error() == Errno::inval);
    REQUIRE(Name::from(std::string(255, 'x')).ok());
    CHECK(Name::from("\xff\xfe")->view() == "\xff\xfe");
    CHECK(Name::from("..")->is_dotdot());
}

TEST_CASE("fields of stated order hold the bytes of that order") {
    le32 l = 0x11223344;
    be32 b = 0x11223344;
    CHECK(reinterpret_cast<unsigned char*>(&l)[0] == 0x44);
    CHECK(reinterpret_cast<unsigned char*>(&b)[0] == 0x11);
    CHECK(l.get() == b.get());
    l += 1;
    CHECK(l == 0x11223345u);
}

TEST_CASE("a raw field means what its mount's byte order says") {
    raw16 field;
    ByteOrder big(std::endian::big), little(std::endian::little);
    big.set(field, 0x1234);
    CHECK(big.get(field) == 0x1234);
    CHECK(little.get(field) == 0x3412);
    CHECK(big.order() == std::endian::big);
    CHECK(little.order() == std::endian::little);
}
