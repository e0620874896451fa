// The bench's client: takes commands on standard input, one a line, and answers each with one line
// of JSON. bench.py drives it; what is measured is measured here.
//
//     bench_client [--files N] [--directories N] [--big MIB] [--random N] [--parallel MIB]
//                  [--source-tree TAR] [--repository TAR] posix DIR | kernel TYPE IMAGE | list |
//                  types
//
//     prepare NAME    what the workload needs, not measured     {}
//     run NAME        measured {"operations":…,"bytes":…,"seconds":…} drop            drop the
//     caches (in process only)         {} sync {}
#include "tests/bench/workloads.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <iostream>

using namespace bench;
using nlohmann::json;

namespace {

json list_workloads() {
    json all = json::array();
    for (const auto& w : workloads())
        all.push_back({{"name", w.name},
                       {"description", w.description},
                       {"cold", w.cold},
                       {"programs", w.programs},
                       {"plain", w.plain}});
    return all;
}

const Workload& workload(const std::string& name) {
    for (const auto& w : workloads())
        if (w.name == name) return w;
    throw Failed("no workload " + name, EINVAL);
}

json obey(Files& fs, const Scale& scale, const std::string& line) {
    const auto space = line.find(' ');
    const auto command = line.substr(0, space);
    const auto name = space == std::string::npos ? std::string() : line.substr(space + 1);
    if (command == "drop") {
        fs.drop_caches();
    } else if (command == "sync") {
        fs.sync();
    } else if (command == "prepare") {
        if (auto* prepare = workload(name).prepare) prepare(fs, scale);
    } else if (command == "finish") {
        if (auto* finish = workload(name).finish) finish(fs, scale);
    } else if (command == "run") {
        const auto run = workload(name).run;
        const auto start = std::chrono::steady_clock::now();
        const Amount amount = run(fs, scale);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        return {
            {"operations", amount.operations}, {"bytes", amount.bytes}, {"seconds", took.count()}};
    } else {
        throw Failed("no command " + command, EINVAL);
    }
    return json::object();
}

void serve(Files& fs, const Scale& scale) {
    for (std::string line; std::getline(std::cin, line);) {
        json answer;
        try {
            fs.begin();
            answer = obey(fs, scale, line);
        } catch (const std::exception& failure) {
            answer = {{"error", failure.what()}};
        }
        try {
            fs.end();
        } catch (const std::exception& failure) {
            answer = {{"error", failure.what()}};
        }
        std::cout << answer.dump() << std::endl;
    }
}

} // namespace

int main(int argc, char** argv) {
    Scale scale;
    uint64_t big_mib = scale.big_bytes >> 20, parallel_mib = scale.parallel_bytes >> 20;
    std::string directory, type, image;
    CLI::App app("The client of the bench");
    app.add_option("--files", scale.files);
    app.add_option("--directories", scale.directories);
    app.add_option("--big", big_mib, "MiB");
    app.add_option("--random", scale.random_operations);
    app.add_option("--parallel", parallel_mib, "MiB for each thread");
    app.add_option("--source-tree", scale.source_tree);
    app.add_option("--repository", scale.repository);
    app.require_subcommand(1);
    auto* posix = app.add_subcommand("posix");
    posix->add_option("directory", directory)->required();
    auto* kernel = app.add_subcommand("kernel");
    kernel->add_option("type", type)->required();
    kernel->add_option("image", image);
    auto* list = app.add_subcommand("list");
    auto* types = app.add_subcommand("types");
    CLI11_PARSE(app, argc, argv);
    scale.big_bytes = big_mib << 20;
    scale.parallel_bytes = parallel_mib << 20;

    try {
        if (list->parsed()) {
            std::cout << list_workloads().dump() << std::endl;
        } else if (types->parsed()) {
            for (const auto& name : kernel_types()) std::cout << name << std::endl;
        } else {
            auto fs = posix->parsed() ? posix_files(directory) : kernel_files(type, image);
            serve(*fs, scale);
        }
    } catch (const std::exception& failure) {
        std::cerr << "bench_client: " << failure.what() << '\n';
        return 1;
    }
    return 0;
}
