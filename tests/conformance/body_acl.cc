// POSIX access control lists (acl(5)), as Linux carries them in extended attributes.
#include "tests/conformance/helpers.h"

#include "kernel/vfs/acl.h"

using namespace rump;
using namespace rump::conformance;

namespace {

using Tag = vfs::AclEntry::Tag;
const std::string access_name(vfs::acl_access_name);
const std::string default_name(vfs::acl_default_name);

struct Ace {
    Tag tag;
    uint16_t permissions;
    uint32_t id = UINT32_MAX;
};

/// Version 2 of Linux's form, written out here: the suite does not trust the code under test.
std::string acl(std::initializer_list<Ace> entries) {
    std::string bytes{"\2\0\0\0", 4};
    auto put = [&](uint32_t value, int length) {
        for (int i = 0; i < length; ++i) bytes += static_cast<char>(value >> (8 * i));
    };
    for (const Ace& entry : entries) {
        put(static_cast<uint16_t>(entry.tag), 2);
        put(entry.permissions, 2);
        put(entry.id, 4);
    }
    return bytes;
}

std::string bob_reads() {
    return acl({{Tag::user_obj, 6},
                {Tag::user, 4, bob.uid},
                {Tag::group_obj, 0},
                {Tag::mask, 4},
                {Tag::other, 0}});
}

} // namespace

CONFORMANCE("an access ACL is kept and shows in the mode") {
    if (!fs.traits.posix_acl) return;
    fs.write("f", "x");
    CHECK(fs.setxattr("f", access_name, bob_reads()) == ok);
    CHECK(fs.getxattr("f", access_name) == bob_reads());
    CHECK(fs.attr("f").mode == 0640); // the mask stands in the group's place
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.getxattr("f", access_name) == bob_reads());
    CHECK(fs.listxattr("f") == Names{access_name});
}

CONFORMANCE("a named user has what the ACL gives, within the mask") {
    if (!fs.traits.posix_acl || !fs.can_switch_user()) return;
    fs.write("f", "x");
    fs.setxattr("f", access_name,
                acl({{Tag::user_obj, 6},
                     {Tag::user, 7, bob.uid},
                     {Tag::group_obj, 0},
                     {Tag::mask, 4},
                     {Tag::other, 0}}));
    CHECK(fs.as(bob).open("f", O_RDONLY) == ok);
    CHECK(fs.as(bob).open("f", O_RDWR) == Errno::acces);
    CHECK(fs.as(alice).open("f", O_RDONLY) == Errno::acces);
    fs.setxattr("f", access_name,
                acl({{Tag::user_obj, 6},
                     {Tag::user, 6, bob.uid},
                     {Tag::group_obj, 0},
                     {Tag::mask, 6},
                     {Tag::other, 0}}));
    CHECK(fs.as(bob).open("f", O_RDWR) == ok);
}

CONFORMANCE("a named group has what the ACL gives") {
    if (!fs.traits.posix_acl || !fs.can_switch_user()) return;
    fs.write("f", "x");
    fs.setxattr("f", access_name,
                acl({{Tag::user_obj, 6},
                     {Tag::group_obj, 0},
                     {Tag::group, 4, alice.gid},
                     {Tag::mask, 7},
                     {Tag::other, 0}}));
    CHECK(fs.as(alice).open("f", O_RDONLY) == ok);
    CHECK(fs.as(carol).open("f", O_RDONLY) == ok); // by a supplementary group
    CHECK(fs.as(alice).open("f", O_RDWR) == Errno::acces);
    CHECK(fs.as(bob).open("f", O_RDONLY) == Errno::acces);
}

CONFORMANCE("a named user may be denied what others have") {
    if (!fs.traits.posix_acl || !fs.can_switch_user()) return;
    fs.write("f", "x");
    fs.setxattr("f", access_name,
                acl({{Tag::user_obj, 6},
                     {Tag::user, 0, bob.uid},
                     {Tag::group_obj, 4},
                     {Tag::mask, 4},
                     {Tag::other, 4}}));
    CHECK(fs.as(alice).open("f", O_RDONLY) == ok);
    CHECK(fs.as(bob).open("f", O_RDONLY) == Errno::acces);
}

CONFORMANCE("chmod changes the mask of an ACL") {
    if (!fs.traits.posix_acl) return;
    fs.write("f", "x");
    fs.setxattr("f", access_name, bob_reads());
    CHECK(fs.chmod("f", 0660) == ok);
    CHECK(fs.getxattr("f", access_name) == acl({{Tag::user_obj, 6},
                                                {Tag::user, 4, bob.uid},
                                                {Tag::group_obj, 0},
                                                {Tag::mask, 6},
                                                {Tag::other, 0}}));
    fs.chmod("f", 0707);
    CHECK(fs.getxattr("f", access_name) == acl({{Tag::user_obj, 7},
                                                {Tag::user, 4, bob.uid},
                                                {Tag::group_obj, 0},
                                                {Tag::mask, 0},
                                                {Tag::other, 7}}));
}

CONFORMANCE("a default ACL is inherited by what is made in the directory") {
    if (!fs.traits.posix_acl) return;
    const std::string inherited = acl({{Tag::user_obj, 7},
                                       {Tag::user, 7, bob.uid},
                                       {Tag::group_obj, 5},
                                       {Tag::mask, 7},
                                       {Tag::other, 0}});
    fs.mkdir("d");
    CHECK(fs.setxattr("d", default_name, inherited) == ok);
    CHECK(fs.attr("d").mode == 0755); // its own mode is not touched
    UmaskScope scope(fs, 077);        // does not count where there is a default ACL
    fs.open("d/f", O_RDWR | O_CREAT, 0666);
    fs.mkdir("d/e", 0777);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.getxattr("d/f", access_name) == acl({{Tag::user_obj, 6},
                                                  {Tag::user, 7, bob.uid},
                                                  {Tag::group_obj, 5},
                                                  {Tag::mask, 6},
                                                  {Tag::other, 0}}));
    CHECK(fs.attr("d/f").mode == 0660);
    CHECK(fs.getxattr("d/f", default_name) == Errno::nodata);
    CHECK(fs.getxattr("d/e", default_name) == inherited);
    CHECK(fs.getxattr("d/e", access_name) == inherited);
    CHECK(fs.attr("d/e").mode == 0770);
}

