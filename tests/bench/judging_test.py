"""What benchmarks conclude from what they saw."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import judging  # pylint: disable=wrong-import-position

GOOD = (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
        b'{"error":{"message":"do this","type":"invalid_request_error","param":null,"code":"bad_request"}}')


class Quantiles(unittest.TestCase):
    def test_of_few_values_the_worst_counts(self):
        self.assertEqual(judging.quantile([3, 1, 2], 0.99), 3)
        self.assertEqual(judging.quantile([1], 0.5), 1)
        self.assertIsNone(judging.quantile([], 0.5))

    def test_of_many_values_it_is_the_nearest_rank(self):
        values = list(range(1000, 0, -1))
        self.assertEqual(judging.quantile(values, 0.5), 501)
        self.assertEqual(judging.quantile(values, 0.99), 991)
        self.assertEqual(judging.spread(values), {"count": 1000, "p50": 501, "p99": 991, "max": 1000})


class Probes(unittest.TestCase):
    def judge(self, *arrivals):
        return judging.probes(list(arrivals), 10, 1, 0.5)

    def test_one_per_interval_is_right_whatever_its_spread(self):
        self.assertTrue(self.judge(0, 8, 20, 33.5)["passed"])
        self.assertEqual(self.judge(0, 8, 20, 33.5)["probes"], 3)

    def test_one_too_early_and_one_too_late_are_wrong(self):
        self.assertEqual((self.judge(0, 7.9)["early"], self.judge(0, 7.9)["passed"]), (1, False))
        self.assertEqual((self.judge(0, 13.6)["late"], self.judge(0, 13.6)["passed"]), (1, False))

    def test_none_at_all_is_wrong(self):
        self.assertFalse(self.judge(0)["passed"])
        self.assertFalse(self.judge()["passed"])


class Flat(unittest.TestCase):
    def test_strays_count_both_ways_from_where_it_began(self):
        self.assertTrue(judging.flat([100] * 10 + [104, 96] * 45, 0.05)["passed"])
        self.assertFalse(judging.flat([100] * 10 + [106] * 90, 0.05)["passed"])
        self.assertFalse(judging.flat([100] * 10 + [94] * 90, 0.05)["passed"])

    def test_slow_growth_is_seen_at_the_end(self):
        seen = judging.flat([100 + i / 10 for i in range(100)], 0.05)
        self.assertFalse(seen["passed"])
        self.assertGreater(seen["end"], seen["begin"])


class Metrics(unittest.TestCase):
    TEXT = ('# HELP a b\nmillrace_connections 3\nmillrace_connections_accepted_total 9\n'
            'millrace_upstream_connections{state="active"} 1\nmillrace_upstream_connections{state="idle"} 2\n'
            'millrace_queue_depth{queue="a } b"} 4\n')

    def test_series_keep_their_labels(self):
        self.assertEqual(judging.series(self.TEXT)['millrace_queue_depth{queue="a } b"}'], 4)
        self.assertEqual(len(judging.series(self.TEXT)), 5)

    def test_only_what_is_under_way_is_busy(self):
        self.assertEqual(judging.busy(judging.series(self.TEXT)),
                         {"millrace_connections": 3, 'millrace_upstream_connections{state="active"}': 1,
                          'millrace_queue_depth{queue="a } b"}': 4})


class Refusals(unittest.TestCase):
    def test_a_clear_one_is_right(self):
        self.assertEqual(judging.refusal(GOOD, {400}), "")

    def test_whatever_is_missing_is_named(self):
        self.assertEqual(judging.refusal(b"", {400}), "0 answers")
        self.assertEqual(judging.refusal(GOOD + GOOD, {400}), "2 answers")
        self.assertEqual(judging.refusal(GOOD, {431}), "status 400")
        self.assertEqual(judging.refusal(GOOD.replace(b"close", b"keep-alive"), {400}), "the end is not announced")
        self.assertIn("no clear error", judging.refusal(GOOD.replace(b"do this", b""), {400}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
