// A second torch device, `second`, in the computer's own memory.
//
// It computes on the CPU, but it is as strict as CUDA: an operator that meets a tensor of the
// device and a tensor of the CPU raises, unless the latter has no dimension or holds indices; so
// does one that is given a generator of the CPU. Its matrix products round by their number of rows,
// as those of a GPU do: equal shapes give equal bits, others need not. It finds code that takes the
// CPU for granted on machines without an accelerator.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_copy_from_and_resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/EmptyTensor.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <string>

namespace {

constexpr auto DEVICE = c10::DeviceType::PrivateUse1;

// ---- memory -----------------------------------------------------------------------------------

struct SecondAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    auto owned = c10::GetCPUAllocator()->allocate(bytes);
    auto* data = owned.get();
    auto* context = new c10::DataPtr(std::move(owned));
    return {data, context, &release, c10::Device(DEVICE, 0)};
  }
  static void release(void* context) { delete static_cast<c10::DataPtr*>(context); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

SecondAllocator allocator;
REGISTER_ALLOCATOR(DEVICE, &allocator);

struct SecondGuard final : c10::impl::NoOpDeviceGuardImpl<DEVICE> {
  c10::Device getDevice() const override { return {DEVICE, 0}; }
  c10::Device exchangeDevice(c10::Device) const override { return {DEVICE, 0}; }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, c10::Device(DEVICE, 0));
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, SecondGuard);

// ---- random numbers ---------------------------------------------------------------------------

// A generator that says that it is of the device; it draws from one of the CPU.
struct SecondGenerator final : c10::GeneratorImpl {
  SecondGenerator(at::Generator cpu)
      : c10::GeneratorImpl(c10::Device(DEVICE, 0), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        cpu(std::move(cpu)) {}
  void set_current_seed(uint64_t seed) override { cpu.set_current_seed(seed); }
  void set_offset(uint64_t offset) override { cpu.set_offset(offset); }
  uint64_t get_offset() const override { return cpu.get_offset(); }
  uint64_t current_seed() const override { return cpu.current_seed(); }
  uint64_t seed() override { return cpu.seed(); }
  void set_state(const c10::TensorImpl& state) override {
    cpu.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return cpu.unsafeGetGeneratorImpl()->get_state();
  }
  SecondGenerator* clone_impl() const override { return new SecondGenerator(cpu.clone()); }
  at::Generator cpu;
};

at::Generator new_generator() {
  return at::make_generator<SecondGenerator>(at::detail::createCPUGenerator());
}

struct SecondHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static auto* generator = new at::Generator(new_generator());
    return *generator;
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return new_generator(); }
};

// ---- operators --------------------------------------------------------------------------------

bool is_second(const at::Tensor& t) { return t.defined() && t.device().type() == DEVICE; }

at::Tensor on_cpu(const at::Tensor& t) {
  return at::from_blob(
      t.data_ptr(), t.sizes(), t.strides(), [keep = t](void*) {}, t.options().device(at::kCPU));
}

