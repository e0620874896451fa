// The check of the tree: directories, entries, names, chains.
#include "kernel/fs/msdosfs/checker.h"

#include "kernel/vfs/utf16.h"

#include <algorithm>
#include <cstring>

namespace rump::msdosfs {

namespace {

uint32_t first_of(const disk::DirEntry& entry, const Geometry& geometry) {
    uint32_t low = entry.first_cluster_low;
    return geometry.is_fat32() ? uint32_t{entry.first_cluster_high} << 16 | low : low;
}

void set_first(disk::DirEntry& entry, uint32_t cluster, const Geometry& geometry) {
    entry.first_cluster_low = static_cast<uint16_t>(cluster);
    if (geometry.is_fat32()) entry.first_cluster_high = static_cast<uint16_t>(cluster >> 16);
}

ShortName name_of(const disk::DirEntry& entry) {
    ShortName name;
    std::copy_n(entry.name, name.size(), name.begin());
    return name;
}

/// Bytes that no short name has (FAT specification, 6.1).
bool bad_short_name(const ShortName& name) {
    if (name[0] == ' ') return true;
    for (size_t i = 0; i < name.size(); i++) {
        if (i == 0 && name[i] == disk::name_is_e5) continue;
        if (name[i] < 0x20 || std::strchr("\"*+,./:;<=>?[\\]|", name[i])) return true;
    }
    return false;
}

bool is_dot_name(const disk::DirEntry& entry, std::string_view dots) {
    std::string name(11, ' ');
    std::copy(dots.begin(), dots.end(), name.begin());
    return std::memcmp(entry.name, name.data(), name.size()) == 0;
}

} // namespace

Result<void> Checker::write_slot(Open& dir, size_t slot) {
    uint64_t at = slot * disk::dirent_size;
    return device_.write(dir.parts[at / dir.part_size] + at % dir.part_size,
                         std::span(dir.bytes).subspan(at, disk::dirent_size));
}

Result<Checker::Open> Checker::open_root() {
    Open root;
    root.path = "";
    root.root = true;
    root.part_size = uint64_t{geometry_.root_entries} * disk::dirent_size;
    root.bytes.resize(root.part_size);
    root.parts = {geometry_.root_offset};
    TRY(device_.read(geometry_.root_offset, root.bytes));
    return root;
}

Checker::Walk Checker::walk_directory(const std::string& path, uint32_t first) {
    uint64_t most = uint64_t{disk::directory_entries_max} * disk::dirent_size;
    Walk chain = walk(first, std::max<uint64_t>(most >> geometry_.cluster_shift, 1));
    if (chain.broken && !chain.clusters.empty() &&
        wrong("directory-chain", path + "/", fmt::format("its chain {}", chain.broken)))
        cuts_.push_back({chain.clusters, chain.clusters.size()});
    return chain;
}

Result<Checker::Open> Checker::open_directory(const Pending& pending) {
    Open dir;
    dir.path = pending.path;
    dir.cluster = pending.chain.clusters[0];
    dir.parent = pending.parent;
    dir.root = geometry_.is_fat32() && pending.path.empty();
    dir.part_size = geometry_.cluster_size;
    for (uint32_t cluster : pending.chain.clusters) {
        uint64_t offset = geometry_.offset_of(Cluster(cluster));
        size_t at = dir.bytes.size();
        dir.bytes.resize(at + geometry_.cluster_size);
        dir.parts.push_back(offset);
        TRY(device_.read(offset, std::span(dir.bytes).subspan(at)));
    }
    return dir;
}

Result<void> Checker::check_tree() {
    if (geometry_.is_fat32()) {
        Walk chain = walk_directory("", geometry_.root_cluster.value());
        if (!chain.clusters.empty())
            pending_.push_back({"", std::move(chain), 0});
        else
            wrong("root-directory", "/", "its first cluster is free or bad", false);
    } else {
        Open root = TRY(open_root());
        TRY(check_directory(root));
    }
    while (!pending_.empty()) {
        Pending next = std::move(pending_.back());
        pending_.pop_back();
        Open dir = TRY(open_directory(next));
        TRY(check_directory(dir));
    }
    for (const Cut& one : cuts_) cut(one);
    return {};
}

/// The first two entries of every directory but a root.
Result<void> Checker::check_dots(Open& dir) {
    for (size_t slot = 0; slot < 2; slot++) {
        disk::DirEntry& entry = entry_at(dir, slot);
        const char* dots = slot == 0 ? "." : "..";
        uint32_t expected = slot == 0 ? dir.cluster : dir.parent;
        std::string place = dir.path + "/" + dots;
        if (!is_dot_name(entry, dots) || !(entry.attributes & disk::attr_directory)) {
            wrong("no-dot-entry", place, "the entry is missing", false);
            continue;
        }
        // FAT32's root as a parent is written as 0; some write its cluster.
        uint32_t found = first_of(entry, geometry_);
        bool root = slot == 1 && expected == 0 && geometry_.is_fat32() &&
                    found == geometry_.root_cluster.value();
        if (found != expected && !root &&
            wrong("wrong-dot-entry", place,
                  fmt::format("leads to cluster {}, not {}", found, expected))) {
            set_first(entry, expected, geometry_);
            TRY(write_slot(dir, slot));
        }
    }
    return {};
}

Result<void> Checker::drop_orphans(Open& dir, size_t from, size_t to) {
    if (from == to) return {};
    if (!wrong("orphan-long-name", fmt::format("{}/, entry {}", dir.path, from),
               fmt::format("{} pieces of a long name belong to no entry", to - from)))
        return {};
    for (size_t slot = from; slot < to; slot++) {
        entry_at(dir, slot).name[0] = disk::name_deleted;
        TRY(write_slot(dir, slot));
    }
    return {};
}

/// An entry and its long name go.
Result<void> Checker::drop_entry(Open& dir, size_t slot) {
    uint8_t checksum = short_name_checksum(name_of(entry_at(dir, slot)));
    for (size_t at = slot;; at--) {
        entry_at(dir, at).name[0] = disk::name_deleted;
        TRY(write_slot(dir, at));
        if (at == 0 || !is_long(entry_at(dir, at - 1)) ||
            entry_at(dir, at - 1).name[0] == disk::name_deleted)
            return {};
        if (reinterpret_cast<disk::LongEntry&>(entry_at(dir, at - 1)).checksum != checksum)
            return {};
    }
}

/// Gives a file clusters of its own, with what is in those that it shares. False: its chain is too
/// short, or there is no room.
Result<bool> Checker::copy_file(Open& dir, size_t slot) {
    disk::DirEntry& entry = entry_at(dir, slot);
    uint64_t need = geometry_.clusters_for(entry.size);
    std::vector<uint32_t> from, to;
    for (uint32_t at = first_of(entry, geometry_); from.size() < need && geometry_.is_cluster(at);
         at = table_[at])
        from.push_back(at);
    for (uint32_t n = first_cluster; n < table_.size() && to.size() < from.size(); n++)
        if (table_[n] == 0) to.push_back(n);
    if (from.size() < need || to.size() < need) return false;
    std::vector<std::byte> bytes(geometry_.cluster_size);
    for (size_t i = 0; i < need; i++) {
        TRY(device_.read(geometry_.offset_of(Cluster(from[i])), bytes));
        TRY(device_.write(geometry_.offset_of(Cluster(to[i])), bytes));
        table_[to[i]] = i + 1 < need ? to[i + 1] : end_mark();
    }
    table_changed_ = true;
    set_first(entry, to[0], geometry_);
    TRY(write_slot(dir, slot));
    return true;
}

/// The long name before the entry at `slot`, if all of it is there.
Checker::LongName Checker::long_name_of(Open& dir, size_t slot) {
    LongName name;
    uint8_t checksum = short_name_checksum(name_of(entry_at(dir, slot)));
    for (size_t order = 1; order <= std::min<size_t>(slot, disk::long_entries_max); order++) {
        const disk::DirEntry& before = entry_at(dir, slot - order);
        const auto& piece = reinterpret_cast<const disk::LongEntry&>(before);
        if (!is_long(before) || (piece.order & ~disk::long_last) != order ||
            piece.checksum != checksum)
            return {};
        decode_long_entry(
            piece, std::span<char16_t, disk::long_units_per_entry>(
                       name.units.units.data() + name.units.size, disk::long_units_per_entry));
        name.units.size += disk::long_units_per_entry;
        if (!(piece.order & disk::long_last)) continue;
        name.pieces = order;
        name.units.size = std::min(name.units.view().find(u'\0'), name.units.size);
        return name;
    }
    return {};
}

/// Both names of an entry, once each in a directory.
void Checker::check_name(Open& dir, size_t slot, const LongName& long_name) {
    const disk::DirEntry& entry = entry_at(dir, slot);
    std::string place = fmt::format("{}/, entry {}", dir.path, slot);
    if (bad_short_name(name_of(entry)))
        wrong("bad-short-name", place, "the short name has a character that none has", false);
    NameUnits shown, folded, folded_long;
    show_short_name(name_of(entry), entry.case_bits, rules_, shown);
    fold(shown.view(), rules_.upcase, folded);
    names_.add(folded.view(), slot);
    if (long_name.pieces == 0) return;
    fold(long_name.units.view(), rules_.upcase, folded_long);
    if (folded_long.view() != folded.view()) names_.add(folded_long.view(), slot);
    if (!parse_name(vfs::utf16_to_utf8(long_name.units.view())))
        wrong("bad-long-name", place, "the long name has a character that none has", false);
}

/// A short name for `name` that nothing in the directory has.
std::optional<ShortName> Checker::free_short_name(std::u16string_view name) const {
    Shortened basis = shorten(name, rules_);
    for (uint32_t candidate = 0; candidate < short_name_candidates; candidate++) {
        ShortName made = numbered_short_name(basis, name, candidate);
        NameUnits folded;
        show_short_name(made, 0, rules_, folded);
        fold(folded.view(), rules_.upcase, folded);
        if (!names_.has(folded.view())) return made;
    }
    return std::nullopt;
}

/// Gives the entry at `slot` names that no other has. True: it has them.
Result<bool> Checker::rename_twin(Open& dir, size_t slot, std::u16string_view folded) {
    disk::DirEntry& entry = entry_at(dir, slot);
    LongName long_name = long_name_of(dir, slot);
    NameUnits shown, given;
    show_short_name(name_of(entry), 0, rules_, shown);
    const NameUnits& old = long_name.pieces > 0 ? long_name.units : shown;
    auto units = names_.free_name(old, rules_.upcase);
    auto short_name = free_short_name(old.view());
    if (!wrong("name-twice", dir.path + "/" + vfs::utf16_to_utf8(folded),
               "two entries have this name", units && short_name))
        return false;
    std::copy(short_name->begin(), short_name->end(), entry.name);
    show_short_name(*short_name, 0, rules_, given);
    fold(given.view(), rules_.upcase, given);
    names_.give(given.view());
    uint8_t checksum = short_name_checksum(*short_name);
    for (size_t order = 1; order <= long_name.pieces; order++) {
        auto& piece = reinterpret_cast<disk::LongEntry&>(entry_at(dir, slot - order));
        encode_long_entry(units->view(), static_cast<uint32_t>(order), checksum, piece);
        TRY(write_slot(dir, slot - order));
    }
    if (long_name.pieces > 0) {
        fold(units->view(), rules_.upcase, given);
        names_.give(given.view());
    }
    TRY(write_slot(dir, slot));
    return true;
}

Result<void> Checker::check_directory(Open& dir) {
    report_.directories++;
    names_ = {};
    size_t slots = dir.bytes.size() / disk::dirent_size;
    if (!dir.root) TRY(check_dots(dir));
    size_t pieces = 0; // long entries just before this slot
    for (size_t slot = dir.root ? 0 : 2; slot < slots; slot++) {
        disk::DirEntry& entry = entry_at(dir, slot);
        if (entry.name[0] == disk::name_end) break;
        if (entry.name[0] == disk::name_deleted) {
            TRY(drop_orphans(dir, slot - pieces, slot));
            pieces = 0;
            continue;
        }
        if (is_long(entry)) {
            pieces++;
            continue;
        }
        LongName long_name;
        bool label = entry.attributes & disk::attr_label; // which has no long name
        if (!label) long_name = long_name_of(dir, slot);
        TRY(drop_orphans(dir, slot - pieces, slot - long_name.pieces));
        pieces = 0;
        if (label) {
            TRY(check_label(dir, slot));
            continue;
        }
        NameUnits shown;
        show_short_name(name_of(entry), entry.case_bits, rules_, shown);
        const NameUnits& name = long_name.pieces > 0 ? long_name.units : shown;
        TRY(check_entry(dir, slot, dir.path + "/" + vfs::utf16_to_utf8(name.view())));
        if (entry.name[0] != disk::name_deleted) check_name(dir, slot, long_name);
    }
    return names_.each_twin(
        [&](std::u16string_view folded, size_t slot) { return rename_twin(dir, slot, folded); });
}

Result<void> Checker::check_label(Open& dir, size_t slot) {
    disk::DirEntry& entry = entry_at(dir, slot);
    std::string place = fmt::format("{}/, entry {}", dir.path, slot);
    if (!dir.root)
        wrong("label-as-file", place, "a volume label outside the root directory", false);
    if ((first_of(entry, geometry_) != 0 || entry.size != 0) &&
        wrong("label-with-clusters", place, "a volume label with a first cluster or a size")) {
        set_first(entry, 0, geometry_);
        entry.size = 0;
        TRY(write_slot(dir, slot));
    }
    return {};
}

Result<void> Checker::check_entry(Open& dir, size_t slot, const std::string& path) {
    disk::DirEntry& entry = entry_at(dir, slot);
    if (!(entry.attributes & disk::attr_directory)) return check_file(dir, slot, path);
    if (entry.size != 0 && wrong("directory-size", path,
                                 fmt::format("a directory with a size, {}", entry.size.get()))) {
        entry.size = 0;
        TRY(write_slot(dir, slot));
    }
    uint32_t first = first_of(entry, geometry_);
    Walk chain = walk_directory(path, first);
    if (chain.clusters.empty()) {
        // Nothing of it can be read, or it is another directory under a second name.
        if (wrong("directory-cluster", path, fmt::format("first cluster is {}", first)))
            TRY(drop_entry(dir, slot));
        return {};
    }
    pending_.push_back({path, std::move(chain), dir.root ? 0 : dir.cluster});
    return {};
}

Result<void> Checker::check_file(Open& dir, size_t slot, const std::string& path) {
    report_.files++;
    disk::DirEntry& entry = entry_at(dir, slot);
    uint32_t first = first_of(entry, geometry_);
    if (first != 0 && entry.size != 0 && second_name(first, path)) {
        if (!TRY(copy_file(dir, slot))) return drop_entry(dir, slot);
        first = first_of(entry, geometry_);
    }
    uint64_t need = geometry_.clusters_for(entry.size);
    Walk chain;
    if (first != 0) chain = walk(first, need);
    if (chain.broken && chain.clusters.size() <= need &&
        wrong("file-chain", path, fmt::format("its chain {}", chain.broken))) {
        cuts_.push_back({chain.clusters, chain.clusters.size()});
        if (chain.clusters.empty()) set_first(entry, 0, geometry_);
        TRY(write_slot(dir, slot));
    }
    uint64_t have = chain.clusters.size();
    if (have > need) {
        // What a writer leaves that was cut off between the table and the entry.
        if (wrong("chain-too-long", path,
                  fmt::format("the chain goes on behind the {} clusters of its size", need))) {
            cuts_.push_back({chain.clusters, need});
            if (need == 0) set_first(entry, 0, geometry_);
            return write_slot(dir, slot);
        }
    } else if (have < need) {
        uint64_t size = have << geometry_.cluster_shift;
        if (wrong("chain-too-short", path,
                  fmt::format("size is {}, the chain has {} bytes", entry.size.get(), size))) {
            entry.size = static_cast<uint32_t>(size);
            if (have == 0) set_first(entry, 0, geometry_);
            return write_slot(dir, slot);
        }
    }
    return {};
}

} // namespace rump::msdosfs
