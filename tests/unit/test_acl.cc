// POSIX ACLs: the xattr form, the access check of acl(5), inheritance, chmod.
#include "kernel/vfs/acl.h"

#include <catch2/catch.hpp>

#include <cstring>

using namespace rump;
using namespace rump::vfs;
using Tag = AclEntry::Tag;

namespace {

constexpr uint32_t no_id = UINT32_MAX;

std::vector<std::byte> bytes(std::initializer_list<unsigned> values) {
    std::vector<std::byte> out;
    for (unsigned v : values) out.push_back(static_cast<std::byte>(v));
    return out;
}

Acl full_acl() {
    return {{Tag::user_obj, 6, no_id},  {Tag::user, 7, 1001},  {Tag::user, 1, 1002},
            {Tag::group_obj, 4, no_id}, {Tag::group, 6, 2001}, {Tag::group, 1, 2002},
            {Tag::mask, 5, no_id},      {Tag::other, 1, no_id}};
}

Attr owned(uint32_t uid, uint32_t gid) {
    Attr attr;
    attr.uid = uid;
    attr.gid = gid;
    return attr;
}

} // namespace

TEST_CASE("the xattr form of an ACL is Linux's") {
    Acl minimal{{Tag::user_obj, 6, no_id}, {Tag::group_obj, 4, no_id}, {Tag::other, 0, no_id}};
    auto value = encode_acl(minimal);
    CHECK(value == bytes({2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 4,   0,
                          4, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255}));
    for (const Acl& acl : {minimal, full_acl()}) {
        auto back = parse_acl(encode_acl(acl));
        REQUIRE(back.ok());
        REQUIRE(back->size() == acl.size());
        CHECK(encode_acl(*back) == encode_acl(acl));
    }
    CHECK(parse_acl({})->empty());
    CHECK(parse_acl(bytes({2, 0, 0, 0}))->empty());
}

TEST_CASE("malformed ACLs are refused") {
    CHECK(parse_acl(bytes({2, 0})).error() == Errno::inval);
    CHECK(parse_acl(bytes({1, 0, 0, 0})).error() == Errno::opnotsupp);
    CHECK(parse_acl(bytes({2, 0, 0, 0, 1, 0, 6, 0})).error() == Errno::inval);
    auto refused = [](Acl acl) { return parse_acl(encode_acl(acl)).error() == Errno::inval; };
    Acl acl = full_acl();
    std::swap(acl[0], acl[3]);
    CHECK(refused(acl)); // order
    acl = full_acl();
    acl.erase(acl.begin() + 6);
    CHECK(refused(acl)); // named, and no mask
    acl = full_acl();
    acl.erase(acl.begin());
    CHECK(refused(acl)); // no owner
    acl = full_acl();
    acl[2].id = 1001;
    CHECK(refused(acl)); // one user twice
    acl = full_acl();
    acl[2].permissions = 8;
    CHECK(refused(acl));
    acl = full_acl();
    acl[2].id = no_id;
    CHECK(refused(acl));
    acl = full_acl();
    acl[2].tag = static_cast<Tag>(3);
    CHECK(refused(acl));
    acl = full_acl();
    acl.push_back(acl.back());
    CHECK(refused(acl)); // other twice
}

TEST_CASE("the access check follows acl(5)") {
    struct Row {
        Cred cred;
        unsigned want;
        bool granted;
    };
    const Row rows[] = {
        {Cred(1000, 1), 6, true},             // the owner: his own entry, no mask
        {Cred(1000, 2001), 1, false},         // and nothing but it
        {Cred(1001, 1), 5, true},             // a named user, masked
        {Cred(1001, 1), 2, false},            // 7 masked by 5
        {Cred(1002, 2001), 4, false},         // his groups do not help a named user
        {Cred(9, 2000), 4, true},             // the file's group
        {Cred(9, 2001), 4, true},             // a named group, masked
        {Cred(9, 2001), 2, false},            //
        {Cred(9, 1, {2001, 2002}), 5, false}, // no single group grants both
        {Cred(9, 1, {2001, 2002}), 1, true},
        {Cred(9, 1, {2001, 2002}), 4, true},
        {Cred(9, 2002), 4, false}, // in a group: other does not count
        {Cred(9, 9), 1, true},
        {Cred(9, 9), 4, false},
    };
    const Acl acl = full_acl();
    for (const Row& row : rows) {
        INFO("uid " << row.cred.uid() << " gid " << row.cred.gid() << " want " << row.want);
        CHECK(acl_allows(acl, owned(1000, 2000), row.want, row.cred) == row.granted);
    }
}

TEST_CASE("mode bits and ACL say the same") {
    CHECK(acl_to_mode(full_acl(), 04000) == 04651);
    CHECK_FALSE(acl_is_minimal(full_acl()));
    Acl minimal{{Tag::user_obj, 7, no_id}, {Tag::group_obj, 5, no_id}, {Tag::other, 0, no_id}};
    CHECK(acl_is_minimal(minimal));
    CHECK(acl_to_mode(minimal, 0) == 0750);

    Acl acl = full_acl();
    acl_apply_chmod(acl, 0723);
    CHECK(acl_to_mode(acl, 0) == 0723);
    CHECK(acl[3].permissions == 4); // the mask took the group bits
    CHECK(acl[6].permissions == 2);
    acl_apply_chmod(minimal, 0641);
    CHECK(acl_to_mode(minimal, 0) == 0641);
}

TEST_CASE("what is asked for takes away from what is inherited") {
    uint32_t mode = 0600;
    Acl acl = acl_inherit(full_acl(), mode);
    CHECK(mode == 0600);
    CHECK(acl[6].permissions == 0); // the mask
    CHECK(acl[3].permissions == 4);
    mode = 02777;
    acl = acl_inherit(full_acl(), mode);
    CHECK(mode == 02651);
    CHECK(acl_to_mode(acl, 0) == 0651);
}
