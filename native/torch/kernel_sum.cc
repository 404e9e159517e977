#include "kernel_sum.h"

#include <numeric>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/kernel_sum_kernels.h"

namespace repkit {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Fixed, so that sums come out the same for any number of threads.
constexpr int64_t tasks = 16;

template <typename T>
const kernels::KernelSumKernels<T>& kernels_for();
template <>
const kernels::KernelSumKernels<float>& kernels_for<float>() {
  return kernels::kernel_sum_kernels().f32;
}
template <>
const kernels::KernelSumKernels<double>& kernels_for<double>() {
  return kernels::kernel_sum_kernels().f64;
}

struct Extents {
  int64_t outputs, inputs, height, width;
  int64_t taps() const { return height * width; }
};

// The tensors of the terms as the kernels read them, in the order of the differentiable inputs:
// dense kernel, scale, ...; outer points, scale, ...; separable points, depth, scale, ...
struct Operands {
  Extents extents;
  std::vector<at::Tensor> dense, dense_scale;           // [O, hw, I] in memory, [O]
  std::vector<at::Tensor> points, patterns, outer_scale;  // [O, I], [O or 1, hw], [O]
  std::vector<at::Tensor> separable, depth, separable_scale;  // [O, T, I], [hw, T, I], [O]
};

at::Tensor flat(const at::Tensor& scale) { return scale.contiguous(); }

Operands operands_of(at::TensorList tensors, at::TensorList patterns, int64_t dense, int64_t outer) {
  Operands result;
  const auto& first = tensors[0];
  result.extents = {first.size(0), first.size(1), first.size(2), first.size(3)};
  auto next = tensors.begin();
  for (int64_t i = 0; i < dense; i++) {
    result.dense.push_back((next++)->permute({0, 2, 3, 1}).contiguous());
    result.dense_scale.push_back(flat(*next++));
  }
  for (int64_t i = 0; i < outer; i++) {
    const auto& pattern = patterns[i];
    const int64_t rows = pattern.dim() == 3 ? pattern.size(0) : 1;
    result.points.push_back((next++)->contiguous());
    result.patterns.push_back(pattern.reshape({rows, result.extents.taps()}).contiguous());
    result.outer_scale.push_back(flat(*next++));
  }
  while (next != tensors.end()) {
    result.separable.push_back((next++)->permute({0, 2, 1}).contiguous());
    result.depth.push_back((next++)->flatten(2).permute({2, 1, 0}).contiguous());
    result.separable_scale.push_back(flat(*next++));
  }
  return result;
}

template <typename Work>
void for_each_task(int64_t outputs, const Work& work) {
  const int64_t rows = (outputs + tasks - 1) / tasks;
  at::parallel_for(0, (outputs + rows - 1) / rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) work(task, task * rows, std::min(outputs, (task + 1) * rows));
  });
}

template <typename T>
const T* row(const at::Tensor& tensor, int64_t o) {
  return tensor.data_ptr<T>() + (tensor.size(0) == 1 ? 0 : o) * (tensor.numel() / tensor.size(0));
}

template <typename T>
void run_forward(const Operands& in, at::Tensor& out) {
  const auto& loops = kernels_for<T>();
  const int64_t inputs = in.extents.inputs, taps = in.extents.taps();
  for_each_task(in.extents.outputs, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) {
      T* target = out.data_ptr<T>() + o * taps * inputs;
      const auto scale = [o](const at::Tensor& scales) { return scales.data_ptr<T>()[o]; };
      loops.set_scaled(row<T>(in.dense[0], o), scale(in.dense_scale[0]), taps * inputs, target);
      for (size_t d = 1; d < in.dense.size(); d++) {
        loops.add_scaled(row<T>(in.dense[d], o), scale(in.dense_scale[d]), taps * inputs, target);
      }
      for (size_t u = 0; u < in.points.size(); u++) {
        const T* pattern = row<T>(in.patterns[u], o);
        loops.add_outer(row<T>(in.points[u], o), pattern, scale(in.outer_scale[u]), taps, inputs, target);
      }
      for (size_t v = 0; v < in.separable.size(); v++) {
        loops.add_separable(row<T>(in.separable[v], o), in.depth[v].data_ptr<T>(), scale(in.separable_scale[v]),
                            in.depth[v].size(1), taps, inputs, target);
      }
    }
  });
}

