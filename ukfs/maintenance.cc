// What is done to images without mounting them: probe, check, newfs; and the lists of types.
#include "images/identify.h"
#include "images/image.h"
#include "images/partitions.h"
#include "kernel/fs/registry.h"
#include "ukfs/instance.h"
#include "ukfs/options.h"

#include <fmt/format.h>

using namespace rump;
using namespace rump::ukfslib;

namespace rump::ukfslib {

FailureOr<const FileSystemType*> named_type(std::string_view name) {
    const FileSystemType* type = find_filesystem(name);
    if (!type) return Failure(Errno::inval, fmt::format("no file system type \"{}\"", name));
    return type;
}

FailureOr<const FileSystemType*> type_of(host::BlockDevice& device) {
    auto found = probe_filesystems(device);
    if (!found.ok()) return found.error();
    if (!found->type.empty()) return named_type(found->type);
    if (auto identity = images::identify(device); identity.ok())
        if (const auto* type = find_filesystem(images::filesystem_name(identity->type)))
            return type;
    if (images::is_unknown(device))
        for (const FileSystemType* type : filesystem_types())
            if (auto ours = type->recoverable(device); ours && *ours) return type;
    return Failure(Errno::inval, images::what_it_is(device));
}

} // namespace rump::ukfslib

namespace {

FailureOr<void> check_image(const char* image, const ukfs_check_args& args,
                            ukfs_check_report& report) {
    auto options = TRY(parse_options(view(args.options), nullptr, Purpose::mount));
    options.image.access = args.repair ? host::Access::read_write : host::Access::read_only;
    auto device = TRY(images::open(image, options.image));
    const FileSystemType* type = args.type ? TRY(named_type(args.type)) : TRY(type_of(*device));
    options = TRY(parse_options(view(args.options), type, Purpose::mount));
    if (!type->can_check())
        return Failure(Errno::opnotsupp, fmt::format("{} has no checker", type->name()));

    host::Log log(host::null_sink());
    CheckOptions how{
        .repair = args.repair != 0, .force = args.force != 0, .fs = std::move(options.mount.fs)};
    CheckReport found = TRY(type->check(*device, how, log));
    if (args.repair) {
        auto flushed = device->flush();
        if (!flushed.ok()) return Failure(flushed.error(), "repairs could not be written");
    }
    if (args.finding)
        for (const Finding& f : found.findings) {
            ukfs_finding finding{.severity = static_cast<int>(f.severity),
                                 .code = f.code.c_str(),
                                 .place = f.place.c_str(),
                                 .message = f.message.c_str(),
                                 .repaired = f.repaired};
            args.finding(args.finding_arg, &finding);
        }
    report = {.skipped_clean = found.skipped_clean,
              .exit_code = found.exit_code(),
              .findings = found.findings.size(),
              .files = found.files,
              .directories = found.directories,
              .blocks_used = found.blocks_used,
              .blocks_total = found.blocks_total};
    copy_text(type->name(), report.type, sizeof report.type);
    return {};
}

/// What a new file system left alone must not pass for another one.
Result<void> wipe_others(host::BlockDevice& device, const FileSystemType& type) {
    TRY(images::wipe_signatures(
        device, [&](std::string_view name) { return find_filesystem(name) == &type; }));
    for (const FileSystemType* other : filesystem_types()) {
        if (other == &type) continue;
        // A FAT is known without its marks: by the boot sector, which FFS leaves alone.
        constexpr uint64_t sector = 512;
        if (TRY(other->probe(device))) TRY(device.write_zeros(0, sector));
    }
    return {};
}

FailureOr<void> fill_image(const char* image, const FileSystemType& type, const Options& options) {
    auto device = TRY(images::open(image, options.image));
    Kernel kernel;
    TRY(type.newfs(kernel, *device, options.own));
    TRY(wipe_others(*device, type));
    TRY(device->flush());
    return {};
}

FailureOr<void> make_filesystem(const char* image, const FileSystemType& type,
                                std::string_view option_list, uint64_t size) {
    if (!type.can_newfs())
        return Failure(Errno::opnotsupp,
                       fmt::format("{} cannot make new file systems", type.name()));
    auto options = TRY(parse_options(option_list, &type, Purpose::newfs));
    if (options.image.cow)
        return Failure(Errno::inval, "option cow: a new file system is written to the image");
    options.image.access = host::Access::read_write;
    if (!size) return fill_image(image, type, options);
    auto file = TRY(images::SizedFile::create(images::parse_argument(image).path, size));
    // What lies behind is there still, and goes at the end.
    if (!options.image.size && size > options.image.offset)
        options.image.size = size - options.image.offset;
    TRY(fill_image(image, type, options));
    TRY(file.keep());
    return {};
}

std::string words(std::span<const std::string_view> list) {
    return fmt::format("{}", fmt::join(list, " "));
}

} // namespace

