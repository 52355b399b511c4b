"""Goals are sums, and read as the command line reads them."""

import numpy as np
import pytest

import entoptic as en


class Named:
    """A network as far as a goal's text needs one."""

    def __init__(self, name="net"):
        self.name = name

    def class_index(self, target):
        return 9


def text(goal):
    networks = goal.networks()
    return goal.text(networks)


def test_sums_read_as_the_command_line_reads_them():
    net = Named()
    goal = en.channel("inception4c", 7) + 0.5 * en.logit("church") - 1e-3 * en.tv()
    assert text(goal.of(net)) == "channel(inception4c, 7) + 0.5*logit(church) - 0.001*tv"
    assert text((-en.logit(3)).of(net)) == "- logit(3)"
    assert text(((en.l1() + en.l2()) / 2).of(net)) == "0.5*l1 + 0.5*l2"
    assert text(en.unit("a.b", 1, (2, 3)).of(net)) == "unit(a.b, 1, 2, 3)"
    assert text(sum([en.layer("a"), en.statistics()]).of(net)) == "layer(a) + statistics"
    assert text((np.float32(2) * en.tv()).of(net)) == "2.0*tv"
    assert text(en.logit("crane (bird)").of(net)) == "logit(9)"


def test_two_networks_are_told_apart_by_their_places():
    a, b = Named(), Named()
    goal = en.logit("church").of(a) - 2 * en.logit(3).of(b)
    assert goal.networks() == [a, b]
    assert text(goal) == "0.logit(church) - 2.0*1.logit(3)"


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (lambda: en.logit(""), ValueError, "class is empty"),
        (lambda: en.logit(-1), ValueError, "class is -1, expected 0 or more"),
        (lambda: en.logit(1.5), TypeError, "class is 1.5, expected an integer"),
        (lambda: en.channel(3, 3), TypeError, "layer is 3, expected a name"),
        (lambda: en.channel("a b", 3), ValueError, "expected a layer's name"),
        (lambda: en.channel("a", "b"), TypeError, "channel is 'b', expected an integer"),
        (lambda: en.unit("a", 1, (2,)), ValueError, "expected a row and a column"),
        (lambda: en.tv() * en.l1(), TypeError, "unsupported operand"),
        (lambda: en.tv() * float("nan"), ValueError, "expected a finite number"),
        (lambda: en.tv() + 1, TypeError, "unsupported operand"),
        (lambda: en.tv().networks(), ValueError, r"tv is of no network; write net\[tv"),
    ],
)
def test_what_is_no_goal_is_said(wrong, kind, said):
    with pytest.raises(kind, match=said):
        wrong()
