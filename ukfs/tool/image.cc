// ukfs info, check, newfs, probe, parts, types: images as a whole.
#include "ukfs/tool/commands.h"

#include "hostshim/printable.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace rump::tool {
namespace {

using Json = nlohmann::ordered_json;

/// Labels and names on disk may be of any bytes; what is no UTF-8 is replaced.
void print_json(const Json& json) {
    print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string size_text(uint64_t bytes) {
    constexpr const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    auto value = static_cast<double>(bytes);
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        ++unit;
    }
    return unit ? fmt::format("{:.1f} {}", value, units[unit]) : fmt::format("{} bytes", bytes);
}

Json facts_of(Session& session) {
    Json facts = Json::object();
    int result = ukfs_info(
        session.fs(),
        [](void* arg, const char* name, const char* value) {
            (*static_cast<Json*>(arg))[name] = value;
        },
        &facts);
    session.check(result, "info");
    return facts;
}

/// Facts come as text. Digits alone are a number, but where users or others chose the words.
Json typed(const std::string& name, const std::string& value) {
    constexpr size_t digits_of_64_bits = 19;
    const bool digits = !value.empty() && value.size() <= digits_of_64_bits &&
                        value.find_first_not_of("0123456789") == value.npos;
    if (!digits || name == "label" || name == "last mounted on") return value;
    return std::stoull(value);
}

} // namespace

int info(const Common& common, bool json) {
    Session session(common, false);
    if (!session) return exit_failed;
    Json facts = facts_of(session);
    struct ukfs_statvfs s {};
    session.check(ukfs_statvfs(session.fs(), &s), "statvfs");
    if (json) {
        Json named = Json::object(); // names of programs' kind: "inode_size"
        for (auto& [name, value] : facts.items()) {
            std::string key = name;
            std::replace(key.begin(), key.end(), ' ', '_');
            named[key] = typed(name, value.get<std::string>());
        }
        facts = std::move(named);
        facts["block_size"] = s.block_size;
        facts["fragment_size"] = s.fragment_size;
        facts["blocks"] = s.blocks;
        facts["blocks_free"] = s.blocks_free;
        facts["blocks_available"] = s.blocks_available;
        facts["files"] = s.files;
        facts["files_free"] = s.files_free;
        facts["name_max"] = s.name_max;
        print_json(facts);
    } else {
        const bool has_block_size = facts.contains("block size");
        for (const auto& [name, value] : facts.items())
            print(fmt::format("{:<17}{}\n", name, host::printable(value.get<std::string>())));
        print(fmt::format("{:<17}{} ({} free, {} available)\n", "size",
                          size_text(s.blocks * s.fragment_size),
                          size_text(s.blocks_free * s.fragment_size),
                          size_text(s.blocks_available * s.fragment_size)));
        print(fmt::format("{:<17}{} ({} free)\n", "inodes", s.files, s.files_free));
        if (!has_block_size) print(fmt::format("{:<17}{} bytes\n", "block size", s.block_size));
    }
    return session.finish();
}

int check(const Common& common, const CheckFlags& flags) {
    constexpr int fsck_operational = 8;
    struct Collected {
        const Common& common;
        bool json;
        Json findings = Json::array();
    } collected{common, flags.json};
    const std::string options = common.all_options();
    ukfs_check_args args{.type = common.type_or_null(),
                         .options = options.c_str(),
                         .repair = flags.repair,
                         .force = flags.force,
                         .finding =
                             [](void* arg, const ukfs_finding* f) {
                                 auto& to = *static_cast<Collected*>(arg);
                                 constexpr const char* severities[] = {"note", "wrong", "fatal"};
                                 const char* severity = severities[f->severity];
                                 if (to.json)
                                     to.findings.push_back({{"severity", severity},
                                                            {"code", f->code},
                                                            {"place", f->place},
                                                            {"message", f->message},
                                                            {"repaired", f->repaired != 0}});
                                 else
                                     print(host::printable(fmt::format(
                                               "{}: {}: {}{}", severity, f->place, f->message,
                                               f->repaired ? " (repaired)" : "")) +
                                           "\n");
                             },
                         .finding_arg = &collected};
    ukfs_check_report report{};
    ukfs_error error;
    if (flags.repair && (common.read_only || flags.look)) {
        complain(common, fmt::format("{} and -y exclude each other", flags.look ? "-n" : "-r"));
        return exit_check_usage;
    }
    if (ukfs_check(common.image.c_str(), &args, &report, &error) != 0) {
        complain(common, error.text);
        return fsck_operational;
    }
    if (flags.json) {
        print_json({{"type", report.type},
                    {"clean", report.exit_code == 0},
                    {"skipped_clean", report.skipped_clean != 0},
                    {"exit_code", report.exit_code},
                    {"files", report.files},
                    {"directories", report.directories},
                    {"blocks_used", report.blocks_used},
                    {"blocks_total", report.blocks_total},
                    {"findings", collected.findings}});
    } else if (report.skipped_clean) {
        print(fmt::format("{}: {}, marked clean, not checked (use -f to check it anyway)\n",
                          common.image, report.type));
    } else {
        const char* state = report.exit_code == 0   ? "clean"
                            : report.exit_code == 1 ? "all errors repaired"
                                                    : "errors left";
        print(fmt::format("{}: {}, {}: {} files, {} directories, {} of {} blocks used\n",
                          common.image, report.type, state, report.files, report.directories,
                          report.blocks_used, report.blocks_total));
    }
    return report.exit_code;
}

