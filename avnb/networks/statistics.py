"""Batch norm over all rows of a batch that several processes share; each takes its own rows' statistics otherwise."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from avnb.devices import all_rows, process_count, sum_of_all, widened


class SharedBatchNorm(_BatchNorm):
    """A batch norm whose statistics are those of the whole batch; torch's own does so on GPUs alone.

    Where a batch has no other rows it is the batch norm that it was made of.
    """

    def _check_input_dim(self, features: Tensor) -> None:
        """Take features of any number of axes."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or process_count() == 1:
            return super().forward(features)
        rows, axes = widened(features), [0, *range(2, features.ndim)]
        variance, mean = torch.var_mean(rows, dim=axes, correction=0)
        means, variances = all_rows(mean[None], variance[None])
        mean = means.mean(dim=0)
        variance = (variances + (means - mean).square()).mean(dim=0)
        count = rows.numel() // rows.shape[1] * len(means)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var) * (count / max(1, count - 1)), self.momentum)
        shape = [1, -1, *[1] * (features.ndim - 2)]
        found = (rows - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(features.dtype)


def share_statistics(network: nn.Module) -> None:
    """Make every batch norm of a network one over all rows of the batches that processes share."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.__class__ = SharedBatchNorm  # weights, statistics and their names stay


@torch.no_grad()
def average_statistics(network: nn.Module) -> None:
    """Give all processes the mean of what their batch norms have seen; all of them call it."""
    if process_count() == 1:
        return
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.training:
            for running in (module.running_mean, module.running_var):
                running.copy_(sum_of_all(running) / process_count())
