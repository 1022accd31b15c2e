// Errors are ordinary values: a call that can fail returns a Result.
#pragma once

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <version>
#if defined(__cpp_lib_expected)
#include <expected>
#endif

namespace xzfs {

// Why something failed. `code` is an errno value, what a program that asked through the mount is
// told: EIO for content that cannot be decoded or does not match its Check, ESTALE when the stored
// file is no longer the one that was opened, EFBIG when a documented limit is exceeded, otherwise
// what the system call said. `message` is one line for the log: what failed, on what, why, and what
// to do about it.
struct Error {
  int code = 0;
  std::string message;
  // Reading the stored file failed, not what is in it: trying again may help.
  bool of_the_source = false;
  // Nothing is wrong with the file: this liblzma lacks a filter or an option that it uses.
  bool is_unsupported = false;
};

// An error on its way into a Result of any type: `return Failure(other.error());`.
template <class E = Error>
class Failure {
 public:
  explicit Failure(E error) : error_(std::move(error)) {}

  E& error() & { return error_; }
  const E& error() const& { return error_; }
  E&& error() && { return std::move(error_); }

 private:
  E error_;
};

// What value() throws if there is no value.
class BadResult : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A value, or why there is none. It is true if there is a value; `*` and `->` may only be used
// then, and error() only if it is false. value() checks, and throws BadResult with the error's
// message. As thread-safe as the value.
template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result() requires std::is_default_constructible_v<T> : state_(std::in_place_index<0>) {}
  // From whatever makes a T.
  template <class U = T>
  requires(!std::is_same_v<std::remove_cvref_t<U>, Result> && std::is_convertible_v<U&&, T>)
      Result(U&& value)  // NOLINT(google-explicit-constructor): functions return values
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}
  Result(Failure<E> failure)  // NOLINT(google-explicit-constructor): functions return errors
      : state_(std::in_place_index<1>, std::move(failure).error()) {}
  // From a result whose value makes a T.
  template <class U>
  requires(!std::is_same_v<U, T> && std::is_convertible_v<U&&, T> &&
           !std::is_convertible_v<Result<U, E>&&, T>)
      Result(
          Result<U, E>&& other)  // NOLINT(google-explicit-constructor): functions pass results on
      : state_(other ? State(std::in_place_index<0>, *std::move(other))
                     : State(std::in_place_index<1>, std::move(other.error()))) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }

  T& value() & { return Checked(), **this; }
  const T& value() const& { return Checked(), **this; }
  T&& value() && { return Checked(), *std::move(*this); }
  template <class U>
  T value_or(U&& other) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(other));
  }
  template <class U>
  T value_or(U&& other) && {
    return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(other));
  }

  E& error() { return *std::get_if<1>(&state_); }
  const E& error() const { return *std::get_if<1>(&state_); }

  // What `make` makes of the value, or the same error.
  template <class F>
  Result<std::invoke_result_t<F, const T&>, E> transform(F&& make) const {
    using Made = Result<std::invoke_result_t<F, const T&>, E>;
    return has_value() ? Made(std::forward<F>(make)(**this)) : Made(Failure<E>(error()));
  }

  // There is a value, and it is `value`.
  friend bool operator==(const Result& result, const T& value) {
    return result && *result == value;
  }

#if defined(__cpp_lib_expected)
  operator std::expected<T, E>() && {
    return has_value() ? std::expected<T, E>(*std::move(*this))
                       : std::expected<T, E>(std::unexpect, std::move(error()));
  }
#endif

 private:
  using State = std::variant<T, E>;

  void Checked() const {
    if (!has_value()) {
      throw BadResult(error().message);
    }
  }

  State state_;
};

// Success, or why there is none.
template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() = default;
  Result(Failure<E> failure)  // NOLINT(google-explicit-constructor): functions return errors
      : error_(std::move(failure).error()) {}

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  void value() const {
    if (error_) {
      throw BadResult(error_->message);
    }
  }

  E& error() { return *error_; }
  const E& error() const { return *error_; }

#if defined(__cpp_lib_expected)
  operator std::expected<void, E>() && {
    return error_ ? std::expected<void, E>(std::unexpect, *std::move(error_))
                  : std::expected<void, E>();
  }
#endif

 private:
  std::optional<E> error_;
};

using Status = Result<void>;

inline Failure<> Fail(int code, std::string message) {
  return Failure<>(Error{code, std::move(message)});
}

// An Error for a system call that failed with errno `code`: "WHAT: No such file or directory".
// REQUIRES: errno is read on the line after the call.
inline Failure<> FailErrno(int code, const std::string& what) {
  return Fail(code, what + ": " + std::strerror(code));
}

// The same for a call that reads the stored file.
inline Failure<> FailSource(int code, const std::string& what) {
  Failure<> failure = FailErrno(code, what);
  failure.error().of_the_source = true;
  return failure;
}

}  // namespace xzfs
