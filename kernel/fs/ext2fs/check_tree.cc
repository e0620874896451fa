// check: directories, names, link counts, and that every directory hangs below the root.
#include "kernel/fs/ext2fs/check.h"

#include <algorithm>

namespace rump::ext2 {

Result<void> Checker::check_directories() {
    if (mode_to_type(inodes_[disk::inode_root].mode) != FileType::dir) {
        (void)add(Finding::Severity::fatal, "root", inode_place_text(disk::inode_root),
                  "the root is no directory", false);
        return {};
    }
    for (const DirectoryBlocks& dir : directories_) {
        TRY(check_directory(dir));
        if (dir.indexed) TRY(check_index(dir));
    }
    inodes_[disk::inode_root].parent = disk::inode_root;
    return check_parents();
}

Result<void> Checker::check_parents() {
    const size_t count = directories_.size(); // lost+found may join them
    for (size_t i = 0; i < count; ++i) {
        const uint32_t number = directories_[i].number;
        if (inodes_[number].parent == 0 &&
            mend("unconnected", inode_place_text(number), "a directory without a name") &&
            !TRY(reconnect(number)))
            wrong("unconnected", inode_place_text(number), "finds no room in lost+found");
    }
    for (size_t i = 0; i < count; ++i) {
        const uint32_t number = directories_[i].number;
        // Walking up ends at the root, or it never does.
        uint32_t at = number;
        for (uint32_t steps = 0; at != disk::inode_root && steps <= g_.inode_count; ++steps)
            at = inodes_[at].parent;
        const Found& found = inodes_[number];
        if (at != disk::inode_root) {
            if (found.parent != 0)
                wrong("directory-loop", inode_place_text(number), "does not hang below the root");
        } else if (found.dotdot != found.parent &&
                   mend("dotdot", inode_place_text(number), "\"..\" is inode {}, should be {}",
                        found.dotdot, found.parent)) {
            TRY(set_dotdot(number, found.parent));
        }
    }
    return {};
}

Result<void> Checker::check_directory(const DirectoryBlocks& dir) {
    std::vector<std::string> names;
    uint64_t n = 0;
    for (uint32_t number : dir.blocks) {
        if (number == 0) {
            wrong("hole", inode_place_text(dir.number), "block {} of a directory is missing", n);
        } else {
            Block block = TRY(read(number));
            const Block before = block;
            check_entries(dir.number, n, block, names);
            if (block != before) TRY(write(number, block));
        }
        ++n;
    }
    std::sort(names.begin(), names.end());
    for (const char* needed : {".", ".."})
        if (!std::binary_search(names.begin(), names.end(), needed))
            wrong("dot-missing", inode_place_text(dir.number), "no entry \"{}\"", needed);
    for (auto it = names.begin(); (it = std::adjacent_find(it, names.end())) != names.end(); ++it)
        wrong("name-twice", inode_place_text(dir.number), "\"{}\" comes twice", *it);
    return {};
}

void Checker::check_entries(uint32_t number, uint64_t n, Block& block,
                            std::vector<std::string>& names) {
    DirBlockWalk walk(block);
    EntryView e;
    while (walk.next(e)) {
        if (!e.used()) continue;
        auto& entry = *reinterpret_cast<disk::DirEntry*>(block.data() + e.offset);
        if (check_entry(number, n, e)) {
            entry.inode = 0;
            continue;
        }
        names.emplace_back(e.name);
        if (!g_.inode_usable(e.inode)) continue; // a dot entry, reported
        const uint8_t type = file_type_code(mode_to_type(inodes_[e.inode].mode));
        if (g_.has_filetype() && e.file_type != type && inodes_[e.inode].links > 0 &&
            mend("entry-type",
                 fmt::format("inode {}, block {} of it, offset {}", number, n, e.offset),
                 "type {} of an inode of type {}", e.file_type, type))
            entry.file_type = type;
    }
    if (!walk.damage().empty())
        wrong("entry", fmt::format("inode {}, block {} of it", number, n), "{}", walk.damage());
}

bool Checker::check_entry(uint32_t number, uint64_t n, const EntryView& e) {
    const std::string place =
        fmt::format("inode {}, block {} of it, offset {}", number, n, e.offset);
    if (const char* problem = bad_name(e.name)) wrong("name", place, "{}", problem);
    const bool dots = e.name == "." || e.name == "..";
    if (!g_.inode_usable(e.inode) || inodes_[e.inode].links == 0) {
        if (!dots) return mend("entry-inode", place, "inode {} is not in use", e.inode);
        wrong("entry-inode", place, "inode {} is not in use", e.inode);
        return false;
    }
    Found& found = inodes_[e.inode];
    if (!dots && mode_to_type(found.mode) == FileType::dir) {
        // A cut between the two steps of a rename: either name would do.
        if (found.parent != 0 || e.inode == disk::inode_root)
            return mend("directory-twice", place, "directory inode {} has another name", e.inode);
        found.parent = number;
    }
    ++found.names;
    if (e.name == "." && e.inode != number) wrong("dot", place, "\".\" is inode {}", e.inode);
    if (e.name == "..") inodes_[number].dotdot = e.inode;
    return false;
}

Result<void> Checker::check_links() {
    for (uint32_t number = 1; number < inodes_.size(); ++number) {
        Found& found = inodes_[number];
        if (found.links == 0 || found.orphan) continue;
        if (found.names == 0 && mode_to_type(found.mode) != FileType::dir &&
            mend("unconnected", inode_place_text(number), "in use, but has no name"))
            if (!TRY(reconnect(number))) {
                wrong("unconnected", inode_place_text(number), "finds no room in lost+found");
                continue;
            }
    }
    // Names in lost+found have been added by now.
    for (uint32_t number = 1; number < inodes_.size(); ++number) {
        Found& found = inodes_[number];
        if (found.links == 0 || found.orphan || found.names == found.links || found.names == 0)
            continue;
        if (found.names > UINT16_MAX || !mend("links", inode_place_text(number),
                                              "{} links counted, {} are", found.links, found.names))
            continue;
        found.links = static_cast<uint16_t>(found.names);
        TRY(change_inode(number, [&](disk::Inode& raw) { raw.links = found.links; }));
    }
    return {};
}

} // namespace rump::ext2