// Sum of a product in float64: scales are sums over a whole kernel.
template <typename T>
double dot(const T* a, const T* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// Gradients in the order of the differentiable inputs, laid out like the operands.
template <typename T>
std::vector<at::Tensor> run_backward(const Operands& in, const at::Tensor& g) {
  const auto& loops = kernels_for<T>();
  const int64_t inputs = in.extents.inputs, taps = in.extents.taps(), outputs = in.extents.outputs;
  std::vector<at::Tensor> gradients;
  const auto like = [&](const at::Tensor& tensor) {
    gradients.push_back(at::empty_like(tensor));
    return gradients.size() - 1;
  };
  for (size_t d = 0; d < in.dense.size(); d++) like(in.dense[d]), like(in.dense_scale[d]);
  for (size_t u = 0; u < in.points.size(); u++) like(in.points[u]), like(in.outer_scale[u]);
  for (size_t v = 0; v < in.separable.size(); v++) like(in.separable[v]), like(in.depth[v]), like(in.separable_scale[v]);
  // Depthwise weights belong to every output channel: each task sums its own rows first.
  std::vector<at::Tensor> partial;
  for (const auto& depth : in.depth) {
    auto sizes = depth.sizes().vec();
    sizes.insert(sizes.begin(), tasks);
    partial.push_back(at::zeros(sizes, depth.options()));
  }
  for_each_task(outputs, [&](int64_t task, int64_t begin, int64_t end) {
    std::vector<T> sums(inputs), ones(inputs, 1);
    for (int64_t o = begin; o < end; o++) {
      const T* gradient = g.data_ptr<T>() + o * taps * inputs;
      size_t next = 0;
      const auto target = [&](size_t i) { return const_cast<T*>(row<T>(gradients[i], o)); };
      for (size_t d = 0; d < in.dense.size(); d++, next += 2) {
        std::fill(sums.begin(), sums.end(), T(0));
        loops.dense_gradient(gradient, row<T>(in.dense[d], o), in.dense_scale[d].data_ptr<T>()[o], taps, inputs,
                             target(next), sums.data());
        gradients[next + 1].data_ptr<T>()[o] = static_cast<T>(dot(sums.data(), ones.data(), inputs));
      }
      for (size_t u = 0; u < in.points.size(); u++, next += 2) {
        loops.outer_gradient(gradient, row<T>(in.patterns[u], o), taps, inputs, sums.data());
        gradients[next + 1].data_ptr<T>()[o] = static_cast<T>(dot(sums.data(), row<T>(in.points[u], o), inputs));
        loops.set_scaled(sums.data(), in.outer_scale[u].data_ptr<T>()[o], inputs, target(next));
      }
      for (size_t v = 0; v < in.separable.size(); v++, next += 3) {
        const int64_t expansion = in.depth[v].size(1);
        const T scale = in.separable_scale[v].data_ptr<T>()[o];
        const T* point = row<T>(in.separable[v], o);
        std::vector<T> q(expansion * inputs);
        loops.separable_gradient(gradient, point, in.depth[v].data_ptr<T>(), scale, expansion, taps, inputs, q.data(),
                                 partial[v].data_ptr<T>() + task * in.depth[v].numel());
        gradients[next + 2].data_ptr<T>()[o] = static_cast<T>(dot(q.data(), point, expansion * inputs));
        loops.set_scaled(q.data(), scale, expansion * inputs, target(next));
      }
    }
  });
  for (size_t v = 0; v < partial.size(); v++) {
    gradients[2 * (in.dense.size() + in.points.size()) + 3 * v + 1] = partial[v].sum(0);
  }
  return gradients;
}

class SumOfKernels : public torch::autograd::Function<SumOfKernels> {
 public:
  static at::Tensor forward(AutogradContext* ctx, at::TensorList tensors, at::TensorList patterns,
                            int64_t dense, int64_t outer) {
    const auto in = operands_of(tensors, patterns, dense, outer);
    const auto& [outputs, inputs, height, width] = in.extents;
    auto out = at::empty({outputs, height, width, inputs}, tensors[0].options());
    AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), "sum_of_kernels", [&] { run_forward<scalar_t>(in, out); });
    auto saved = tensors.vec();
    saved.insert(saved.end(), patterns.begin(), patterns.end());
    ctx->save_for_backward(saved);
    ctx->saved_data["dense"] = dense;
    ctx->saved_data["outer"] = outer;
    return out.permute({0, 3, 1, 2});
  }

  static variable_list backward(AutogradContext* ctx, variable_list output_gradients) {
    auto saved = ctx->get_saved_variables();
    const int64_t dense = ctx->saved_data["dense"].toInt(), outer = ctx->saved_data["outer"].toInt();
    const variable_list patterns(saved.end() - outer, saved.end());
    saved.erase(saved.end() - outer, saved.end());
    const auto in = operands_of(saved, patterns, dense, outer);
    const auto g = output_gradients[0].permute({0, 2, 3, 1}).contiguous();
    variable_list gradients;
    AT_DISPATCH_FLOATING_TYPES(g.scalar_type(), "sum_of_kernels", [&] { gradients = run_backward<scalar_t>(in, g); });
    // Back to the shapes of the inputs.
    for (int64_t d = 0; d < dense; d++) gradients[2 * d] = gradients[2 * d].permute({0, 3, 1, 2});
    for (size_t next = 2 * (dense + outer); next < gradients.size(); next += 3) {
      gradients[next] = gradients[next].permute({0, 2, 1});
      gradients[next + 1] = gradients[next + 1].permute({2, 1, 0}).reshape(saved[next + 1].sizes());
    }
    for (int64_t i = 0; i < outer + 2; i++) gradients.emplace_back();
    return gradients;
  }
};

