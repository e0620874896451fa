// A callable passed down a call and not kept: two words, no allocation.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace rump {

template<class Signature>
class FunctionRef;

template<class R, class... Args>
class FunctionRef<R(Args...)> {
public:
    template<class F>
    requires(!std::same_as<std::remove_cvref_t<F>, FunctionRef> &&
             std::is_invocable_r_v<R, F&, Args...>)
        FunctionRef(F&& f) // NOLINT: implicit, so that a lambda can be passed
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
          call_([](void* object, Args... args) -> R {
              return (*static_cast<std::remove_reference_t<F>*>(object))(
                  std::forward<Args>(args)...);
          }) {}

    R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

private:
    void* object_;
    R (*call_)(void*, Args...);
};

} // namespace rump