void ukfs_types(void (*visit)(void*, const ukfs_type*), void* arg) {
    for (const FileSystemType* type : filesystem_types()) {
        std::string name(type->name()), aliases = words(type->aliases()),
                                        description(type->description());
        ukfs_type out{.name = name.c_str(),
                      .aliases = aliases.c_str(),
                      .description = description.c_str(),
                      .needs_device = type->needs_device(),
                      .can_check = type->can_check(),
                      .can_newfs = type->can_newfs()};
        visit(arg, &out);
    }
}

int ukfs_type_options(const char* name, int newfs,
                      void (*option)(void*, const char*, const char*, const char*), void* arg) {
    return call([&]() -> Result<void> {
        const FileSystemType* type = find_filesystem(name);
        if (!type) return Errno::inval;
        for (const OptionSpec& spec : newfs ? type->newfs_options() : type->mount_options())
            option(arg, std::string(spec.name).c_str(), std::string(spec.argument).c_str(),
                   std::string(spec.help).c_str());
        return {};
    });
}

int ukfs_probe(const char* image, const char* options, struct ukfs_probe* out, ukfs_error* error) {
    return call_with_error(error, [&]() -> FailureOr<void> {
        *out = {};
        auto parsed = TRY(parse_options(view(options), nullptr, Purpose::image_only));
        auto device = TRY(images::open(image, parsed.image));
        auto found = probe_filesystems(*device);
        if (!found.ok()) return found.error();
        auto identity = images::identify(*device);
        const bool known = identity.ok();
        copy_text(found->type, out->type, sizeof out->type);
        copy_text(found->label.empty() && known ? identity->label : found->label, out->label,
                  sizeof out->label);
        copy_text(found->uuid.empty() && known ? identity->uuid : found->uuid, out->uuid,
                  sizeof out->uuid);
        copy_text(images::what_it_is(*device), out->what, sizeof out->what);
        return {};
    });
}

int ukfs_partitions(const char* image, void (*visit)(void*, const ukfs_partition*), void* arg,
                    ukfs_error* error) {
    return call_with_error(error, [&]() -> FailureOr<void> {
        for (const images::Partition& p : TRY(images::partitions(image))) {
            if (p.extended) continue;
            ukfs_partition out{.number = p.number,
                               .letter = p.letter,
                               .offset = p.offset,
                               .size = p.size,
                               .scheme = p.scheme.c_str(),
                               .type = p.type.c_str(),
                               .name = p.name.c_str(),
                               .uuid = p.uuid.c_str()};
            visit(arg, &out);
        }
        return {};
    });
}

int ukfs_check(const char* image, const ukfs_check_args* args, ukfs_check_report* report,
               ukfs_error* error) {
    return call_with_error(error, [&]() -> FailureOr<void> {
        const ukfs_check_args defaults{};
        ukfs_check_report unused;
        return check_image(image, args ? *args : defaults, report ? *report : unused);
    });
}

int ukfs_newfs(const char* image, const char* type, const char* options, uint64_t size,
               ukfs_error* error) {
    return call_with_error(error, [&]() -> FailureOr<void> {
        const FileSystemType* found = TRY(named_type(view(type)));
        return make_filesystem(image, *found, view(options), size);
    });
}
