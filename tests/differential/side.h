// Side: one file system of a comparison, over one backend. Answers every operation with a line of
// text; two sides that differ in a line differ in what a program would have seen.
#pragma once

#include "tests/conformance/fs.h"
#include "tests/differential/program.h"

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace rump::differential {

/// How to make a side, again and again.
struct SideMaker {
    std::string name; // "ext2fs:fuse"
    conformance::Target* target = nullptr;
    std::function<std::unique_ptr<conformance::Backend>()> make;
    bool can_switch_user = true;
    bool can_preallocate = true;
    bool can_link_others = true;
};

/// Path -> what is there: type, mode, owners, links, size, contents, attributes.
using Tree = std::map<std::string, std::string>;

class Side {
public:
    /// `shown`: what is compared, as all sides have it.
    Side(const SideMaker& maker, const Abilities& shown);

    const std::string& name() const { return name_; }
    std::string perform(const Operation& operation);
    Tree tree();
    /// Closes what is held, unmounts, checks, mounts again.
    void reopen();
    void finish();

private:
    std::string spelled(const std::string& path);
    Operation spelled(Operation operation);
    std::string describe(const std::string& path, const Attr& attr);
    std::string held(const Operation& operation);
    bool opens_special_file(const Operation& operation);
    void walk(const std::string& path, Tree& into);
    std::string write(const Operation& op, int flags, uint64_t offset);

    const std::string name_;
    const conformance::Traits& traits_;
    const Abilities shown_;
    std::unique_ptr<conformance::Backend> backend_;
    std::array<std::unique_ptr<conformance::OpenFile>, 4> held_;
};

} // namespace rump::differential