CONFORMANCE("a default ACL without named entries gives a mode and no ACL") {
    if (!fs.traits.posix_acl) return;
    fs.mkdir("d");
    fs.setxattr("d", default_name, acl({{Tag::user_obj, 7}, {Tag::group_obj, 5}, {Tag::other, 0}}));
    UmaskScope scope(fs, 077);
    fs.open("d/f", O_RDWR | O_CREAT, 0666);
    CHECK(fs.attr("d/f").mode == 0640);
    CHECK(fs.getxattr("d/f", access_name) == Errno::nodata);
}

CONFORMANCE("an ACL that the mode can say is not kept") {
    if (!fs.traits.posix_acl) return;
    fs.write("f", "x");
    CHECK(fs.setxattr("f", access_name,
                      acl({{Tag::user_obj, 7}, {Tag::group_obj, 4}, {Tag::other, 1}})) == ok);
    CHECK(fs.attr("f").mode == 0741);
    CHECK(fs.getxattr("f", access_name) == Errno::nodata);
    CHECK(fs.listxattr("f") == Names{});
}

CONFORMANCE("an ACL is removed") {
    if (!fs.traits.posix_acl) return;
    fs.write("f", "x");
    fs.setxattr("f", access_name, bob_reads());
    CHECK(fs.removexattr("f", access_name) == ok);
    CHECK(fs.getxattr("f", access_name) == Errno::nodata);
    fs.mkdir("d");
    fs.setxattr("d", default_name, bob_reads());
    CHECK(fs.removexattr("d", default_name) == ok);
    CHECK(fs.getxattr("d", default_name) == Errno::nodata);
    fs.write("d/f", "");
    CHECK(fs.getxattr("d/f", access_name) == Errno::nodata);
}

CONFORMANCE("a malformed ACL is EINVAL and changes nothing") {
    if (!fs.traits.posix_acl) return;
    fs.write("f", "x");
    fs.chmod("f", 0644);
    const std::string bad[] = {
        std::string("\2\0\0", 3),                       // cut short
        bob_reads().substr(0, bob_reads().size() - 1),  // half an entry
        acl({{Tag::user_obj, 6}, {Tag::group_obj, 4}}), // no other
        acl({{Tag::user_obj, 6},
             {Tag::user, 4, 7},
             {Tag::group_obj, 4},
             {Tag::other, 0}}),                                          // no mask
        acl({{Tag::group_obj, 4}, {Tag::user_obj, 6}, {Tag::other, 0}}), // order
        acl({{Tag::user_obj, 6}, {Tag::user_obj, 6}, {Tag::group_obj, 4}, {Tag::other, 0}}),
        acl({{Tag::user_obj, 15}, {Tag::group_obj, 4}, {Tag::other, 0}}), // unknown permission
        acl({{static_cast<Tag>(0x40), 6}, {Tag::group_obj, 4}, {Tag::other, 0}}),
    };
    for (const std::string& value : bad)
        CHECK(fs.setxattr("f", access_name, value) == Errno::inval);
    CHECK(fs.attr("f").mode == 0644);
    CHECK(fs.getxattr("f", access_name) == Errno::nodata);
}

CONFORMANCE("ACLs are for the owner to set, default ones for directories") {
    if (!fs.traits.posix_acl) return;
    fs.write("f", "x");
    CHECK(fs.setxattr("f", default_name, bob_reads()) == Errno::acces);
    if (!fs.can_switch_user()) return;
    fs.chmod("f", 0666);
    CHECK(fs.as(bob).setxattr("f", access_name, bob_reads()) == Errno::perm);
    CHECK(fs.as(bob).removexattr("f", access_name) == Errno::perm);
    fs.chown("f", bob.uid, bob.gid);
    CHECK(fs.as(bob).setxattr("f", access_name, bob_reads()) == ok);
}

CONFORMANCE("directories with ACLs let named users in") {
    if (!fs.traits.posix_acl || !fs.can_switch_user()) return;
    fs.mkdir("d", 0700);
    fs.write("d/f", "x");
    fs.chmod("d/f", 0644);
    CHECK(fs.as(bob).read("d/f") == Errno::acces);
    fs.setxattr("d", access_name,
                acl({{Tag::user_obj, 7},
                     {Tag::user, 7, bob.uid},
                     {Tag::group_obj, 0},
                     {Tag::mask, 7},
                     {Tag::other, 0}}));
    CHECK(fs.as(bob).read("d/f") == "x");
    CHECK(fs.as(bob).write("d/g", "y") == ok);
    CHECK(fs.as(alice).list("d") == Errno::acces);
}

CONFORMANCE("an ACL of many entries comes back whole") {
    if (!fs.traits.posix_acl) return;
    fs.write("f", "x");
    std::string value = acl({{Tag::user_obj, 7}});
    for (uint32_t uid = 2000; uid < 2025; ++uid) value += acl({{Tag::user, 5, uid}}).substr(4);
    value += acl({{Tag::group_obj, 0}, {Tag::mask, 5}, {Tag::other, 0}}).substr(4);
    CHECK(fs.setxattr("f", access_name, value) == ok);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.getxattr("f", access_name) == value);
}
