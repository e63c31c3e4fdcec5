import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from maac_bench.nets import Hidden, Normalizer, fit_normalizer, init_mlp
from maac_bench.streams import Streams


def plain_forward(net, index, x):
    """One net of the stack, layer by layer, by the textbook."""
    activation = {"relu": torch.relu, "swish": lambda z: z * torch.sigmoid(z), "tanh": torch.tanh}
    last = len(net.weights) - 1
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        x = x @ weight[index] + bias[index]
        if layer < last:
            if net.layer_norm:
                x = (x - x.mean(-1, keepdim=True)) / (
                    x.var(-1, keepdim=True, correction=0) + 1e-5
                ).sqrt()
            x = activation[net.activation](x)
    return x


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation", ["relu", "swish", "tanh"])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_stacked_nets_equal_single_nets(activation, layer_norm):
    net = init_mlp(Streams([0, 1], "net"), 3, 4, 2, Hidden((8, 8), activation, layer_norm))
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    y = net(x)
    assert y.shape == (2, 3, 5, 2)
    for index in ((0, 0), (0, 2), (1, 1)):
        torch.testing.assert_close(y[index], plain_forward(net, index, x[index]))


def test_one_batch_is_shared_along_a_stack_axis_of_size_one():
    net = init_mlp(Streams([0, 1], "net"), 3, 4, 2, Hidden((8,)))
    x = torch.randn(2, 1, 5, 4)
    torch.testing.assert_close(net(x), net(x.expand(2, 3, 5, 4)))


@pytest.mark.parametrize("batch", [(), (5,), (5, 6)])
def test_any_number_of_batch_axes(batch):
    net = init_mlp(Streams([0], "net"), None, 4, 2, Hidden((8,)))
    x = torch.randn(1, *batch, 4)
    torch.testing.assert_close(net(x).reshape(-1, 2), net(x.reshape(1, -1, 4)).reshape(-1, 2))


def test_a_seed_is_initialised_the_same_alone_and_in_a_stack():
    alone = init_mlp(Streams([4], "net"), 2, 3, 1, Hidden((8,)))
    stacked = init_mlp(Streams([1, 4], "net"), 2, 3, 1, Hidden((8,)))
    for one, many in zip(alone.parameters, stacked.parameters, strict=True):
        assert torch.equal(one[0], many[1])
        assert not torch.equal(many[0], many[1])


def test_initial_weights_and_biases_fill_the_fan_in_interval():
    net = init_mlp(Streams([0], "net"), 4, 100, 1, Hidden((50,)))
    for parameter, mean in ((net.weights[0], 0.002), (net.biases[0], 0.02)):
        assert parameter.abs().max() <= 0.1
        assert parameter.abs().max() > 0.099
        assert abs(parameter.mean()) < mean


def test_replace_round_trips_and_keeps_the_architecture():
    net = init_mlp(Streams([0], "net"), None, 3, 1, Hidden((8, 8), "relu", True))
    other = net.replace([p + 1 for p in net.parameters])
    assert other.layer_norm
    assert other.activation == "relu"
    assert torch.equal(other.weights[2], net.weights[2] + 1)
    assert torch.equal(other.biases[0], net.biases[0] + 1)


def test_bad_inputs_are_named():
    net = init_mlp(Streams([0], "net"), None, 3, 1, Hidden((8,)))
    with pytest.raises(ValueError, match=r"\[1, 5, 4\].*3 inputs"):
        net(torch.zeros(1, 5, 4))
    with pytest.raises(ValueError, match=r"activation 'gelu' is unknown.*swish"):
        init_mlp(Streams([0], "net"), None, 3, 1, Hidden((8,), "gelu"))
    with pytest.raises(ValueError, match=r"precision 'half' is unknown.*bfloat16"):
        init_mlp(Streams([0], "net"), None, 3, 1, Hidden((8,), precision="half"))
    for widths in ((), (8, 0)):
        with pytest.raises(ValueError, match="hidden must be positive layer widths, got"):
            init_mlp(Streams([0], "net"), None, 3, 1, Hidden(widths))


def test_rounded_products_are_those_between_hidden_layers():
    full = init_mlp(Streams([0, 1], "net"), 3, 4, 2, Hidden((32, 32), "tanh"))
    x = torch.randn(2, 3, 5, 4)
    first, second, third = (weight.double() for weight in full.weights)
    biases = [bias.double().unsqueeze(2) for bias in full.biases]
    hidden = torch.tanh(x.double() @ first + biases[0])
    product = hidden.bfloat16().double() @ second.bfloat16().double()
    hidden = torch.tanh(product.bfloat16().double() + biases[1])
    found = full._replace(precision="bfloat16")(x)
    assert found.dtype == torch.float32
    # What float32 makes of a number just between two of bfloat16 is another rounding of it.
    assert (found - (hidden @ third + biases[2])).abs().mean() < 1e-4
    assert 1e-4 < (found - full(x)).abs().mean() < 1e-2


