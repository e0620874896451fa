// Making, printing and reading programs. See program.h.
#include "tests/differential/program.h"

#include <algorithm>
#include <array>
#include <random>
#include <sstream>

namespace rump::differential {

namespace {

constexpr std::array kind_names{
    "create", "write",  "append",   "read",       "truncate",    "rename", "link",
    "unlink", "mkdir",  "rmdir",    "symlink",    "readlink",    "mknod",  "chmod",
    "chown",  "utimes", "setxattr", "getxattr",   "removexattr", "punch",  "allocate",
    "stat",   "list",   "hold",     "hold_write", "hold_read",   "drop",
};

class Generator {
public:
    Generator(uint64_t seed, const Abilities& abilities) : random_(seed), can_(abilities) {}

    Operation next() {
        while (true) {
            Operation op;
            op.kind = choose_kind();
            if (!possible(op.kind)) continue;
            op.seed = static_cast<uint32_t>(random_());
            if (can_.users && below(8) == 0) op.user = static_cast<uint8_t>(1 + below(2));
            if (op.kind == Kind::link && !can_.links_of_others) op.user = 0;
            fill(op);
            return op;
        }
    }

private:
    uint64_t below(uint64_t bound) { return random_() % bound; }

    Kind choose_kind() {
        // Weights: what makes and fills files comes more often than what takes them away.
        static constexpr std::array<std::pair<Kind, unsigned>, 27> weights{{
            {Kind::create, 10},     {Kind::write, 16},    {Kind::append, 3},
            {Kind::read, 4},        {Kind::truncate, 6},  {Kind::rename, 10},
            {Kind::link, 5},        {Kind::unlink, 6},    {Kind::mkdir, 6},
            {Kind::rmdir, 3},       {Kind::symlink, 4},   {Kind::readlink, 1},
            {Kind::mknod, 2},       {Kind::chmod, 4},     {Kind::chown, 3},
            {Kind::utimes, 3},      {Kind::setxattr, 5},  {Kind::getxattr, 2},
            {Kind::removexattr, 2}, {Kind::punch, 4},     {Kind::allocate, 3},
            {Kind::stat, 4},        {Kind::list, 2},      {Kind::hold, 2},
            {Kind::hold_write, 3},  {Kind::hold_read, 1}, {Kind::drop, 1},
        }};
        unsigned total = 0;
        for (const auto& [kind, weight] : weights) total += weight;
        auto at = static_cast<unsigned>(below(total));
        for (const auto& [kind, weight] : weights) {
            if (at < weight) return kind;
            at -= weight;
        }
        return Kind::stat;
    }

    bool possible(Kind kind) const {
        switch (kind) {
        case Kind::link:
            return can_.hard_links;
        case Kind::symlink:
        case Kind::readlink:
            return can_.symlinks;
        case Kind::mknod:
            return can_.special_files;
        case Kind::chmod:
        case Kind::chown:
            return can_.owners;
        case Kind::setxattr:
        case Kind::getxattr:
        case Kind::removexattr:
            return can_.xattrs;
        case Kind::punch:
            return can_.holes;
        case Kind::allocate:
            return can_.preallocation;
        case Kind::hold:
        case Kind::hold_write:
        case Kind::hold_read:
        case Kind::drop:
            return can_.held;
        default:
            return true;
        }
    }

    std::string name() {
        static const std::array<std::string, 8> names{
            "a", "b", "c", "d", "e", "f", "file-with-a-name", std::string(180, 'L')};
        if (can_.any_name && below(12) == 0) return "n" + std::to_string(below(300));
        std::string name = names[below(names.size())];
        return can_.case_sensitive ? name : other_spelling(name);
    }

    /// Perhaps: other letters large, and dots behind it, which say nothing.
    std::string other_spelling(std::string name) {
        const uint64_t which = below(8);
        if (which < 3)
            for (char& c : name)
                if (c >= 'a' && c <= 'z' && (which == 0 || below(2))) c = static_cast<char>(c - 32);
        if (which == 3) name += ".";
        return name;
    }

    std::string path() {
        static constexpr std::array depths{1, 1, 2, 2, 2, 3, 3, 4};
        std::string text = name();
        for (int depth = depths[below(depths.size())]; depth > 1; --depth) text += "/" + name();
        return text;
    }

