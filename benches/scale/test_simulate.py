"""What the model counts, in fleets that are small enough to count by hand."""

import contextlib
import io
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from random import Random

import aws
import simulate
from fleet import (
    HOUR,
    Fleet,
    Pod,
    Simulation,
    a_wave,
    an_hour,
    an_hour_of_a_cell,
    at_other_times,
    has_share,
    providers_of,
)
from plot import plot
from providers import Calls, Keeping, Official, Secretmount, Workload
from report import OFFICIAL, OURS, Column, Load, Report, crossing, number, series_of

WEB = Workload(0, has_parameters=True)
API = Workload(1, has_parameters=False)
QUIET = {"rollouts_per_hour": 0.0, "node_life_hours": 1e9}


def official() -> Official:
    return Official(Calls(HOUR), requests_a_second=4, burst=10)


def ours(max_age: float = 60) -> Secretmount:
    return Secretmount(Calls(HOUR), Keeping(max_age, session_life=3_600, latency=0.03), Random(1))


def totals(calls: Calls) -> tuple[int, int, int, int]:
    """Reads of a class's secrets and of its parameters, sessions, reads of the ServiceAccount."""
    return sum(calls.secret_reads), sum(calls.parameter_reads), sum(calls.sessions), sum(calls.account_reads)


class OfficialProvider(unittest.TestCase):
    def test_every_call_is_a_full_read(self) -> None:
        provider = official()
        for round_ in range(3):
            provider.mount(100 * round_, 0, WEB, is_first=round_ == 0)
        provider.mount(300, 0, API, is_first=False)
        self.assertEqual(totals(provider.calls), (4, 3, 4, 4))

    def test_its_kubernetes_client_lets_a_burst_through_and_then_some_a_second(self) -> None:
        provider = official()
        for _ in range(50):
            provider.mount(0, 0, WEB, is_first=True)
        provider.mount(0, 1, WEB, is_first=True)
        self.assertEqual(provider.calls.sessions[:12], [1 + 10 + 3] + 9 * [4] + [1, 0])


class OurProvider(unittest.TestCase):
    def test_refreshes_within_max_age_cost_nothing(self) -> None:
        provider = ours()
        provider.mount(0, 0, WEB, is_first=True)
        for second in range(1, 60):
            provider.mount(second, 0, WEB, is_first=False)
        self.assertEqual(totals(provider.calls), (1, 1, 1, 1))

    def test_a_refresh_after_max_age_asks_once_for_all_pods_and_makes_no_session(self) -> None:
        provider = ours()
        provider.mount(0, 0, WEB, is_first=True)
        for pod in range(10):
            provider.mount(61 + pod, 0, WEB, is_first=False)
        self.assertEqual(totals(provider.calls), (2, 2, 1, 2))

    def test_a_first_mount_asks_however_young_the_answer_is(self) -> None:
        provider = ours()
        for second in (0, 5, 10):
            provider.mount(second, 0, API, is_first=True)
        self.assertEqual(totals(provider.calls), (3, 0, 1, 3))

    def test_first_mounts_that_come_together_ask_about_twice(self) -> None:
        provider = ours()
        for place in range(20):
            provider.mount(0.001 * place, 0, WEB, is_first=True)
        self.assertEqual(totals(provider.calls), (2, 2, 1, 1))

    def test_nothing_is_shared_between_accounts_or_nodes(self) -> None:
        provider = ours()
        for node, workload in ((0, WEB), (0, API), (1, WEB)):
            provider.mount(0, node, workload, is_first=False)
        self.assertEqual(totals(provider.calls)[0], 3)
        self.assertEqual(totals(provider.calls)[2], 3)

    def test_a_session_is_renewed_after_four_fifths_of_its_life_and_only_on_demand(self) -> None:
        provider = ours()
        for second in (0, 0.74 * HOUR, 0.86 * HOUR, 0.99 * HOUR):
            provider.mount(second, 0, WEB, is_first=False)
        self.assertEqual(sum(provider.calls.sessions), 2)

    def test_a_node_that_went_takes_all_that_was_kept_along(self) -> None:
        provider = ours()
        provider.mount(0, 0, WEB, is_first=False)
        provider.lose(0)
        provider.mount(1, 0, WEB, is_first=False)
        self.assertEqual(totals(provider.calls), (2, 2, 2, 2))


