// check: directories, names, link counts, and that every directory hangs below the root.
#include "kernel/fs/ext2fs/check.h"
#include "kernel/fs/ext2fs/dirblock.h"

#include <algorithm>

namespace rump::ext2 {

Result<void> Checker::check_directories() {
    if (mode_to_type(inodes_[disk::inode_root].mode) != FileType::dir) {
        add(Finding::Severity::fatal, "root", inode_place_text(disk::inode_root),
            "the root is no directory");
        return {};
    }
    for (size_t i = 0; i < directory_blocks_.size(); ++i) TRY(check_directory(i));
    inodes_[disk::inode_root].parent = disk::inode_root;
    // Walking up ends at the root, or it never does.
    for (const auto& [number, blocks] : directory_blocks_) {
        uint32_t at = number;
        for (uint32_t steps = 0; at != disk::inode_root && steps <= g_.inode_count; ++steps)
            at = inodes_[at].parent;
        if (at != disk::inode_root)
            wrong("directory-loop", inode_place_text(number), "does not hang below the root");
        else if (inodes_[number].dotdot != inodes_[number].parent)
            wrong("dotdot", inode_place_text(number), "\"..\" is inode {}, should be {}",
                  inodes_[number].dotdot, inodes_[number].parent);
    }
    return {};
}

Result<void> Checker::check_directory(size_t index) {
    const uint32_t number = directory_blocks_[index].first;
    std::vector<std::string> names;
    uint64_t n = 0;
    for (uint32_t block : directory_blocks_[index].second)
        check_entries(number, n++, TRY(read(block)), names);
    std::sort(names.begin(), names.end());
    for (const char* needed : {".", ".."})
        if (!std::binary_search(names.begin(), names.end(), needed))
            wrong("dot-missing", inode_place_text(number), "no entry \"{}\"", needed);
    for (auto it = names.begin(); (it = std::adjacent_find(it, names.end())) != names.end(); ++it)
        wrong("name-twice", inode_place_text(number), "\"{}\" comes twice", *it);
    return {};
}

void Checker::check_entries(uint32_t number, uint64_t n, const Block& block,
                            std::vector<std::string>& names) {
    const auto place = [&](uint32_t offset) {
        return fmt::format("inode {}, block {} of it, offset {}", number, n, offset);
    };
    DirBlockWalk walk(block);
    EntryView e;
    while (walk.next(e)) {
        if (!e.used()) continue;
        names.emplace_back(e.name);
        if (const char* problem = bad_name(e.name)) wrong("name", place(e.offset), "{}", problem);
        if (!g_.inode_usable(e.inode) || inodes_[e.inode].links == 0) {
            wrong("entry-inode", place(e.offset), "inode {} is not in use", e.inode);
            continue;
        }
        Found& found = inodes_[e.inode];
        const FileType type = mode_to_type(found.mode);
        if (g_.has_filetype() && e.file_type != file_type_code(type))
            wrong("entry-type", place(e.offset), "type {} of an inode of type {}", e.file_type,
                  file_type_code(type));
        ++found.names;
        if (e.name == ".") {
            if (e.inode != number) wrong("dot", place(e.offset), "\".\" is inode {}", e.inode);
        } else if (e.name == "..") {
            inodes_[number].dotdot = e.inode;
        } else if (type == FileType::dir) {
            if (found.parent != 0 || e.inode == disk::inode_root)
                wrong("directory-twice", place(e.offset), "directory inode {} has another name",
                      e.inode);
            else
                found.parent = number;
        }
    }
    if (!walk.damage().empty())
        wrong("entry", fmt::format("inode {}, block {} of it", number, n), "{}", walk.damage());
}

void Checker::check_links() {
    for (uint32_t number = 1; number < inodes_.size(); ++number) {
        const Found& found = inodes_[number];
        if (found.links == 0 || found.orphan) continue;
        if (found.names == 0)
            wrong("unconnected", inode_place_text(number), "in use, but has no name");
        else if (found.names != found.links)
            wrong("links", inode_place_text(number), "{} links counted, {} are", found.links,
                  found.names);
    }
}

} // namespace rump::ext2
