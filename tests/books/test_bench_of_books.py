"""The measurement of `bench.books`, small: its copies are real enough that a reconciliation calls them clean."""

from bench import books
from bench.table import Report


def test_copies_reconcile_clean_on_both_engines(database_url):
    report = Report()
    books.measure(report, "any", database_url, few=20, many=450)
    assert [figure.name.split(": ")[1][:10] for figure in report.figures] == ["reconcilin", "invoices r", "memory wit"]
