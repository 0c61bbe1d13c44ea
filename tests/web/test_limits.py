"""The count per address."""

from bridge.web.around import PerAddressLimit


def test_requests_above_the_limit_wait_for_the_next_minute():
    seconds = [600.0]
    limit = PerAddressLimit(2, clock=lambda: seconds[0])
    assert [limit.seconds_to_wait("a") for _ in range(3)] == [0, 0, 60]
    assert limit.seconds_to_wait("b") == 0
    seconds[0] = 645.0
    assert limit.seconds_to_wait("a") == 15
    seconds[0] = 660.0
    assert limit.seconds_to_wait("a") == 0