def test_every_product_between_hidden_layers_is_rounded():
    net = init_mlp(
        Streams([0], "net"), None, 4, 2, Hidden((16, 16, 16), "tanh", precision="bfloat16")
    )
    hidden = x = torch.randn(1, 5, 4)
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        if layer in (1, 2):
            product = (hidden.bfloat16() @ weight.bfloat16()).float()
        else:
            product = hidden @ weight
        hidden = product + bias.unsqueeze(1)
        if layer < 3:
            hidden = torch.tanh(hidden)
    torch.testing.assert_close(net(x), hidden, rtol=0.0, atol=1e-6)


def test_a_net_without_products_between_hidden_layers_is_not_rounded():
    full = init_mlp(Streams([0], "net"), None, 4, 2, Hidden((32,)))
    x = torch.randn(1, 5, 4)
    assert torch.equal(full._replace(precision="bfloat16")(x), full(x))


def test_gradients_of_rounded_products_keep_their_type():
    net = init_mlp(Streams([0], "net"), None, 4, 2, Hidden((32, 32), "tanh"))
    weights = [p.clone().requires_grad_() for p in net.parameters]
    x, found = torch.randn(1, 64, 4), []
    for precision in ("full", "bfloat16"):
        output = net.replace(weights)._replace(precision=precision)(x)
        found.append(torch.autograd.grad(output.square().mean(), weights))
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - exact).norm() < 0.02 * exact.norm()


def test_normalizer_standardises_and_inverts():
    x = torch.randn(2, 1000, 3) * torch.tensor([1.0, 10.0, 0.1]) + 5
    normalizer = fit_normalizer(x)
    z = normalizer(x)
    torch.testing.assert_close(z.mean(dim=1), torch.zeros(2, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(z.std(dim=1, correction=0), torch.ones(2, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(normalizer.inverse(z), x)


def test_a_constant_feature_is_not_divided_by_zero():
    normalizer = fit_normalizer(torch.full((1, 10, 2), 3.0))
    assert torch.equal(normalizer.std, torch.ones(1, 2))


def test_what_stands_for_no_spread_is_the_callers_choice():
    x = torch.cat([torch.full((1, 10, 1), 3.0), torch.randn(1, 10, 1)], dim=-1)
    normalizer = fit_normalizer(x, 1e-8)
    assert normalizer.std[0, 0] == torch.tensor(1e-8)
    assert normalizer.std[0, 1] == fit_normalizer(x).std[0, 1]
    torch.testing.assert_close(normalizer.inverse(torch.randn(1, 5, 2))[..., 0], x[:, :5, 0])


def test_a_feature_that_is_not_a_number_stays_none():
    normalizer = fit_normalizer(torch.tensor([[[1.0], [float("nan")], [2.0]]]))
    assert normalizer.mean.isnan().all()
    assert normalizer.std.isnan().all()


@pytest.mark.parametrize("value", [3.3, -0.7, 1000.1, 0.0])
@pytest.mark.parametrize("rows", [10, 4000])
def test_a_constant_feature_is_exactly_its_own_mean(value, rows):
    """The mean of many equal numbers is not: rounding would be all that there is to learn."""
    x = torch.full((1, rows, 1), value)
    normalizer = fit_normalizer(x, 1e-8)
    assert not normalizer(x).any()
    assert torch.equal(normalizer.inverse(normalizer(x)), x)


def test_normalizer_places_batch_axes_between_stack_and_features():
    normalizer = Normalizer(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]))
    z = normalizer(torch.full((2, 3, 5, 1), 2.0))
    torch.testing.assert_close(z[0], torch.ones(3, 5, 1))
    torch.testing.assert_close(z[1], torch.zeros(3, 5, 1))


def test_layer_norm_bounds_the_output_for_far_inputs():
    plain = init_mlp(Streams([0], "net"), None, 3, 1, Hidden((16, 16), "swish", False))
    normed = init_mlp(Streams([0], "net"), None, 3, 1, Hidden((16, 16), "swish", True))
    far = 1e4 * F.normalize(torch.randn(1, 64, 3), dim=-1)
    assert normed(far).abs().max() < 10 < plain(far).abs().max()


@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 5, 3), (4,)])
def test_an_input_for_another_stack_is_refused(shape):
    """Three seeds, another width, and no seeds, where two seeds of width 4 are."""
    net = init_mlp(Streams([0, 1], "net"), None, 4, 2, Hidden((8,)))
    assert net(torch.zeros(1, 5, 4)).shape == (2, 5, 2)  # shared
    with pytest.raises(ValueError, match="does not fit nets of stack"):
        net(torch.zeros(shape))
