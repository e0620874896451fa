// Outcome<T>: what a call of the conformance suite returned, a value or an errno, to be compared
// with what a user relies on. An error that no comparison looked at fails the test: a body may
// write `fs.mkdir("d");` and mean that it works.
#pragma once

#include "hostshim/result.h"

#include <catch2/catch.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <variant>

namespace rump::conformance {

struct Ok {};
inline constexpr Ok ok;

template<class T>
class Outcome {
public:
    Outcome(Result<T> result, std::string call) : call_(std::move(call)) {
        if (result.ok())
            value_.emplace(result.release_value());
        else
            error_ = result.error();
    }
    Outcome(Outcome&& other) noexcept
        : value_(std::move(other.value_)), error_(other.error_), call_(std::move(other.call_)),
          examined_(std::exchange(other.examined_, true)) {}
    Outcome& operator=(Outcome&&) = delete;
    ~Outcome() {
        if (!examined_ && error_) FAIL_CHECK(call_ << ": " << errno_name(*error_));
    }

    /// The value; ends the test when there is none.
    T& operator*() {
        demand();
        return *value_;
    }
    T* operator->() { return &**this; }
    T take() { return std::move(**this); }

    bool is_ok() const {
        examined_ = true;
        return !error_;
    }
    std::optional<Errno> error() const {
        examined_ = true;
        return error_;
    }
    const std::optional<T>& value() const {
        examined_ = true;
        return value_;
    }

private:
    void demand() {
        examined_ = true;
        if (error_) FAIL(call_ << ": " << errno_name(*error_));
    }

    std::optional<T> value_;
    std::optional<Errno> error_;
    std::string call_;
    mutable bool examined_ = false;
};

struct Done {
    bool operator==(const Done&) const = default;
};
using Status = Outcome<Done>;

template<class T>
bool operator==(const Outcome<T>& outcome, Ok) {
    return outcome.is_ok();
}
template<class T>
bool operator==(const Outcome<T>& outcome, Errno error) {
    return outcome.error() == error;
}
template<class T, class U>
requires(!std::same_as<U, Errno> && !std::same_as<U, Ok> &&
         std::equality_comparable_with<T, U>) bool
operator==(const Outcome<T>& outcome, const U& value) {
    return outcome.is_ok() && *outcome.value() == value;
}

} // namespace rump::conformance

template<>
struct Catch::StringMaker<rump::Errno> {
    static std::string convert(rump::Errno error) { return std::string(rump::errno_name(error)); }
};
template<>
struct Catch::StringMaker<rump::conformance::Ok> {
    static std::string convert(rump::conformance::Ok) { return "ok"; }
};
template<class T>
struct Catch::StringMaker<rump::conformance::Outcome<T>> {
    static std::string convert(const rump::conformance::Outcome<T>& outcome) {
        if (auto error = outcome.error()) return std::string(rump::errno_name(*error));
        if constexpr (std::same_as<T, std::string>) {
            if (outcome.value()->size() > 200)
                return "a string of " + std::to_string(outcome.value()->size()) + " bytes";
        }
        return Catch::Detail::stringify(*outcome.value());
    }
};
template<>
struct Catch::StringMaker<rump::conformance::Done> {
    static std::string convert(rump::conformance::Done) { return "ok"; }
};
