// Layers that train as they will be quantised, on device cuda: the values recorded from PyTorch.
#include "cuda_device.h"
#include "qat_cases.h"

namespace graft {
namespace {

using CudaQat = OnCuda<testing::Test>;

TEST_F(CudaQat, values_gradients_and_statistics_are_those_of_torch_ao) { graft_test::expect_recorded(Device(Device::cuda)); }

}  // namespace
}  // namespace graft