class Events(unittest.TestCase):
    def simulation(self, **settings) -> Simulation:
        fleet = replace(Fleet(nodes=4, **QUIET), **settings)
        return Simulation(fleet, HOUR, list(providers_of(fleet, HOUR)), Random(1))

    def test_the_driver_refreshes_at_kubelets_second_call(self) -> None:
        simulation = self.simulation()
        times = [simulation.next_refresh(1_000) - 1_000 for _ in range(500)]
        self.assertTrue(all(120 <= time < 180 for time in times))
        self.assertAlmostEqual(sum(times) / len(times), 150, delta=2)

    def test_a_driver_that_always_refreshes_does_so_at_kubelets_first_call(self) -> None:
        simulation = self.simulation(poll_interval=0)
        self.assertTrue(all(60 <= simulation.next_refresh(0) < 90 for _ in range(100)))

    def test_one_pod_on_one_node(self) -> None:
        fleet = Fleet(nodes=1, pods_per_node=1, parameter_share=1, **QUIET)
        official, ours = providers_of(fleet, HOUR)
        simulation = Simulation(fleet, HOUR, [official, ours], Random(1))
        simulation.at(0, simulation.first_mount, simulation.place_pods()[0])
        simulation.run()
        refreshes = totals(official.calls)[0] - 1
        self.assertTrue(HOUR // 180 <= refreshes <= HOUR // 120)
        self.assertEqual(totals(official.calls), (refreshes + 1,) * 4)
        self.assertEqual(totals(ours.calls), (refreshes + 1, refreshes + 1, 2, refreshes + 1))

    def test_pods_that_belong_together_are_on_one_node(self) -> None:
        pods = self.simulation(together=10).place_pods()
        self.assertEqual(len(pods), 4 * 50)
        nodes_of_groups = {pod.group: {other.node for other in pods if other.group == pod.group} for pod in pods}
        self.assertTrue(all(len(nodes) == 1 for nodes in nodes_of_groups.values()))

    def test_a_drain_starts_all_pods_of_a_node_elsewhere(self) -> None:
        simulation = self.simulation(poll_interval=1e6)
        simulation.place_pods()
        simulation.drain(0, 2)
        simulation.run()
        self.assertEqual(totals(simulation.providers[0].calls)[0], 50)
        self.assertEqual(sum(simulation.providers[0].calls.secret_reads[:3]), 50)
        self.assertEqual([len(pods) for pods in simulation.pods_on if not pods], [0])
        self.assertEqual(sum(len(pods) for pods in simulation.pods_on), 200)

    def test_a_deployment_replaces_each_replica_once(self) -> None:
        simulation = self.simulation(poll_interval=1e6)
        old = set(simulation.place_pods())
        workload = next(iter(simulation.replicas_of))
        simulation.roll_out(0, workload)
        simulation.run()
        self.assertEqual(totals(simulation.providers[0].calls)[0], 20)
        self.assertEqual(len(simulation.replicas_of[workload]), 20)
        self.assertFalse(old & set(simulation.replicas_of[workload]))

    def test_a_pod_that_went_is_not_refreshed(self) -> None:
        simulation = self.simulation()
        pod = simulation.add(Pod(WEB, 0, 0))
        pod.is_gone = True
        simulation.refresh(0, pod)
        self.assertEqual(totals(simulation.providers[0].calls), (0, 0, 0, 0))


class Fleets(unittest.TestCase):
    def test_the_official_mean_is_what_a_formula_says(self) -> None:
        calls = an_hour(Fleet(nodes=20, **QUIET)).official
        # 20 × 50 pods every 150 s, and one drain of 50 pods.
        self.assertAlmostEqual(totals(calls)[0] / (20 * 50 * HOUR / 150), 1, delta=0.02)

    def test_ours_reads_as_often_where_no_pods_share_and_seldom_where_many_do(self) -> None:
        def reads(together: int) -> float:
            outcome = an_hour(Fleet(nodes=20, replicas=together, together=together, **QUIET))
            return totals(outcome.ours)[0] / totals(outcome.official)[0]

        self.assertGreater(reads(1), 0.99)
        # Of ten pods, one asks when the answer is 60 s old and it is the next, 15 s later; instead of ten in 150 s.
        self.assertAlmostEqual(reads(10), 150 / 75 / 10, delta=0.02)

    def test_a_large_fleet_is_cells_at_other_times(self) -> None:
        one, four = an_hour(Fleet(nodes=250)), an_hour(Fleet(nodes=1_000))
        self.assertEqual(totals(four.ours), tuple(4 * total for total in totals(one.ours)))
        self.assertLess(max(four.ours.secret_reads), 4 * max(one.ours.secret_reads))

    def test_a_cell_at_another_time_is_turned(self) -> None:
        calls = Calls(4)
        calls.sessions = [1, 2, 3, 4]
        self.assertEqual(at_other_times(calls, [0, 1]).sessions, [1 + 4, 2 + 1, 3 + 2, 4 + 3])

    def test_a_wave_starts_the_pods_of_some_nodes_as_fast_as_they_are_scheduled(self) -> None:
        calls = a_wave(Fleet(nodes=100, poll_interval=1e6)).ours
        self.assertEqual(totals(calls)[0], 5 * 50)
        self.assertLessEqual(max(calls.secret_reads), 150)

    def test_the_same_seed_gives_the_same_calls(self) -> None:
        an_hour_of_a_cell.cache_clear()
        first = an_hour(Fleet(nodes=10))
        an_hour_of_a_cell.cache_clear()
        self.assertEqual(an_hour(Fleet(nodes=10)), first)
        self.assertNotEqual(an_hour(Fleet(nodes=10, seed=2)), first)

    def test_shares_are_spread_evenly(self) -> None:
        self.assertEqual([has_share(number, 0.2) for number in range(10)], ([False] * 4 + [True]) * 2)
        self.assertTrue(all(has_share(number, 1) for number in range(10)))
        self.assertFalse(any(has_share(number, 0) for number in range(10)))


class Reports(unittest.TestCase):
    REPORT = Report(Fleet(), (2, 4), (1, 10))

    def test_calls_of_an_api_are_reads_times_calls_a_read(self) -> None:
        fleet = Fleet(nodes=2, secrets=25, parameters=25)
        outcome = an_hour(fleet)
        reads, parameter_reads, sessions, _ = totals(outcome.ours)

        def calls_of(api: aws.Api) -> int:
            return sum(series_of(outcome, api, Column(OURS, 1), fleet))

        self.assertEqual(calls_of(aws.GET_SECRET_VALUE), 25 * reads)
        self.assertEqual(calls_of(aws.BATCH_GET_SECRET_VALUE), 2 * reads)
        self.assertEqual(calls_of(aws.GET_PARAMETERS), 3 * parameter_reads)
        self.assertEqual(calls_of(aws.ASSUME_ROLE), sessions)

    def test_a_load_has_a_mean_and_peaks(self) -> None:
        self.assertEqual(Load.of([0] * 10 + [10, 20] + [0] * 8), Load(1.5, 3, 20))

    def test_a_quota_is_crossed_between_two_sizes(self) -> None:
        self.assertEqual(crossing((10, 20), [5, 15], 10), "15")
        self.assertEqual(crossing((10, 20), [5, 6], 10), "–")
        self.assertEqual(crossing((10, 20), [11, 12], 10), "≤ 10")

    def test_numbers_have_as_many_digits_as_they_are_worth(self) -> None:
        self.assertEqual([number(n) for n in (0, 0.01234, 1.25, 43.2, 12345.6)], ["0", "0.012", "1.2", "43", "12,346"])

    def test_columns_say_who_and_how(self) -> None:
        self.assertEqual(Column(OFFICIAL, 1).title, "official 3.1.1")
        self.assertEqual(Column(OURS, 10).title, "secretmount, 10 together")

    def test_the_plot_is_an_image_with_all_quotas(self) -> None:
        picture = plot(self.REPORT)
        ElementTree.fromstring(picture)
        for quota in ("10,000", "40", "1,000", "600", "100"):
            self.assertIn(f": {quota}</text>", picture)


class Documents(unittest.TestCase):
    def test_tables_go_between_their_markers(self) -> None:
        document = "a\n<!-- simulated: t -->\n<!-- end -->\nb\n"
        self.assertEqual(
            simulate.with_tables(document, {"t": "new \\1"}), "a\n<!-- simulated: t -->\nnew \\1\n<!-- end -->\nb\n"
        )
        with self.assertRaises(SystemExit):
            simulate.with_tables("a", {"t": "new"})

    def test_what_is_stale_is_shown_and_fails(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "scale.md"
            path.write_text("old\n", encoding="utf-8")
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(simulate.check({path: "new\n"}), 1)
                self.assertEqual(simulate.check({path: "old\n"}), 0)
                self.assertEqual(simulate.check({path.with_name("missing"): "new\n"}), 1)
            self.assertIn("-old\n+new\n", output.getvalue())

    def test_options_describe_another_fleet(self) -> None:
        arguments = simulate.command_line().parse_args(["--nodes", "30", "20", "--max-age", "300", "--together", "5"])
        self.assertEqual(simulate.report_of(arguments), Report(Fleet(max_age=300), (20, 30), (5,)))
        for wrong in (["--sync-interval", "0"], ["--max-age", "-1"], ["--nodes", "many"]):
            with self.subTest(wrong), contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
                simulate.command_line().parse_args(wrong)


if __name__ == "__main__":
    unittest.main()