    /// Mostly small, sometimes around the places where block maps change, rarely far out.
    uint64_t offset() { return std::min(any_offset(), below(can_.file_offset_max)); }
    uint64_t any_offset() {
        static constexpr std::array<uint64_t, 6> edges{1024,   4096,    12'288,
                                                       49'152, 274'432, 4'243'456};
        switch (below(10)) {
        case 0:
            if (!can_.holes) return below(50'000);
            return edges[below(edges.size())] + below(40) - 20;
        case 1:
            return can_.holes ? below(4'000'000) : below(50'000);
        default:
            return below(50'000);
        }
    }
    uint64_t time() {
        const auto step = static_cast<uint64_t>(can_.time_step);
        const uint64_t seconds =
            std::max(below(1'000'000'000), static_cast<uint64_t>(can_.time_min));
        return seconds / step * step;
    }
    uint64_t length() { return below(4) == 0 ? below(30'000) + 1 : below(3000) + 1; }

    void fill(Operation& op) {
        static constexpr std::array<uint64_t, 8> modes{0644, 0600,  0755,  0777,
                                                       0,    02755, 04711, 01777};
        op.a = path();
        op.slot = static_cast<uint8_t>(below(4));
        switch (op.kind) {
        case Kind::create:
        case Kind::mkdir:
        case Kind::chmod:
            op.x = modes[below(op.kind == Kind::mkdir ? 4 : modes.size())];
            break;
        case Kind::write:
        case Kind::read:
        case Kind::append:
        case Kind::punch:
        case Kind::allocate:
        case Kind::hold_write:
            op.x = offset();
            op.y = length();
            break;
        case Kind::truncate:
            op.x = below(3) == 0 ? 0 : offset();
            break;
        case Kind::rename:
            op.b = path();
            op.x = below(4) == 0 ? (can_.exchange ? 1 + below(2) : 1) : 0;
            break;
        case Kind::link:
            op.b = path();
            break;
        case Kind::symlink:
            op.b = path();
            op.a = below(3) == 0 ? std::string(1 + below(700), 't') : path();
            break;
        case Kind::mknod:
            op.x = below(2) ? 1 : 12;
            break; // fifo, sock
        case Kind::chown:
            op.x = below(3) == 0 ? UINT32_MAX : 1000 + below(4);
            op.y = below(3) == 0 ? UINT32_MAX : 1000 + below(4);
            break;
        case Kind::utimes:
            op.x = time();
            op.y = time();
            break;
        case Kind::setxattr:
        case Kind::getxattr:
        case Kind::removexattr:
            op.b = (below(6) == 0 ? "trusted.x" : "user.x") + std::to_string(below(3));
            op.x = below(3);
            op.y = below(120);
            break;
        case Kind::list:
            if (below(3) == 0) op.a = ".";
            break;
        default:
            break;
        }
    }

    std::mt19937_64 random_;
    const Abilities& can_;
};

std::string word(const std::string& text) { return text.empty() ? "-" : text; }

} // namespace

Program make_program(uint64_t seed, size_t operations, const Abilities& abilities) {
    Generator generator(seed, abilities);
    Program program;
    for (size_t i = 0; i < operations; ++i) program.push_back(generator.next());
    return program;
}

std::string to_text(const Operation& op) {
    std::ostringstream out;
    out << kind_names[static_cast<size_t>(op.kind)] << ' ' << int{op.user} << ' ' << int{op.slot}
        << ' ' << word(op.a) << ' ' << word(op.b) << ' ' << op.x << ' ' << op.y << ' ' << op.seed;
    return out.str();
}

std::optional<Operation> from_text(const std::string& line) {
    std::istringstream in(line);
    std::string kind;
    int user = 0, slot = 0;
    Operation op;
    if (!(in >> kind >> user >> slot >> op.a >> op.b >> op.x >> op.y >> op.seed)) return {};
    if (user < 0 || user > 2 || slot < 0 || slot > 3) return {};
    op.user = static_cast<uint8_t>(user);
    op.slot = static_cast<uint8_t>(slot);
    if (op.b == "-") op.b.clear();
    for (size_t i = 0; i < kind_names.size(); ++i) {
        if (kind != kind_names[i]) continue;
        op.kind = static_cast<Kind>(i);
        return op;
    }
    return {};
}

} // namespace rump::differential
