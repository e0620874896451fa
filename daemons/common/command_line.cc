// See command_line.h. Names and meanings of options are mount(8)'s and fuse(8)'s where those have
// them.
#include "daemons/common/command_line.h"

#include "kernel/sys/mount_options.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace rump {

namespace {

using Kind = OptionSpec::Kind;

/// Beside those of images and of mounts, which all hosts have.
constexpr OptionSpec daemon_options[] = {
    {"fakeroot", Kind::flag, "", "every operation is allowed, as if you were root"},
    {"remount", Kind::flag, "", "change what is mounted already: ro, rw, noexec …"},
    {"allow_other", Kind::flag, "", "other users may use the mount, as modes permit"},
    {"allow_root", Kind::flag, "", "root may use the mount"},
    {"default_permissions", Kind::flag, "",
     "the host checks permissions (default; root: see rump(7))"},
    {"nosuid", Kind::flag, "", "ignore set-user-ID bits (default)"},
    {"nodev", Kind::flag, "", "ignore device nodes (default)"},
    {"noexec", Kind::flag, "", "execute nothing"},
    {"flush", Kind::flag, "", "a file is on the device once it is closed"},
    {"threads", Kind::number, "N", "threads that serve requests (default: CPUs + 2)"},
    {"poll", Kind::number, "US", "wait busily for requests up to this long (default 50)"},
    {"transport", Kind::text, "NAME", "auto (default), uring or dev"},
    {"loglevel", Kind::text, "LEVEL", "debug, info (default), warning, error or off"},
    {"pidfile", Kind::text, "FILE", "write the daemon's process id there"},
    {"ready_fd", Kind::number, "N", "write a newline to this descriptor when mounted"},
};

/// What mount(8), fstab and fuse(8) pass along: nothing to do, or the host's.
constexpr std::string_view ignored_options[] = {
    "defaults",   "auto",       "noauto",     "user",          "nouser",   "users",      "owner",
    "group",      "nofail",     "user_xattr", "_netdev",       "loop",

    "diratime",   "nodiratime", "norelatime", "nostrictatime", "lazytime", "nolazytime", "iversion",
    "noiversion", "mand",       "nomand",     "silent",        "loud",     "nonempty",
};
constexpr std::string_view host_options[] = {"suid",   "dev",   "exec",  "dirsync",
                                             "nosuid", "nodev", "noexec"};

template<class List>
bool contains(const List& list, std::string_view name) {
    return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

/// What the host shows of a mount, and mount(8) passes when that is remounted.
constexpr std::string_view shown_options[] = {"user_id", "group_id", "max_read", "blksize"};

bool ignored(std::string_view name) {
    return contains(ignored_options, name) || name.starts_with("x-") || name.starts_with("X-") ||
           name == "comment" || name == "uhelper";
}

DaemonError usage(std::string text) { return {ExitCode::usage, std::move(text)}; }

class Parser {
public:
    explicit Parser(const DaemonSpec& spec) : spec_(spec) {}
    DaemonResult<CommandLine> run(std::span<char*> arguments);

private:
    DaemonResult<void> flags(std::string_view letters, std::span<char*>& rest);
    DaemonResult<void> option(const std::string& text);
    void host_option(std::string_view name);
    DaemonResult<void> arguments();
    DaemonResult<void> conclude();
    DaemonResult<void> conclude_choices();
    p2k::Permissions choose_permissions() const;

    bool has(std::string_view name) const { return options_.has(name); }
    /// EINVAL text for a number that an option cannot take.
    DaemonResult<uint64_t> bounded(std::string_view name, uint64_t least, uint64_t most) const {
        const uint64_t value = options_.number(name, least);
        if (value < least || value > most)
            return usage(fmt::format("option {}={}: not from {} to {}", name, value, least, most));
        return value;
    }

    DaemonResult<int> ready_descriptor() const;

    const DaemonSpec& spec_;
    CommandLine line_;
    OptionSet options_;
    std::vector<std::string> arguments_;
};

DaemonResult<void> Parser::flags(std::string_view letters, std::span<char*>& rest) {
    for (size_t i = 0; i < letters.size(); ++i) {
        switch (letters[i]) {
        case 'd':
            line_.debug = line_.foreground = true;
            line_.host_options.emplace_back("debug"); // libfuse prints every request
            break;
        case 'f':
            line_.foreground = true;
            break;
        case 'h':
            line_.what = CommandLine::What::help;
            break;
        case 'V':
            line_.what = CommandLine::What::version;
            break;
        case 'r':
            TRY(option("ro"));
            break;
        case 'o': {
            std::string_view list = letters.substr(i + 1);
            if (list.empty()) {
                if (rest.empty()) return usage("-o needs a list of options");
                list = rest.front();
                rest = rest.subspan(1);
            }
            for (const std::string& text : split_options(list)) TRY(option(text));
            return {};
        }
        default:
            return usage(fmt::format("unknown flag -{}", letters[i]));
        }
    }
    return {};
}

/// "uid=alice" as "uid=1000": what is below knows numbers only.
DaemonResult<std::string> with_number(const std::string& text) {
    const NamedOption option(text);
    const bool user = option.name == "uid";
    if ((!user && option.name != "gid") || !option.value || option.value->empty() ||
        std::isdigit(static_cast<unsigned char>(option.value->front())))
        return text;
    const std::string name(*option.value);
    std::optional<unsigned long> id;
    if (user) {
        if (const passwd* found = ::getpwnam(name.c_str())) id = found->pw_uid;
    } else {
        if (const group* found = ::getgrnam(name.c_str())) id = found->gr_gid;
    }
    if (!id)
        return usage(
            fmt::format("option {}: neither a number nor a {}", text, user ? "user" : "group"));
    return fmt::format("{}={}", option.name, *id);
}

DaemonResult<void> Parser::option(const std::string& given) {
    const std::string text = TRY(with_number(given));
    const NamedOption option(text);
    const std::string_view name = option.name;
    line_.words.push_back(text);
    line_.all_options |= contains(shown_options, name);
    const auto as_usage = [](const FailureOr<void>& set) -> DaemonResult<void> {
        if (set.ok()) return {};
        return usage(set.error().text);
    };
    if (const auto own = spec_.type.mount_options(); lists(own, name))
        return as_usage(line_.mount.fs.set(own, name, option.value));
    if (spec_.type.needs_device() && lists(images::image_option_specs(), name))
        return as_usage(images::set_image_option(line_.image_options, name, option.value));
    if (lists(mount_option_specs(), name)) return as_usage(set_mount_option(line_.mount, option));
    if (contains(host_options, name) && !option.value)
        host_option(name);
    else if (lists(daemon_options, name))
        return as_usage(options_.set(daemon_options, name, option.value));
    else if (!ignored(name) && !contains(shown_options, name))
        return usage(fmt::format("unknown option \"{}\"", name));
    return {};
}

/// Of "exec" and "noexec" the last one counts: fstab's "user" stands for "noexec,nosuid,nodev".
void Parser::host_option(std::string_view name) {
    const std::string contrary =
        name.starts_with("no") ? std::string(name.substr(2)) : fmt::format("no{}", name);
    std::erase(line_.host_options, contrary);
    line_.host_options.emplace_back(name);
}

DaemonResult<CommandLine> Parser::run(std::span<char*> rest) {
    bool only_arguments = false;
    while (!rest.empty()) {
        const std::string_view word = rest.front();
        rest = rest.subspan(1);
        if (only_arguments || word.size() < 2 || word[0] != '-')
            arguments_.emplace_back(word);
        else if (word == "--")
            only_arguments = true;
        else if (word == "--help")
            line_.what = CommandLine::What::help;
        else if (word == "--version")
            line_.what = CommandLine::What::version;
        else if (word[1] == '-')
            return usage(fmt::format("unknown flag {}", word));
        else
            TRY(flags(word.substr(1), rest));
    }
    if (line_.what != CommandLine::What::mount) return std::move(line_);
    TRY(arguments());
    TRY(conclude());
    TRY(conclude_choices());
    return std::move(line_);
}

DaemonResult<void> Parser::arguments() {
    const bool device = spec_.type.needs_device();
    // mount(8) and fstab always pass a source; without a device it is a mere word.
    if (!device && arguments_.size() == 2) {
        line_.image = arguments_[0];
        arguments_.erase(arguments_.begin());
    }
    if (arguments_.size() != (device ? 2 : 1) || contains(arguments_, ""))
        return usage(fmt::format("expected {}; try {} --help",
                                 device ? "an image and a mount point" : "a mount point",
                                 spec_.name));
    if (device) line_.image = arguments_[0];
    line_.mountpoint = arguments_.back();
    return {};
}

/// Options that are numbers or flags.
DaemonResult<void> Parser::conclude() {
    MountOptions& mount = line_.mount;
    if (!spec_.stores_owners && !mount.uid) mount.uid = ::getuid();
    if (!spec_.stores_owners && !mount.gid) mount.gid = ::getgid();
    if (has("threads"))
        line_.limits.threads = static_cast<unsigned>(TRY(bounded("threads", 1, 1024)));
    if (has("poll")) line_.limits.poll_us = static_cast<unsigned>(TRY(bounded("poll", 0, 10000)));
    if (has("ready_fd")) line_.ready_fd = TRY(ready_descriptor());
    line_.remount = has("remount");
    if (line_.all_options && !line_.remount)
        return usage("options user_id, group_id, max_read and blksize are for remounts only");
    line_.flush = has("flush");
    line_.fakeroot = has("fakeroot");
    line_.allow_root = has("allow_root");
    line_.pidfile = options_.text("pidfile");
    for (std::string_view name : {"allow_other", "allow_root"})
        if (has(name)) line_.host_options.emplace_back(name);
    if (mount.atime == AtimePolicy::none) line_.host_options.emplace_back("noatime");
    if (mount.sync) line_.host_options.emplace_back("sync");
    if (mount.read_only) line_.host_options.emplace_back("ro");
    if (line_.fakeroot && has("allow_other"))
        return usage("fakeroot and allow_other exclude each other: everybody could do everything");
    if (line_.fakeroot && has("default_permissions"))
        return usage("fakeroot and default_permissions exclude each other");
    if (has("allow_other") && line_.allow_root)
        return usage("allow_other and allow_root exclude each other");
    auto checked = check_mount_options(mount);
    if (checked.ok()) checked = spec_.type.check_mount_options(mount.fs);
    if (!checked.ok()) return usage(checked.error().text);
    line_.permissions = choose_permissions();
    if (line_.permissions == p2k::Permissions::host)
        line_.host_options.emplace_back("default_permissions");
    return {};
}

/// Looked at now: later the number may belong to a file that the daemon has opened itself.
DaemonResult<int> Parser::ready_descriptor() const {
    const int fd = static_cast<int>(TRY(bounded("ready_fd", 0, 1u << 20)));
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return usage(
            fmt::format("option ready_fd={}: not a descriptor that is open for writing", fd));
    return fd;
}

/// The host checks permissions, at the price of asking for a directory's attributes after each
/// change in it. A mount that only root may enter is spared that: root may do everything.
p2k::Permissions Parser::choose_permissions() const {
    if (line_.fakeroot) return p2k::Permissions::fakeroot;
    const bool others = has("allow_other") || has("allow_root");
    if (::geteuid() == 0 && !others && !has("default_permissions")) return p2k::Permissions::caller;
    return p2k::Permissions::host;
}

/// Options that choose one of some words.
DaemonResult<void> Parser::conclude_choices() {
    const std::string transport = options_.text("transport", "auto");
    if (transport == "auto")
        line_.transport = p2k::TransportChoice::automatic;
    else if (transport == "uring")
        line_.transport = p2k::TransportChoice::uring;
    else if (transport == "dev")
        line_.transport = p2k::TransportChoice::device;
    else
        return usage(fmt::format("option transport={}: not auto, uring or dev", transport));

    constexpr std::array<std::string_view, 5> levels{"debug", "info", "warning", "error", "off"};
    const std::string level = options_.text("loglevel", line_.debug ? "debug" : "info");
    const auto* found = std::find(levels.begin(), levels.end(), level);
    if (found == levels.end())
        return usage(
            fmt::format("option loglevel={}: not debug, info, warning, error or off", level));
    line_.log_level = static_cast<host::LogLevel>(found - levels.begin());
    return {};
}

std::string join(std::span<const std::string_view> words) {
    std::string text;
    for (std::string_view word : words) text.append(text.empty() ? "" : ", ").append(word);
    return text;
}

std::string describe(std::span<const OptionSpec> options) {
    std::string text;
    for (const OptionSpec& option : options) {
        std::string left(option.name);
        if (!option.argument.empty()) left += fmt::format("={}", option.argument);
        left.resize(std::max<size_t>(left.size(), 19), ' ');
        text += fmt::format("    {} {}\n", left, option.help);
    }
    return text;
}

} // namespace

DaemonResult<CommandLine> parse_command_line(int argc, char** argv, const DaemonSpec& spec) {
    return Parser(spec).run({argv + 1, static_cast<size_t>(argc > 0 ? argc - 1 : 0)});
}

std::string help_text(const DaemonSpec& spec) {
    std::string text =
        fmt::format("usage: {} [-dfhrV] [-o option[,option...]] {}mountpoint\n"
                    "Mounts {}.\n",
                    spec.name, spec.type.needs_device() ? "image " : "", spec.type.description());
    if (!spec.aliases.empty()) text += fmt::format("Also installed as {}.\n", join(spec.aliases));
    text += "\n"
            "    -d  stay in the foreground and log for debugging\n"
            "    -f  stay in the foreground\n"
            "    -h  this text\n"
            "    -r  read-only, as -o ro\n"
            "    -V  the version\n"
            "    -o  options, separated by commas:\n\n";
    if (spec.type.needs_device()) text += describe(images::image_option_specs());
    text += describe(mount_option_specs());
    text += describe(daemon_options);
    if (const auto own = spec.type.mount_options(); !own.empty())
        text += fmt::format("\nof {}:\n\n{}", spec.type.name(), describe(own));
    text +=
        fmt::format("\nOptions that mount(8) and fstab(5) pass along are accepted: {}, {}, x-*.\n",
                    join(host_options), join(ignored_options));
    text += "Unmount with rump_umount or fusermount3 -u.\n";
    return text;
}

} // namespace rump