at::Tensor composed(const KernelTerms& terms) {
  const auto column = [](const at::Tensor& scale) { return scale.view({-1, 1, 1, 1}); };
  at::Tensor sum;
  const auto add = [&sum](const at::Tensor& term) { sum = sum.defined() ? sum + term : term; };
  for (const auto& [kernel, scale] : terms.dense) add(kernel * column(scale));
  for (const auto& [points, pattern, scale] : terms.outer) {
    const auto taps = pattern.dim() == 3 ? pattern.unsqueeze(1) : pattern;
    add((points * scale.unsqueeze(1)).unsqueeze(2).unsqueeze(3) * taps);
  }
  for (const auto& [points, depth, scale] : terms.separable) {
    add(at::einsum("oit,ithw->oihw", {points, depth}) * column(scale));
  }
  return sum;
}

}  // namespace

at::Tensor sum_of_kernels(const KernelTerms& terms) {
  TORCH_CHECK(!terms.dense.empty(), "a sum of kernels needs a dense one");
  if (!terms.dense[0].kernel.is_cpu()) return composed(terms);
  variable_list tensors, patterns;
  for (const auto& term : terms.dense) tensors.insert(tensors.end(), {term.kernel, term.scale});
  for (const auto& term : terms.outer) {
    tensors.insert(tensors.end(), {term.points, term.scale});
    patterns.push_back(term.pattern);
  }
  for (const auto& term : terms.separable) tensors.insert(tensors.end(), {term.points, term.depth, term.scale});
  // As TensorLists: autograd does not look into vectors.
  return SumOfKernels::apply(at::TensorList(tensors), at::TensorList(patterns), static_cast<int64_t>(terms.dense.size()),
                             static_cast<int64_t>(terms.outer.size()));
}

}  // namespace repkit
