// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

/// Threads that one thread runs in turns. A switch saves registers and the stack pointer; ucontext serves only to
/// begin.
namespace simt {

/// Tells AddressSanitizer which stack is in use; nothing without it.
class stack_switch {
 public:
#if defined(__SANITIZE_ADDRESS__)
  static void leave(void** fake, const void* bottom, std::size_t bytes) {
    __sanitizer_start_switch_fiber(fake, bottom, bytes);
  }
  static void arrive(void* fake, const void** from, std::size_t* bytes) {
    __sanitizer_finish_switch_fiber(fake, from, bytes);
  }
#else
  static void leave(void**, const void*, std::size_t) {}
  static void arrive(void*, const void**, std::size_t*) {}
#endif
};

/// Runs a function on a stack of its own until it pauses or ends. Reusable: `start` begins another run.
class fiber {
 public:
  static constexpr std::size_t stack_bytes = 128 * 1024;

  fiber() : stack_(new std::byte[stack_bytes]) {}

  void start(void (*body)(void*), void* argument) {
    body_ = body;
    argument_ = argument;
    begun_ = false;
    ended_ = false;
  }

  bool ended() const noexcept { return ended_; }

  /// Continues the fiber; returns when it pauses or ends.
  void resume() {
    void* fake = nullptr;
    if (_setjmp(outside_) == 0) {
      stack_switch::leave(&fake, stack_.get(), stack_bytes);
      if (begun_) _longjmp(inside_, 1);
      begun_ = true;
      ucontext_t context;
      getcontext(&context);
      context.uc_stack.ss_sp = stack_.get();
      context.uc_stack.ss_size = stack_bytes;
      context.uc_link = nullptr;
      const auto address = reinterpret_cast<std::size_t>(this);
      makecontext(&context, reinterpret_cast<void (*)()>(&fiber::enter), 2, static_cast<unsigned>(address >> 32),
                  static_cast<unsigned>(address & 0xffffffffu));
      setcontext(&context);
    }
    stack_switch::arrive(fake, nullptr, nullptr);
  }

  /// Called on the fiber: gives the turn back.
  void pause() {
    void* fake = nullptr;
    if (_setjmp(inside_) == 0) {
      stack_switch::leave(&fake, caller_stack_, caller_bytes_);
      _longjmp(outside_, 1);
    }
    stack_switch::arrive(fake, &caller_stack_, &caller_bytes_);
  }

 private:
  static void enter(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<fiber*>((static_cast<std::size_t>(high) << 32) | low);
    stack_switch::arrive(nullptr, &self->caller_stack_, &self->caller_bytes_);
    self->body_(self->argument_);
    self->ended_ = true;
    stack_switch::leave(nullptr, self->caller_stack_, self->caller_bytes_);
    _longjmp(self->outside_, 1);
  }

  std::unique_ptr<std::byte[]> stack_;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool begun_ = false, ended_ = true;
  jmp_buf outside_, inside_;
  const void* caller_stack_ = nullptr;
  std::size_t caller_bytes_ = 0;
};

}  // namespace simt