at::Tensor empty_memory_format(
    c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(
      size, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(
    c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(
      size, stride, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      c10::dtype_or_default(dtype));
}

// Copies are what may cross from one device to the other.
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  auto source = is_second(from) ? on_cpu(from) : from;
  auto target = is_second(to) ? on_cpu(to) : to;
  target.copy_(source);
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (to.sizes() != from.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar_dense(const at::Tensor& t) { return on_cpu(t).item(); }

at::Tensor& set_storage(
    at::Tensor& t, at::Storage source, int64_t offset, c10::IntArrayRef size,
    c10::IntArrayRef stride) {
  TORCH_CHECK(source.device_type() == DEVICE, "set_: a storage of another device");
  return at::native::set_storage_cpu_(t, std::move(source), offset, size, stride);
}

// CUDA takes indices from the CPU for a tensor of its own.
bool takes_cpu_indices(const std::string& name) {
  return name == "aten::index" || name == "aten::index_put" || name == "aten::index_put_" ||
      name == "aten::_index_put_impl_" || name == "aten::_unsafe_index";
}

void check(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto count = schema.arguments().size();
  const auto first = stack->size() - count;
  const bool indexing = takes_cpu_indices(schema.name());
  auto refuse = [&](const std::string& argument, const at::Tensor& t) {
    TORCH_CHECK(
        false, "Expected all tensors to be on the same device: ", schema.name(), " got `", argument,
        "` ", t.sizes(), " on ", t.device(), " beside a tensor on second");
  };
  for (size_t n = 0; n < count; ++n) {
    const auto& value = (*stack)[first + n];
    const auto& argument = schema.arguments()[n];
    const auto* alias = argument.alias_info();
    auto look = [&](const at::Tensor& t, bool is_index) {
      if (!t.defined() || is_second(t)) return;
      if (alias && alias->isWrite()) refuse(argument.name(), t);
      if (t.dim() > 0 && !is_index) refuse(argument.name(), t);
    };
    const bool is_index = indexing && argument.name() == "indices";
    if (indexing && n == 0 && value.isTensor() && !is_second(value.toTensor())) {
      refuse(argument.name(), value.toTensor());
    }
    if (value.isTensor()) {
      look(value.toTensor(), is_index);
    } else if (value.isTensorList()) {
      for (const at::Tensor& t : value.toTensorVector()) look(t, is_index);
    } else if (value.isOptionalTensorList()) {
      for (const auto& t : value.toOptionalTensorVector()) if (t) look(*t, is_index);
    } else if (value.isGenerator()) {
      const auto generator = value.toGenerator();
      if (!generator.defined()) continue;
      TORCH_CHECK(
          generator.device().type() == DEVICE,
          "Expected a 'second' device type for generator but found '", generator.device(), "'");
      (*stack)[first + n] = static_cast<SecondGenerator*>(generator.unsafeGetGeneratorImpl())->cpu;
    }
  }
}

// Products with an odd number of rows add up two halves.
bool multiply(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto& name = schema.name();
  const bool adds = name == "aten::addmm", batched = name == "aten::bmm";
  // Torch itself makes the result of such an operator: only its `out` variant comes here.
  if (!(adds || batched || name == "aten::mm") || schema.overload_name() != "out") return false;
  const auto first = stack->size() - schema.arguments().size();
  const auto argument = [&](size_t n) { return (*stack)[first + n]; };
  const auto one = on_cpu(argument(adds ? 1 : 0).toTensor());
  const auto other = on_cpu(argument(adds ? 2 : 1).toTensor());
  const auto rows = one.size(-2), inner = one.size(-1), half = inner / 2;
  if (rows % 2 == 0 || half == 0) return false;
  const auto a = one.narrow(-1, 0, half), b = one.narrow(-1, half, inner - half);
  const auto c = other.narrow(-2, 0, half), d = other.narrow(-2, half, inner - half);
  at::Tensor result;
  if (adds) {
    const auto alpha = argument(4).toScalar();
    const auto start = on_cpu(argument(0).toTensor().to(c10::Device(DEVICE, 0)));
    result = at::addmm(at::addmm(start, a, c, argument(3).toScalar(), alpha), b, d, 1, alpha);
  } else {
    result = batched ? at::bmm(a, c).add_(at::bmm(b, d)) : at::mm(a, c).add_(at::mm(b, d));
  }
  auto out = argument(schema.arguments().size() - 1).toTensor();
  on_cpu(out).copy_(result);
  torch::jit::drop(*stack, schema.arguments().size());
  torch::jit::push(*stack, out);
  return true;
}

void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  check(op, stack);
  if (multiply(op, stack)) return;
  at::native::cpu_fallback(op, stack, /*error_on_views=*/true);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty_memory_format);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar_dense);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("resize_", at::native::resize_);
  m.impl("set_.source_Storage_storage_offset", set_storage);
  m.impl("set_", at::native::set_cpu_);
  m.impl("set_.source_Storage", static_cast<at::Tensor& (*)(at::Tensor&, at::Storage)>(at::native::set_));
  m.impl("set_.source_Tensor", at::native::set_tensor_);
}

struct Register {
  Register() { at::RegisterPrivateUse1HooksInterface(new SecondHooks()); }
} registered;

}  // namespace