int newfs(const Common& common, const std::string& size_argument, bool force) {
    if (common.type.empty()) {
        complain(common, "newfs needs a type: -t TYPE (\"ukfs types\" lists them)");
        return exit_usage;
    }
    const std::optional<uint64_t> size = size_argument.empty() ? 0 : parse_bytes(size_argument);
    if (!size || (*size == 0 && !size_argument.empty())) {
        complain(common, fmt::format("--size={}: not a size (512, 64k, 10M, 1G)", size_argument));
        return exit_usage;
    }
    const std::string options = common.all_options();
    ukfs_error error;
    struct ukfs_probe there;
    if (!force && ukfs_probe(common.image.c_str(), nullptr, &there, &error) == 0 &&
        !std::string_view(there.what).starts_with("no known file system") &&
        common.partition.empty()) {
        complain(common, fmt::format("{}; use --force to overwrite it", there.what));
        return exit_failed;
    }
    const int made =
        ukfs_newfs(common.image.c_str(), common.type.c_str(), options.c_str(), *size, &error);
    if (made != 0) {
        complain(common, made == -ENOENT && *size == 0
                             ? std::string(error.text) + "; with --size it is made"
                             : error.text);
        return exit_failed;
    }
    return exit_ok;
}

int probe(const Common& common) {
    const std::string options = common.all_options();
    struct ukfs_probe found;
    ukfs_error error;
    if (ukfs_probe(common.image.c_str(), options.c_str(), &found, &error) != 0) {
        complain(common, error.text);
        return exit_failed;
    }
    if (*found.type) print(fmt::format("type    {}\n", found.type));
    if (*found.label) print(fmt::format("label   {}\n", host::printable(found.label)));
    if (*found.uuid) print(fmt::format("uuid    {}\n", found.uuid));
    print(fmt::format("what    {}\n", found.what));
    return *found.type ? exit_ok : exit_failed;
}

int partitions(const Common& common) {
    ukfs_error error;
    bool any = false;
    int result = ukfs_partitions(
        common.image.c_str(),
        [](void* arg, const ukfs_partition* p) {
            *static_cast<bool*>(arg) = true;
            std::string letter = p->letter ? std::string(1, p->letter) : "-";
            print(fmt::format("{:>3} {} {:>14} {:>14} {:<8} {:<36} {}\n", p->number, letter,
                              p->offset, p->size, p->scheme, p->type, host::printable(p->name)));
        },
        &any, &error);
    if (result == 0 && any) return exit_ok;
    complain(common, result == 0 ? "no partition table" : error.text);
    return exit_failed;
}

int types() {
    ukfs_types(
        [](void*, const ukfs_type* type) {
            std::string can;
            if (type->can_check) can += " check";
            if (type->can_newfs) can += " newfs";
            print(fmt::format("{:<12}{}{}{}\n", type->name, type->description,
                              *type->aliases ? fmt::format(" (also {})", type->aliases) : "",
                              can.empty() ? "" : fmt::format(" [{}]", can.substr(1))));
        },
        nullptr);
    return exit_ok;
}

} // namespace rump::tool
